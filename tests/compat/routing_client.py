"""Runs in an environment that has the published routing client and nothing of ours, and calls all that it offers.

What the client was told goes into a file as JSON; whether it is true is for the server's side to see.
"""

import json
import os
import pathlib
import threading
import time

# The client looks for a remote file once a day; a look-up that was done just now keeps it from that.
cache = pathlib.Path.home() / ".kalibr" / "agents_sync_cache.json"
cache.parent.mkdir(parents=True, exist_ok=True)
cache.write_text(json.dumps({"last_sync": time.time(), "version": ""}))

from kalibr import KalibrClient, collector, feedback, intelligence  # noqa: E402
from kalibr.collector import KalibrHTTPSpanExporter  # noqa: E402
from kalibr.instrumentation.openai_instr import OpenAIInstrumentation  # noqa: E402
from kalibr.router import Router  # noqa: E402
from kalibr.simple_tracer import send_event  # noqa: E402
from opentelemetry import trace as otel  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402

ASKED = [{"role": "user", "content": "PRIVATE question"}]


class Usage:
    prompt_tokens, completion_tokens, total_tokens = 1000, 100, 1100


class Message:
    content = "PRIVATE answer that is long enough to be taken for one, with a few words in it"
    tool_calls = None
    role = "assistant"


class Choice:
    message = Message()
    finish_reason = "stop"


class Completion:
    usage = Usage()

    def __init__(self, model):
        self.model = model
        self.choices = [Choice()]


def provider(_, model, messages):
    if model == "broken":
        raise TimeoutError("PRIVATE: the provider did not answer")
    return Completion(model)


class Stubbed(Router):
    """The client's router over a provider of our own, watched by the client's own instrumentation."""

    provider = staticmethod(provider)

    def _dispatch(self, model, messages, *args, **kwargs):
        watched = OpenAIInstrumentation()._traced_create_wrapper(self.provider)
        return watched(None, model=model, messages=messages)

    def asks(self, **how):
        return self.completion(messages=ASKED, **how).kalibr_trace_id


class FirstFails(Stubbed):
    """Whichever model is asked first does not answer."""

    asked = ()

    def provider(self, _, model, messages):
        self.asked += (model,)
        return provider(_, "broken" if len(self.asked) == 1 else model, messages)


class Judged(Stubbed):
    """A judge whom the first answer does not please."""

    judged = 0

    def _run_judge(self, output, messages):
        self.judged += 1
        return 0.2 if self.judged == 1 else 0.9


def paths(client):
    named = {"goal": "paths", "model_id": "gpt-4o", "tool_id": "search"}
    kept = client.register_path(**named, params={"temperature": 0.5}, risk_level="high")
    again = client.register_path(**named, params={"temperature": 0.50})
    dropped = intelligence.register_path("paths", "claude-3-opus")
    disabled = client.disable_path(dropped["path_id"])
    revived = client.register_path(goal="paths", model_id="mistral-large")
    client.disable_path(revived["path_id"])
    client.register_path(goal="paths", model_id="mistral-large")
    return {
        "kept": kept,
        "again": again,
        "dropped": dropped,
        "disabled": disabled,
        "listed": client.list_paths(goal="paths"),
        "all": client.list_paths(goal="paths", include_disabled=True),
        "set": client.set_exploration_config(goal="paths", exploration_rate=0.2),
        "read": client.get_exploration_config(goal="paths"),
    }


def outcomes(client):
    client.register_path(goal="outcomes", model_id="gpt-4o", tool_id="search", params={"temperature": 0.5})
    decided = client.decide(goal="outcomes", task_risk_level="high", pipeline_id="nightly")
    reported = client.report_outcome(
        trace_id=decided["trace_id"],
        goal="outcomes",
        success=False,
        score=0.3,
        failure_reason="calendar conflict",
        failure_category="tool_error",
        metadata={"attempt": 2, "input": {"text": "PRIVATE"}},
        tool_id="search",
        execution_params={"temperature": 0.5},
        model_id="gpt-4o",
        pipeline_id="nightly",
    )
    traceless = client.report_outcome(trace_id=None, goal="traceless", success=True, model_id="gpt-4o")
    late = {"trace_id": decided["trace_id"], "goal": "outcomes"}
    scored = client.update_outcome(**late, score=0.1, metadata={"seen_by": "support"})
    for trace in ("reopened", "kept"):
        intelligence.report_outcome(trace, "updated", True, score=0.9, model_id="gpt-4o")
    reopened = intelligence.update_outcome(
        "reopened", "updated", success=False, failure_reason="reopened", failure_category="user_unsatisfied"
    )
    return {"decided": decided, "reported": reported, "traceless": traceless, "scored": scored, "reopened": reopened}


