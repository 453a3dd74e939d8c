"""A verdict is evidence for the executions that made its turn, by the time its answer is written."""

from typing import Any
from uuid import UUID

import pytest

from agentloop.actors import SYSTEM
from agentloop.models import Project
from agentloop.tenancy import change_settings
from review import evidence
from review.models import AnnotationSource, EvidenceDue, Occurrence
from review.verdicts import Verdict, annotate
from routing.models import LedgerRow, Outcome, PathState
from routing.rebuild import differences
from routing.standings import look

REPORT = "/api/v1/intelligence/report-outcome"
TURN = {"question": "q", "agent_response": "a", "goal": "book", "model": "m"}


def judged(api: Any, turn: dict[str, Any], **verdict: Any) -> dict[str, Any]:
    answer = api.send("POST", f"/v1/turns/{turn['turn_id']}/verdict", {"rating": "incorrect", **verdict})
    assert answer.status_code in (200, 201), answer.content
    return answer.json()


def logged(api: Any, **more: Any) -> dict[str, Any]:
    answer = api.send("POST", "/v1/turns", {**TURN, **more})
    assert answer.status_code in (200, 201), answer.content
    return answer.json()


def outcomes() -> dict[str, tuple[bool | None, float | None, str, float]]:
    return {row.trace_id: (row.success, row.score, row.source, row.attribution) for row in Outcome.objects.all()}


def test_a_verdict_overrides_what_was_reported_for_every_merged_trace(api: Any) -> None:
    for trace in ("t1", "t2"):
        api.post(REPORT, {"goal": "book", "model_id": "m", "trace_id": trace, "success": True})
        turn = logged(api, trace_id=trace)
    judged(api, turn, root_cause="prompt")
    assert outcomes() == {"t1": (False, 0.0, "review", 0.5), "t2": (False, 0.0, "review", 0.5)}
    assert {row.failure_category for row in Outcome.objects.all()} == {"validation_failed"}
    assert look(api.project, "book").paths[0].own.mean == 0.0
    assert differences(api.project) == []


def test_undoing_and_editing_a_verdict_change_the_evidence(api: Any) -> None:
    api.post(REPORT, {"goal": "book", "model_id": "m", "trace_id": "t1", "success": True, "score": 0.8})
    before = PathState.objects.get().own
    done = judged(api, logged(api, trace_id="t1"))
    edited = api.send("PATCH", f"/v1/annotations/{done['annotation_id']}", {"rating": "partial"})
    assert edited.status_code == 200, edited.content
    assert outcomes() == {"t1": (True, 0.5, "review", 1.0)}
    api.send("POST", f"/v1/acts/{edited.json()['act_id']}/undo", {})
    assert outcomes() == {"t1": (False, 0.0, "review", 1.0)}
    api.send("POST", f"/v1/acts/{done['act_id']}/undo", {})
    assert outcomes() == {"t1": (True, 0.8, "provider", 1.0)}
    assert all(abs(one - other) < 1e-9 for one, other in zip(before, PathState.objects.get().own, strict=True))
    assert differences(api.project) == []


def test_a_failure_of_the_context_is_not_held_against_the_path(api: Any) -> None:
    api.post(REPORT, {"goal": "book", "model_id": "m", "trace_id": "t1", "success": True})
    judged(api, logged(api, trace_id="t1"), root_cause="context")
    assert PathState.objects.get().samples == 0
    [goal] = api.get("/api/v1/intelligence/insights")["goals"]
    assert (goal["sample_count"], goal["success_rate"]) == (1, 0.0)
    assert goal["paths"][0]["sample_count"] == 0


def test_a_project_may_change_the_blame(api: Any) -> None:
    change_settings(project=api.project, actor=SYSTEM, changes={"blame": {"context": 0.25}})
    judged(api, logged(api, trace_id="t1"), root_cause="context")
    assert outcomes()["t1"][3] == 0.25


def test_a_turn_without_a_trace_counts_by_its_model(api: Any) -> None:
    judged(api, logged(api), rating="correct")
    [(trace, word)] = outcomes().items()
    assert word == (True, 1.0, "review", 1.0)
    assert len(trace) == 32
    assert look(api.project, "book").paths[0].samples == 1


def test_a_turn_that_names_no_execution_makes_no_evidence(api: Any) -> None:
    judged(api, logged(api, goal=None, model=None))
    assert not LedgerRow.objects.exists()


def test_a_trace_without_a_goal_takes_the_goal_that_it_was_decided_for(api: Any) -> None:
    api.post(REPORT, {"goal": "book", "model_id": "m", "trace_id": "t1", "success": True})
    judged(api, logged(api, goal=None, model=None, trace_id="t1"))
    assert outcomes()["t1"][:3] == (False, 0.0, "review")


def test_an_end_users_word_is_user_evidence(api: Any, project: Project) -> None:
    logged(api, trace_id="t1")
    said = Verdict("incorrect", comment="wrong")
    annotate(project, SYSTEM, "q", "a", said, source=AnnotationSource.END_USER)
    row = Outcome.objects.get()
    assert (row.success, row.source, row.failure_category) == (False, "user", "user_unsatisfied")


