"""`Router.completion` by the real multi-provider library: what it cost is told, what was said is not."""

import json

import pytest

from tests.compat.conftest import ROOT, environment_of
from tests.sdk_python import unkind as u
from tests.sdk_python.provider import provider, run_with

LOCKED = ROOT / "requirements" / "client-litellm.txt"


@pytest.mark.compat
# Making the environment may take two minutes, and loading the library a few seconds.
@pytest.mark.timeout(400)
def test_completions_are_measured_judged_and_tried_once() -> None:
    python = environment_of("client-litellm", LOCKED)
    with u.unkind(always=provider) as stand_in, u.unkind() as server:
        # Else it asks the net for prices when it is loaded.
        done = run_with(python, "completions.py", stand_in, server, LITELLM_LOCAL_MODEL_COST_MAP="True")
        assert json.loads(done.stdout.splitlines()[-1]) == ["SECRET answer", "SECRET answer", "raised"]
        assert all(b"sk-none" not in seen.body for seen in server.seen)
        sent = [(seen.path, seen.json) for seen in server.seen if seen.method == "POST"]

    # No retry that hides a failure: neither ours nor the library's.
    assert [seen.json["model"] for seen in stand_in.seen] == ["gpt-4o", "claude-haiku-4-5", "limited"]
    spans = {span["model_id"]: span for path, body in sent if path == "/api/v1/traces" for span in body["events"]}
    for model in ("openai/gpt-4o", "anthropic/claude-haiku-4-5"):
        span = spans[model]
        assert (span["input_tokens"], span["output_tokens"], span["status"]) == (1000, 100, "ok")
        assert span["latency_ms"] > 0
        assert 0 < span["cost_usd"] < 0.1
    assert spans["openai/limited"]["status"] == "error"
    outcomes = {one["model_id"]: one for path, body in sent if path.endswith("/outcomes") for one in body["outcomes"]}
    assert [outcomes[model]["success"] for model in spans] == [True, True, False]
    assert outcomes["openai/limited"]["failure_category"] == "rate_limited"