def cached():
    decided = [intelligence.decide(goal="cached", candidate_model_ids=["a", "b"]) for _ in range(2)]
    for one in decided:
        intelligence.report_outcome(trace_id=one["trace_id"], goal="cached", success=True, model_id=one["model_id"])
    return decided


def routers():
    """The trace of each, by its goal; what a router has to tell, it tells the server."""
    told = {}
    binary = Stubbed(goal="binary", paths=["gpt-4o", "claude-3-opus"], success_when=bool)
    told["binary"] = [binary.asks() for _ in range(3)]
    told["scored"] = Stubbed(goal="scored", paths=["gpt-4o"], score_when=lambda text: 0.25).asks(pipeline_id="nightly")
    guessed = Stubbed(goal="guessed", paths=["gpt-4o"])
    told["guessed"] = [guessed.asks(), guessed._default_score(Completion("gpt-4o"))]
    told["forced"] = Stubbed(goal="forced", paths=["broken", "gpt-4o"], success_when=bool).asks(force_model="broken")
    first_fails = FirstFails(goal="decided", paths=["gpt-4o", "gpt-4o-mini"], success_when=bool)
    told["decided"] = [first_fails.asks(), *first_fails.asked]
    judged = Judged(goal="judged", paths=["gpt-4o-mini", "gpt-4o"], judge_model="gpt-4o")
    told["judged"] = judged.asks(force_model="gpt-4o-mini")
    healed = Stubbed(goal="healed", paths=["broken", "gpt-4o"])
    told["healed"] = healed.asks(force_model="broken", healing=True)
    nothing = Stubbed(goal="exhausted", paths=["broken"])
    try:
        nothing.asks()
    except TimeoutError:
        told["exhausted"] = nothing._last_trace_id
    elsewhere = Stubbed(goal="elsewhere", paths=["gpt-4o", {"model": "gpt-4o", "tools": ["search", "maps"]}])
    elsewhere.add_path("gpt-4o-mini", tools=["search"], params={"temperature": 0})
    told["elsewhere"] = elsewhere.start_trace(model_id="my/own-model").id
    elsewhere.report(
        success=False,
        reason="made up",
        score=0.2,
        trace_id=told["elsewhere"],
        failure_category="hallucination_detected",
        pipeline_id="nightly",
    )
    return told


def reactions(client):
    """What a user does with the last run, in the client's words."""
    for trace, success in (("accepted", False), ("rejected", True)):
        client.report_outcome(trace_id=trace, goal="reactions", success=success, model_id="gpt-4o")
    feedback.track_run({"trace_id": "accepted", "goal": "reactions"})
    accepted = feedback.user_accepted()
    feedback.track_run({"kalibr_trace_id": "rejected", "goal_id": "reactions"})
    rejected = feedback.user_rejected("too short")
    feedback.track_run({"trace_id": "nobody reported it", "goal": "reactions"})
    return {"accepted": accepted, "rejected": rejected, "unknown": feedback.user_accepted()}


EMITTED = {
    "user_rejected": 0.1,
    "user_accepted": 0.9,
    "downstream_use": 0.8,
    "edit_small": 0.7,
    "edit_large": 0.3,
    "abandonment": 0.2,
    "retry": 0.0,
    "never_heard_of": 0.6,
    "says_nothing": 0.5,
}


def emitted(client):
    for kind in EMITTED:
        client.report_outcome(trace_id=kind, goal="emitted", success=True, model_id="gpt-4o")
    feedback.track_run({"trace_id": "user_accepted", "goal": "emitted"})
    return [
        feedback.emit_signal(
            kind,
            strength,
            dimension="tone",
            raw_evidence="in short",
            pipeline_step=2,
            # The one without either is of the run that was tracked last.
            **({} if kind == "user_accepted" else {"trace_id": kind, "goal": "emitted"}),
        )
        for kind, strength in EMITTED.items()
    ]


UNRELATED = ["apple pie", "rivers flow past", "seven tall lamps"]
AGAIN = ["please list them", "please list them", "please list them"]


