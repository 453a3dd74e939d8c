"""POST and GET /v1/annotations, and one annotation: read and edited."""

from collections.abc import Callable
from typing import Any

import pytest

from agentloop.actors import Actor
from agentloop.models import Project
from review.models import Annotation, AnnotationSource, AnnotationVersion, Memory, QueueAct, Status, Turn
from review.verdicts import Verdict, annotate
from tests.review.support import Caller, assert_counted, caller_for, move_time

BODY = {"question": "What is a loop?", "agent_response": "A circle.", "rating": "incorrect", "correction": "A cycle."}


def test_annotates_and_closes_the_pending_twin(call: Caller, project: Project) -> None:
    turn_id = call.log().body["turn_id"]
    answer = call("POST", "/v1/annotations", {**BODY, "question": " what is a LOOP?", "reviewer": "Ann", "tags": []})
    annotation, memory = Annotation.objects.get(), Memory.objects.get()
    assert (answer.status, answer.body) == (
        201,
        {
            "annotation_id": f"ann_{annotation.id.hex}",
            "memory_id": f"mem_{memory.id.hex}",
            "status": "active",
            "duplicate_score": None,
            "turn_id": turn_id,
            "act_id": f"act_{QueueAct.objects.get().id.hex}",
        },
    )
    assert annotation.author_label == "Ann"
    assert Turn.objects.get().status == Status.REVIEWED
    assert_counted(project)


def test_annotates_without_a_turn(call: Caller) -> None:
    answer = call("POST", "/v1/annotations", BODY)
    assert (answer.status, answer.body["turn_id"]) == (201, None)


def test_an_expired_twin_is_not_closed(call: Caller) -> None:
    call.log()
    move_time(expires_at="-31 days")
    assert call("POST", "/v1/annotations", BODY).body["turn_id"] is None
    assert Turn.objects.get().status == Status.PENDING


def test_finds_a_turn_that_was_cut(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(question_limit=100)
    turn_id = call.log("x" * 150).body["turn_id"]
    assert call("POST", "/v1/annotations", {**BODY, "question": "x" * 200}).body["turn_id"] == turn_id


def test_an_end_users_word_closes_nothing(call: Caller, project: Project, bob: Actor) -> None:
    call.log()
    judged = annotate(
        project, bob, "What is a loop?", "A circle.", Verdict("partial", "x"), source=AnnotationSource.END_USER
    )
    assert (judged.turn, Turn.objects.get().status) == (None, Status.PENDING)
    assert Annotation.objects.get().turn_id == Turn.objects.get().id


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rating": "bad"}, "rating"),
        ({"root_cause": "user"}, "root_cause"),
        ({"correction": ""}, "correction"),
        ({"correction": " \n"}, "correction"),
        ({"correction": None}, "correction"),
        ({"question": None}, "question"),
        ({"agent_response": ["x"]}, "agent_response"),
        ({"tags": {"a": 1}}, "tags"),
        ({"metadata": "x"}, "metadata"),
        ({"user_id": "x" * 201}, "user_id"),
    ],
)
def test_names_the_bad_field(call: Caller, change: dict[str, Any], field: str) -> None:
    answer = call("POST", "/v1/annotations", {**BODY, **change})
    assert (answer.status, answer.body["code"], list(answer.body["fields"])) == (422, "invalid", [field])
    assert field in answer.body["error"]
    assert not Annotation.objects.exists()


@pytest.mark.parametrize("field", ["question", "agent_response", "rating", "correction"])
def test_names_the_missing_field(call: Caller, field: str) -> None:
    answer = call("POST", "/v1/annotations", {name: value for name, value in BODY.items() if name != field})
    assert (answer.status, answer.body["error"]) == (422, f"{field} is required.")


def test_mends_what_json_readers_refuse(call: Caller) -> None:
    body = (
        b'{"question": "\\u0000", "agent_response": "\\ud800", "rating": "incorrect", "correction": "\\u0000x",'
        b' "metadata": {"n": NaN, "\\udfff": 1}}'
    )
    assert call("POST", "/v1/annotations", body).status == 201
    assert Annotation.objects.get().metadata == {"n": None, "\ufffd": 1}


