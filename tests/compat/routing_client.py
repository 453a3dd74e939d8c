"""Runs in an environment that has the published routing client and nothing of ours; prints what came of it as JSON."""

import json
import os
import pathlib
import time

# The client looks for a remote file once a day; a look-up that was done just now keeps it from that.
cache = pathlib.Path.home() / ".kalibr" / "agents_sync_cache.json"
cache.parent.mkdir(parents=True, exist_ok=True)
cache.write_text(json.dumps({"last_sync": time.time(), "version": ""}))

import kalibr  # noqa: E402
from kalibr import feedback, intelligence  # noqa: E402
from kalibr.collector import KalibrHTTPSpanExporter  # noqa: E402
from kalibr.router import Router  # noqa: E402
from kalibr.simple_tracer import send_event  # noqa: E402


class Message:
    content = "an answer that is long enough to be taken for one, with a few words in it"
    tool_calls = None
    role = "assistant"


class Choice:
    message = Message()
    finish_reason = "stop"


class Completion:
    def __init__(self, model):
        self.model = model
        self.choices = [Choice()]
        self.usage = None


class Stubbed(Router):
    def _dispatch(self, model, messages, *args, **kwargs):
        if model == "broken":
            raise TimeoutError("the provider did not answer")
        return Completion(model)


client = intelligence.KalibrIntelligence()
told = {}
path = client.register_path(goal="direct", model_id="gpt-4o", tool_id="search", params={"temperature": 0.5})
told["registered"] = path
told["again"] = client.register_path(goal="direct", model_id="gpt-4o", tool_id="search", params={"temperature": 0.50})
told["paths"] = client.list_paths(goal="direct")
told["decided"] = client.decide(goal="direct")
told["reported"] = client.report_outcome(
    trace_id=told["decided"]["trace_id"], goal="direct", success=True, score=0.8, model_id="gpt-4o"
)
told["updated"] = client.update_outcome(trace_id=told["decided"]["trace_id"], goal="direct", success=False, score=0.1)
told["config"] = client.set_exploration_config(goal="direct", exploration_rate=0.2)
told["config_read"] = client.get_exploration_config(goal="direct")
told["policy"] = client.get_policy(goal="direct", constraints={"max_cost_usd": 1.0})
told["recommendation"] = client.get_recommendation(task_type="direct", optimize_for="quality")
told["disabled"] = client.disable_path(path["path_id"])

told["module_decided"] = [intelligence.decide(goal="module", candidate_model_ids=["a", "b"]) for _ in range(2)]
for one in told["module_decided"]:
    intelligence.report_outcome(trace_id=one["trace_id"], goal="module", success=True, model_id=one["model_id"])

router = Stubbed(goal="routed", paths=["gpt-4o", "claude-3-opus"], success_when=lambda text: len(text) > 5)
told["completions"] = [
    vars(router.completion(messages=[{"role": "user", "content": "PRIVATE question"}]))["kalibr_trace_id"]
    for _ in range(3)
]
failing = Stubbed(goal="failing", paths=["broken", "fine"])
for _ in range(2):
    try:
        failing.completion(messages=[{"role": "user", "content": "PRIVATE question"}])
    except Exception as error:
        told["failing"] = repr(error)

client.report_outcome(trace_id="run-1", goal="feedback", success=True, model_id="gpt-4o")
feedback.track_run({"trace_id": "run-1", "goal": "feedback"})
told["rejected"] = feedback.user_rejected("too short")
feedback.report_pipeline("session-1", goal="session", prompt="PRIVATE", output="PRIVATE", model="gpt-4o")
feedback.report_action("session-1", "output_used_verbatim")
told["exported"] = None
send_event(
    {
        "trace_id": "run-1",
        "span_id": "span-1",
        "model_id": "gpt-4o",
        "provider": "openai",
        "operation": "chat",
        "input_tokens": 1000,
        "output_tokens": 100,
        "latency_ms": 250,
        "metadata": {"input": "PRIVATE", "output": "PRIVATE"},
        "tool_input": "PRIVATE",
    }
)
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402

with TracerProvider().get_tracer("t").start_as_current_span("openai.chat") as span:
    span.set_attribute("llm.request.model", "gpt-4o")
told["exported"] = KalibrHTTPSpanExporter().export([span]).name
time.sleep(2)
told["insights"] = client.get_insights()
told["version"] = getattr(kalibr, "__version__", "")
pathlib.Path(os.environ["TOLD"]).write_text(json.dumps(told, default=str))