def test_erasing_a_user_empties_the_free_texts_of_their_traces(api: Any) -> None:
    body = {"goal": "book", "model_id": "m", "success": False, "failure_reason": "call me", "metadata": {"who": "x"}}
    for trace in ("t1", "other"):
        api.post(REPORT, {**body, "trace_id": trace})
    logged(api, trace_id="t1", user_id="u")
    assert api.send("POST", "/v1/erasure", {"user_id": "u"}).status_code == 200
    left = dict(LedgerRow.objects.values_list("trace_id", "reason"))
    assert left == {"t1": None, "other": "call me"}
    assert LedgerRow.objects.get(trace_id="t1").metadata is None


def test_a_verdict_on_a_random_draw_says_so_also_after_an_edit(api: Any) -> None:
    """So the goal's page can tell the unbiased sample from what reviewers chose to look at."""
    judged(api, logged(api, trace_id="elsewhere"))
    change_settings(project=api.project, actor=SYSTEM, changes={"random_share": 1})
    turn = logged(api, trace_id="drawn", question="another")
    claimed = api.send("POST", "/v1/queue/claim", {}).json()
    assert claimed["turn"]["turn_id"] == turn["turn_id"]
    done = judged(api, turn, claim_token=claimed["claim_token"])
    api.send("PATCH", f"/v1/annotations/{done['annotation_id']}", {"rating": "partial"})
    change_settings(project=api.project, actor=SYSTEM, changes={"random_share": 0})
    turn = logged(api, trace_id="chosen", question="a third")
    claimed = api.send("POST", "/v1/queue/claim", {}).json()
    judged(api, turn, claim_token=claimed["claim_token"])
    said = LedgerRow.objects.filter(withdraws=None).order_by("id").values_list("trace_id", "at_random")
    assert list(said) == [("elsewhere", None), ("drawn", True), ("drawn", True), ("chosen", False)]


# --- turns that were logged more often than one transaction can speak of ----------------------------------------


def standing() -> dict[str, tuple[Any, ...]]:
    return {trace: outcome for trace, outcome in outcomes().items() if outcome[0] is not None}


def merged(api: Any, count: int) -> dict[str, Any]:
    """A turn with that many merged occurrences, each with a trace of its own."""
    turn = logged(api, trace_id="t0")
    turn_id = UUID(turn["turn_id"].removeprefix("turn_"))
    Occurrence.objects.bulk_create(
        [
            Occurrence(project=api.project, turn_id=turn_id, goal="book", model="m", trace_id=f"t{number}")
            for number in range(1, count + 1)
        ],
        batch_size=5_000,
    )
    return turn


def test_a_turn_that_was_logged_25_000_times_is_judged_and_taken_back(api: Any) -> None:
    done = judged(api, merged(api, 25_000))
    said = set(outcomes())
    assert {"t0", "t25000", "t24501"} <= said
    assert len(said) == evidence.BATCH + 1
    edited = api.send("PATCH", f"/v1/annotations/{done['annotation_id']}", {"rating": "partial"})
    assert edited.status_code == 200, edited.content
    evidence._go_on_with(UUID(done["annotation_id"].removeprefix("ann_")))
    evidence._go_on_with(UUID(done["annotation_id"].removeprefix("ann_")))
    for act in (edited.json(), done):
        assert api.send("POST", f"/v1/acts/{act['act_id']}/undo", {}).status_code == 200
    evidence.go_on()
    assert not EvidenceDue.objects.exists()
    assert standing() == {}


@pytest.mark.parametrize(
    ("acts", "says"),
    [
        ("", (False, 0.0, "review", 1.0)),
        ("edit", (True, 0.5, "review", 1.0)),
        ("step edit step", (True, 0.5, "review", 1.0)),
        ("step edit step step back step", (False, 0.0, "review", 1.0)),
        ("step step undo step", None),
        ("edit step back undo", None),
    ],
)
def test_in_steps_the_end_is_the_same(
    api: Any, monkeypatch: pytest.MonkeyPatch, acts: str, says: tuple[Any, ...] | None
) -> None:
    """Whatever is edited and undone while the worker is half-way, all executions say what the annotation says."""
    monkeypatch.setattr(evidence, "BATCH", 3)
    done = judged(api, merged(api, 10))
    edit = done
    for act in acts.split():
        if act == "step":
            evidence._go_on_with(UUID(done["annotation_id"].removeprefix("ann_")))
        elif act == "edit":
            edit = api.send("PATCH", f"/v1/annotations/{done['annotation_id']}", {"rating": "partial"}).json()
        else:
            taken = edit if act == "back" else done
            assert api.send("POST", f"/v1/acts/{taken['act_id']}/undo", {}).status_code == 200
    evidence.go_on()
    assert not EvidenceDue.objects.exists()
    assert standing() == ({f"t{number}": says for number in range(11)} if says else {})
    assert differences(api.project) == []


def test_evidence_that_was_not_all_taken_back_is_so_though_its_turn_is_deleted(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "BATCH", 3)
    turn = merged(api, 10)
    done = judged(api, turn)
    assert evidence.go_on() > 1
    assert len(standing()) == 11
    api.send("POST", f"/v1/acts/{done['act_id']}/undo", {})
    assert api.send("DELETE", f"/v1/turns/{turn['turn_id']}").status_code == 204
    evidence.go_on()
    assert standing() == {}
    assert differences(api.project) == []