def test_lists_the_newest_first_in_pages(call: Caller) -> None:
    made = [call("POST", "/v1/annotations", {**BODY, "question": str(n)}).body["annotation_id"] for n in range(5)]
    seen, cursor = [], ""
    for _ in range(3):
        page = call("GET", f"/v1/annotations?limit=2&cursor={cursor}").body
        seen += [one["annotation_id"] for one in page["annotations"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (made[::-1], None)


def test_lists_by_rating_source_and_turn(call: Caller) -> None:
    turn_id = call.log().body["turn_id"]
    judged = call("POST", "/v1/annotations", BODY).body["annotation_id"]
    other = call("POST", "/v1/annotations", {**BODY, "question": "z", "rating": "partial"}).body["annotation_id"]

    def listed(query: str) -> list[str]:
        return [one["annotation_id"] for one in call("GET", f"/v1/annotations?{query}").body["annotations"]]

    assert listed("rating=partial") == [other]
    assert listed(f"turn_id={turn_id}") == [judged]
    assert listed("source=api") == [other, judged]
    assert listed("source=reviewer") == []


@pytest.mark.parametrize(("query", "field"), [("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit")])
def test_names_a_bad_limit(call: Caller, query: str, field: str) -> None:
    answer = call("GET", f"/v1/annotations?{query}")
    assert (answer.status, list(answer.body["fields"])) == (422, [field])


def test_refuses_a_cursor_of_another_list(call: Caller) -> None:
    answer = call("GET", "/v1/annotations?cursor=x")
    assert answer.status == 422
    assert "next_cursor" in answer.body["error"]


def test_edits_and_keeps_what_was_said_before(call: Caller) -> None:
    made = call("POST", "/v1/annotations", {**BODY, "tags": ["a"], "comment": "c"}).body
    path = f"/v1/annotations/{made['annotation_id']}"
    answer = call("PATCH", path, {"correction": "Something else altogether.", "tags": ["b"]})
    assert (answer.status, answer.body["memory_id"]) == (200, made["memory_id"])
    shown = call("GET", path).body
    assert (shown["version"], shown["rating"], shown["correction"], shown["tags"], shown["comment"]) == (
        2,
        "incorrect",
        "Something else altogether.",
        ["b"],
        "c",
    )
    assert [(v["version"], v["body"]["correction"]) for v in shown["versions"]] == [
        (1, "A cycle."),
        (2, "Something else altogether."),
    ]
    memory = Memory.objects.get()
    assert (memory.fact, memory.tags) == ("Something else altogether.", ["b"])


def test_an_edit_without_a_correction_takes_the_memory_away(call: Caller) -> None:
    made = call("POST", "/v1/annotations", BODY).body
    answer = call("PATCH", f"/v1/annotations/{made['annotation_id']}", {"correction": ""})
    assert (answer.status, answer.body["memory_id"]) == (200, None)
    assert not Memory.objects.exists()


LONG = {**BODY, "correction": "A loop is a path that comes back to where it began, as often as one likes."}


def test_undoing_an_edit_restores_text_and_memory(call: Caller) -> None:
    first = call("POST", "/v1/annotations", LONG).body
    second = call("POST", "/v1/annotations", {**LONG, "correction": LONG["correction"] + "!", "tags": ["n"]}).body
    assert second["memory_id"] == first["memory_id"]
    before = Memory.objects.values().get()
    path = f"/v1/annotations/{first['annotation_id']}"
    edited = call("PATCH", path, {"correction": LONG["correction"] + "?", "tags": ["e"]}).body
    assert Memory.objects.get().fact == LONG["correction"] + "?"
    assert call("POST", f"/v1/acts/{edited['act_id']}/undo", {}).status == 200
    assert Memory.objects.values().get() == before
    shown = call("GET", path).body
    assert (shown["correction"], shown["version"], AnnotationVersion.objects.count()) == (LONG["correction"], 3, 4)


def test_an_edit_that_leaves_a_shared_memory_comes_back_to_it(call: Caller) -> None:
    first = call("POST", "/v1/annotations", LONG).body
    call("POST", "/v1/annotations", {**LONG, "correction": LONG["correction"] + "!"})
    before = Memory.objects.values().get()
    edited = call("PATCH", f"/v1/annotations/{first['annotation_id']}", {"correction": "Nothing of the kind"}).body
    assert Memory.objects.count() == 2
    call("POST", f"/v1/acts/{edited['act_id']}/undo", {})
    assert Memory.objects.values().get() == before


@pytest.mark.parametrize(
    ("body", "field"), [({"rating": "x"}, "rating"), ({"tags": 1}, "tags"), ({"rating": None}, "rating")]
)
def test_an_edit_names_the_bad_field(call: Caller, body: Any, field: str) -> None:
    made = call("POST", "/v1/annotations", BODY).body["annotation_id"]
    answer = call("PATCH", f"/v1/annotations/{made}", body)
    assert (answer.status, list(answer.body["fields"])) == (422, [field])


def test_an_edit_changes_something(call: Caller) -> None:
    made = call("POST", "/v1/annotations", BODY).body["annotation_id"]
    assert call("PATCH", f"/v1/annotations/{made}", {"question": "x"}).status == 422


def test_only_its_author_or_an_owner_edits(call: Caller, project: Project) -> None:
    reviewer = caller_for(project, "review", "read", name="reviewer")
    other = caller_for(project, "review", "read", name="other")
    made = reviewer("POST", "/v1/annotations", BODY).body["annotation_id"]
    assert other("PATCH", f"/v1/annotations/{made}", {"comment": "x"}).body["code"] == "not_yours"
    assert reviewer("PATCH", f"/v1/annotations/{made}", {"comment": "x"}).status == 200
    assert call("PATCH", f"/v1/annotations/{made}", {"comment": "y"}).status == 200


def test_strangers_scopes_and_methods(call: Caller, stranger: Caller, project: Project) -> None:
    made = call("POST", "/v1/annotations", BODY).body["annotation_id"]
    path = f"/v1/annotations/{made}"
    assert stranger("GET", path).body["code"] == "annotation_not_found"
    assert stranger("PATCH", path, {"comment": "x"}).status == 404
    assert stranger("GET", "/v1/annotations").body["annotations"] == []
    assert caller_for(project, "ingest", "read")("POST", "/v1/annotations", BODY).status == 403
    assert caller_for(project, "review")("GET", "/v1/annotations").status == 403
    assert caller_for(project, "read")("PATCH", path, {"comment": "x"}).status == 403
    assert call("DELETE", path).status == 405