def sessions():
    """A session each, by its goal: its anchor, and what a user says or does after it."""

    def session(goal, *turns, action=None, ends=False, **action_details):
        feedback.report_pipeline(goal, goal, "PRIVATE prompt", "PRIVATE output", "gpt-4o", meta_prompt_id="brief")
        for turn in turns:
            feedback.report_user_turn(goal, turn)
        if action:
            feedback.report_action(goal, action, **action_details)
        if ends:
            feedback.report_session_end(goal)
        return json.loads(feedback._get_session_path(goal).read_text())["trace_id"]

    return {
        "only anchored": session("only anchored"),
        "used": session("used", action="output_used_verbatim"),
        "copied": session("copied", action="output_copied"),
        "edited": session("edited", action="output_edited", edit_diff="-one +two"),
        "turned down": session("turned down", "redo it, that is wrong"),
        "thanked": session("thanked", "perfect, thanks, looks good"),
        "scolded and used": session("scolded and used", "redo it, that is wrong", action="output_used_verbatim"),
        "given up": session("given up", *UNRELATED, ends=True),
        "content": session("content", *AGAIN, ends=True),
        "silent": session("silent", "apple pie", ends=True),
    }


def advised():
    """Six runs of a dear and good model, six of a cheap and bad one, as the client's exporter tells of them."""
    tracer = otel.get_tracer("advised")
    figures = {"gpt-4o": (0.0035, 120.0, 6), "gpt-4o-mini": (0.00021, 90.5, 1)}
    for model, (cost, latency, successes) in figures.items():
        for turn in range(6):
            with tracer.start_as_current_span("openai.chat.completions.create") as span:
                span.set_attributes(
                    {
                        "llm.vendor": "openai",
                        "llm.request.model": model,
                        "llm.usage.prompt_tokens": 1000,
                        "llm.usage.completion_tokens": 100,
                        "llm.cost_usd": cost,
                        "llm.latency_ms": latency,
                        "gen_ai.prompt": "PRIVATE",
                    }
                )
            intelligence.report_outcome(
                trace_id=format(span.get_span_context().trace_id, "032x"),
                goal="advised",
                success=turn < successes,
                failure_category=None if turn < successes else "malformed_output",
                model_id=model,
            )


def advice(client):
    recommended = {
        aim: client.get_recommendation(task_type="advised", optimize_for=aim)
        for aim in ("cost", "quality", "latency", "balanced", "cost_efficiency", "outcome")
    }
    return {
        "policy": client.get_policy(goal="advised"),
        "cheap": client.get_policy(goal="advised", constraints={"max_cost_usd": 0.001}),
        "impossible": intelligence.get_policy("advised", constraints={"max_latency_ms": 1}),
        "unknown": client.get_policy(goal="outcomes"),
        "recommended": recommended,
        "for a goal": intelligence.get_recommendation("summarize", goal="advised", optimize_for="outcome"),
        "nothing known": client.get_recommendation(task_type="never heard of"),
        "insights": client.get_insights(),
        "insights of one": intelligence.get_insights("advised", window_hours=24),
    }


def events():
    """One by one, one a line; and through the exporter, once more for the first."""
    event = {
        "trace_id": "run-1",
        "span_id": "span-1",
        "parent_span_id": None,
        "model_id": "gpt-4o",
        "provider": "openai",
        "operation": "chat",
        "input_tokens": 1000,
        "output_tokens": 100,
        "latency_ms": 250,
        "metadata": {"input": "PRIVATE", "output": "PRIVATE"},
        "tool_input": "PRIVATE",
    }
    send_event(event)
    send_event({**event, "latency_ms": 9999})
    intelligence.report_outcome("run-1", "events", True, model_id="gpt-4o")
    with TracerProvider().get_tracer("exported").start_as_current_span("exported") as span:
        span.set_attributes({"gen_ai.system": "mine", "gen_ai.request.model": "my-own", "kalibr.goal": "events"})
        span.set_attributes({"gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.cost": 0.0123, "llm.latency_ms": 12.5})
    intelligence.report_outcome(
        format(span.get_span_context().trace_id, "032x"), "events", True, score=1.0, model_id="my-own"
    )
    exporter = KalibrHTTPSpanExporter()
    exporter.export([span])
    exporter.export([span])
    for secret, operation in ((os.environ["SIGNING_SECRET"], "signed"), ("another secret", "forged")):
        signing = KalibrClient(api_key=os.environ["KALIBR_API_KEY"], secret=secret)
        signing.trace(operation=operation, vendor="openai", model="gpt-4o")(lambda prompt: "PRIVATE")("PRIVATE é")
        signing.shutdown()


def settle():
    """Waits for what the client sends from threads of its own."""
    collector.shutdown_collector()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(10)


collector.setup_collector(file_export=False)
client = intelligence.KalibrIntelligence()
told = {
    "paths": paths(client),
    "outcomes": outcomes(client),
    "cached": cached(),
    "routers": routers(),
    "reactions": reactions(client),
    "emitted": emitted(client),
    "sessions": sessions(),
}
advised()
events()
settle()
told["advice"] = advice(client)
pathlib.Path(os.environ["TOLD"]).write_text(json.dumps(told))
