"""The published routing client, unchanged, against a running server: judged by the server's state, not its word."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

import pytest

from agentloop.models import Project
from routing.models import Decision, EventSpan, LedgerRow, Outcome, Path
from routing.rebuild import differences
from tests.compat.conftest import ROOT, clean_environment, environment_of

LOCKED = ROOT / "requirements" / "compat-kalibr.txt"

pytestmark = pytest.mark.compat


@pytest.fixture(scope="session")
def kalibr_python() -> FilePath:
    return environment_of("kalibr", LOCKED)


def environment(base_url: str, key: str, project: Project, home: FilePath) -> dict[str, str]:
    return {
        **{name: value for name, value in clean_environment().items() if not name.endswith("_API_KEY")},
        "HOME": str(home),
        "TMPDIR": str(home),
        "TOLD": str(home / "told.json"),
        "KALIBR_API_KEY": key,
        "KALIBR_TENANT_ID": project.tenant_id,
        "KALIBR_INTELLIGENCE_URL": base_url,
        "KALIBR_COLLECTOR_URL": f"{base_url}/api/ingest",
        "KALIBR_API_ENDPOINT": f"{base_url}/api/v1/traces",
        "KALIBR_ENDPOINT": f"{base_url}/api/v1/traces",
        "KALIBR_AUTO_INSTRUMENT": "false",
        "OPENAI_API_KEY": "unused",
    }


@pytest.mark.timeout(120)
def test_the_published_client_leaves_the_state_that_it_should(
    kalibr_python: FilePath,
    live_server: Any,
    project: Project,
    new_key: Callable[[Sequence[str]], str],
    tmp_path: FilePath,
) -> None:
    given = environment(live_server.url, new_key(["ingest", "route", "read", "review"]), project, tmp_path)
    script = str(ROOT / "tests" / "compat" / "routing_client.py")
    done = subprocess.run(
        [str(kalibr_python), "-I", script],
        env=given,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    _check_direct(told)
    _check_module(told)
    _check_router(told)
    _check_feedback(told)
    _check_spans(told, done.stdout)
    assert differences(project) == []
    assert not LedgerRow.objects.filter(reason__contains="PRIVATE").exists()
    verified = subprocess.run(
        [str(kalibr_python.parent / "kalibr"), "verify"],
        env=given,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "Live round-trip" in verified.stdout


def outcomes(goal: str) -> dict[str, tuple[str | None, bool | None, str]]:
    """By trace: model, success, and whose word it is."""
    found = Outcome.objects.filter(goal__name=goal).select_related("path")
    return {row.trace_id: (row.path.model if row.path else None, row.success, row.source) for row in found}


def _check_direct(told: dict[str, Any]) -> None:
    assert told["registered"]["path_id"] == told["again"]["path_id"] == told["decided"]["path_id"]
    assert [path["path_id"] for path in told["paths"]["paths"]] == [told["registered"]["path_id"]]
    assert told["decided"]["params"] == {"temperature": 0.5}
    assert outcomes("direct") == {told["decided"]["trace_id"]: ("gpt-4o", False, "user")}
    assert told["updated"]["fields_updated"] == ["success", "score"]
    assert told["config"] == told["config_read"]
    assert (told["config"]["exploration_rate"], told["config"]["staleness_days"]) == (0.2, 7)
    assert told["policy"]["goal"] == "direct"
    assert told["disabled"]["status"] == "disabled"
    assert Path.objects.get(goal__name="direct").status == "disabled"


def _check_module(told: dict[str, Any]) -> None:
    """The second decision comes out of the client's cache, with a trace id of the client's own."""
    first, second = told["module_decided"]
    assert first["trace_id"] != second["trace_id"]
    assert Decision.objects.filter(goal__name="module").count() == 1
    assert outcomes("module").keys() == {first["trace_id"], second["trace_id"]}


def _check_router(told: dict[str, Any]) -> None:
    routed = outcomes("routed")
    assert set(told["completions"]) == routed.keys()
    assert all(success is True for _, success, _ in routed.values())
    failed = Outcome.objects.filter(goal__name="failing", success=False, path__model="broken")
    assert {row.failure_category for row in failed} <= {"timeout"}


def _check_feedback(told: dict[str, Any]) -> None:
    assert told["rejected"] is True
    assert outcomes("feedback") == {"run-1": ("gpt-4o", False, "user")}
    [(model, success, source)] = outcomes("session").values()
    assert (model, success, source) == ("gpt-4o", True, "action")


def _check_spans(told: dict[str, Any], printed: str) -> None:
    assert told["exported"] == "SUCCESS", printed
    assert EventSpan.objects.filter(span_id="span-1").exists()
    outcome = Outcome.objects.get(goal__name="feedback")
    assert outcome.cost_usd == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)
    assert outcome.latency_ms == 250
    assert os.path.exists(LOCKED)
