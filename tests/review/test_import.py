"""A history comes in once, with its own times and ids, however often the import is cut off and run again."""

import gzip
import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from agentloop import history
from agentloop.actors import SYSTEM
from agentloop.ids import new_id, shown
from agentloop.keys import create_key
from agentloop.models import AuditEntry, Project, Scope
from agentloop.tenancy import change_settings, create_project
from review import export, filters, importing, intake
from review.index import index_stale_turns
from review.models import Annotation, AnnotationVersion, Memory, Occurrence, Turn, TurnIndex, TurnRedirect

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=123456)
YESTERDAY = NOW - timedelta(days=1)


@pytest.fixture
def project() -> Project:
    return create_project(name="Shop", actor=SYSTEM)


@pytest.fixture
def other() -> Project:
    return create_project(name="Other", actor=SYSTEM)


def take(project: Project, *items: Any) -> tuple[importing.Counts, list[tuple[int, str]]]:
    refused: list[tuple[int, str]] = []
    lines = [item if isinstance(item, bytes | None) else json.dumps(item).encode() + b"\n" for item in items]
    counts = importing.import_turns(
        project, SYSTEM, lines, refuse=lambda number, why: refused.append((number, why)), progress=lambda counts: None
    )
    return counts, refused


def stored(project: Project) -> list[Turn]:
    return list(Turn.objects.of(project).order_by("id"))


def line(question: str = "q", **more: Any) -> dict[str, Any]:
    return {"question": question, "agent_response": "a", "occurred_at": YESTERDAY.isoformat(), **more}


def exported(project: Project) -> list[dict[str, Any]]:
    batches = export.turn_rows(project, filters.TurnFilter(), with_history=True)
    return [json.loads(row) for chunk in export.as_jsonl(batches, {}) for row in chunk.splitlines()]


def client_of(project: Project) -> Client:
    _, secret = create_key(project=project, actor=SYSTEM, name="k", scopes=Scope.values)
    return Client(headers={"Authorization": f"Bearer {secret}"}, content_type="application/json")


def a_history(project: Project) -> None:
    """One turn of each kind: merged, judged, dismissed, snoozed, escalated, with an end user's word."""
    client = client_of(project)

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        return client.post(f"/v1/{path}", json.dumps(body), content_type="application/json").json()

    def log(question: str, **more: Any) -> str:
        return post("turns", {"question": question, "agent_response": "a", "user_id": "u", **more})["turn_id"]

    log("merged", signals={"thumbs_down": True}, tags=["x"], trace_id="t1", goal="g")
    log("Merged", signals={"confidence": 0.4}, tags=["y"], trace_id="t2", path_id="p", sample_rate=0.05)
    judged = log("judged")
    post(f"turns/{judged}/verdict", {"rating": "incorrect", "correction": "say b", "root_cause": "model"})
    post(f"turns/{log('rated')}/verdict", {"rating": "correct", "scores": {"tone": 4}})
    post(f"turns/{log('dismissed')}/dismiss", {"reason": "spam"})
    post(f"turns/{log('snoozed')}/snooze", {"until": (timezone.now() + timedelta(days=40)).isoformat()})
    post(f"turns/{log('escalated')}/escalate", {"note": "look"})


KEPT = (
    *("turn_id", "status", "question", "agent_response", "truncated", "signals", "metadata", "tags", "user_id"),
    *("session_id", "trace_id", "goal", "model", "path_id", "pipeline_id", "sample_rate", "occurrences"),
    *("logged_at", "occurred_at", "last_seen_at", "expires_at", "snoozed_until", "escalation_note"),
    *("dismissed_reason", "closed_at", "merged_occurrences"),
)
JUDGED = (
    *("annotation_id", "rating", "correction", "root_cause", "failure_category", "tags", "comment", "scores"),
    *("metadata", "user_id", "goal", "trace_id", "created_at", "updated_at", "source", "author_label"),
)


def kept(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: row[name] for name in KEPT}
        | {"annotations": [{name: one[name] for name in JUDGED} for one in row["annotations"]]}
        for row in rows
    ]


def forget(project: Project) -> None:
    for model in (Turn, Annotation, Occurrence, AnnotationVersion, Memory):
        model._default_manager.filter(project=project).delete()


# --- there and back -------------------------------------------------------------------------------------------


def test_what_was_exported_comes_back_as_it_was(project: Project) -> None:
    a_history(project)
    before = exported(project)
    forget(project)
    counts, refused = take(project, *before)
    assert (counts.stored, counts.annotations, refused) == (6, 2, [])
    assert kept(exported(project)) == kept(before)


def test_the_same_file_again_changes_nothing(project: Project) -> None:
    a_history(project)
    before = exported(project)
    counts, _ = take(project, *before, *before)
    assert (counts.known, counts.stored, counts.annotations) == (12, 0, 0)
    assert exported(project)[0] | {"priority": 0} == before[0] | {"priority": 0}


def test_another_project_gets_ids_of_its_own_and_still_nothing_twice(project: Project, other: Project) -> None:
    a_history(project)
    rows = exported(project)
    for _ in range(2):
        take(other, *rows)
    assert Turn.objects.of(other).count() == len(rows) == Turn.objects.of(project).count()
    assert Annotation.objects.of(other).count() == 2
    # Also when the first project has let go of the ids meanwhile.
    forget(project)
    counts, _ = take(other, *rows)
    assert (counts.stored, counts.annotations) == (0, 0)


def test_a_round_trip_keeps_the_order_of_the_queue(project: Project) -> None:
    for number in range(5):
        intake.log_turns(project, [line(f"{number}", signals={"thumbs_down": number})])
    order = list(Turn.objects.of(project).by_priority().values_list("question", flat=True))
    rows = exported(project)
    forget(project)
    take(project, *rows)
    assert list(Turn.objects.of(project).by_priority().values_list("question", flat=True)) == order


# --- ids and times --------------------------------------------------------------------------------------------


def test_ids_of_ours_and_times_are_kept(project: Project) -> None:
    given = new_id()
    take(project, line(turn_id=shown("turn", given), logged_at=NOW.isoformat()))
    [turn] = stored(project)
    assert (turn.id, turn.occurred_at, turn.logged_at, turn.last_seen_at) == (given, YESTERDAY, NOW, NOW)
    assert turn.expires_at == NOW + timedelta(days=30)


@pytest.mark.parametrize("name", ["id", "turn_id", "idempotency_key"])
def test_a_foreign_id_is_recognised(project: Project, name: str) -> None:
    for _ in range(2):
        take(project, line("one", **{name: "row-17"}), line("two", **{name: "row-18"}))
    one, two = stored(project)
    assert {one.question, two.question} == {"one", "two"}
    assert one.id.version == 7
    assert one.id.int >> 80 == int(YESTERDAY.timestamp() * 1000)
    assert Turn.objects.of(project).get(question="one").occurrences == 1


def test_a_line_without_an_id_is_known_by_what_it_says(project: Project) -> None:
    bare = {"question": "q", "agent_response": "a"}
    assert take(project, bare, bare)[0].known == 1
    assert take(project, bare)[0].known == 1
    assert len(stored(project)) == 1


def test_an_id_of_the_future_is_not_taken_over(project: Project) -> None:
    take(project, line(turn_id="turn_ffffffffffff7fffbfffffffffffffff"))
    [turn] = stored(project)
    assert turn.id.int >> 80 == int(YESTERDAY.timestamp() * 1000)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ({"occurred_at": "2026-01-02T03:04:05+02:00"}, datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ({"created_at": 1_767_322_800}, datetime(2026, 1, 2, 3, 0, tzinfo=UTC)),
        ({"timestamp": "2026-01-02 03:04:05"}, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_spelt_in_several_ways(project: Project, given: dict[str, Any], moment: datetime) -> None:
    take(project, {"question": "q", "agent_response": "a", "status": "dismissed", **given})
    [turn] = stored(project)
    assert (turn.occurred_at, turn.logged_at, turn.closed_at) == (moment, moment, moment)


# --- merging --------------------------------------------------------------------------------------------------


def test_a_pending_turn_goes_into_its_twin_that_waits_here(project: Project) -> None:
    [(logged, _)] = intake.log_turns(project, [line("Q ", trace_id="live")])
    past = line(
        "q", id="x", trace_id="past", occurrences=3, merged_occurrences=[{"trace_id": "p1"}, {"trace_id": "p2"}]
    )
    for _ in range(2):
        counts, _ = take(project, past)
    [turn] = stored(project)
    assert (turn.id, turn.occurrences, counts.known) == (logged.turn_id, 4, 1)
    assert set(Occurrence.objects.filter(turn_id=turn.id).values_list("trace_id", flat=True)) == {"past", "p1", "p2"}
    assert TurnRedirect.objects.get(project=project).to_turn_id == turn.id


def test_twins_in_one_file_are_merged_with_all_their_occurrences(project: Project) -> None:
    lines = [line("q", id=str(number), occurrences=number + 1) for number in range(4)]
    counts, _ = take(project, *lines)
    [turn] = stored(project)
    assert (turn.occurrences, counts.stored, counts.merged) == (1 + 2 + 3 + 4, 1, 3)
    assert take(project, *lines)[0].known == 4
    assert stored(project)[0].occurrences == 10


def test_judged_turns_are_never_merged(project: Project) -> None:
    take(project, *(line("q", id=str(number), status="reviewed") for number in range(3)), line("q", id="3"))
    assert [turn.status for turn in stored(project)].count("reviewed") == 3
    assert len(stored(project)) == 4


# --- verdicts -------------------------------------------------------------------------------------------------


def test_a_judged_turn_brings_its_annotation_and_its_memory(project: Project) -> None:
    said = {"rating": "incorrect", "correction": "We open at nine.", "reviewer": "ann", "root_cause": "model"}
    take(project, line("When do you open?", id=1, annotations=[said], goal="g"))
    [turn], [annotation] = stored(project), Annotation.objects.of(project)
    assert (turn.status, turn.closed_at) == ("reviewed", YESTERDAY)
    assert (annotation.turn_id, annotation.question, annotation.goal) == (turn.id, "When do you open?", "g")
    assert (annotation.source, annotation.author, annotation.author_label) == ("reviewer", "imported:ann", "ann")
    assert (annotation.version, annotation.created_at) == (1, YESTERDAY)
    assert Memory.objects.get(project=project).fact == "We open at nine."
    search = client_of(project).post("/v1/memories/search", json.dumps({"query": "open"}), "application/json")
    assert [memory["fact"] for memory in search.json()["memories"]] == ["We open at nine."]


def test_an_imported_verdict_can_be_edited_and_its_turn_reopened(project: Project) -> None:
    take(project, line(annotations=[{"rating": "correct", "version": 4}]))
    client, [turn], [annotation] = client_of(project), stored(project), Annotation.objects.of(project)
    path = f"/v1/annotations/{shown('ann', annotation.id)}"
    edited = client.patch(path, json.dumps({"rating": "partial"}), content_type="application/json")
    assert edited.status_code == 200
    assert [version["version"] for version in client.get(path).json()["versions"]] == [1, 2]
    assert (
        client.post(f"/v1/turns/{turn.shown_id}/reopen", "{}", "application/json").json()["turn"]["status"] == "pending"
    )


def test_an_end_users_word_leaves_the_turn_waiting(project: Project) -> None:
    take(project, line(annotations=[{"rating": "incorrect", "source": "end_user"}]))
    assert (stored(project)[0].status, Annotation.objects.of(project).count()) == ("pending", 1)


def test_annotations_that_a_cut_left_out_are_made_up_for(project: Project) -> None:
    row = line(id="x", annotations=[{"rating": "correct", "id": "1"}, {"rating": "partial", "correction": "c"}])
    take(project, row)
    Annotation.objects.of(project).delete()
    AnnotationVersion.objects.filter(project=project).delete()
    counts, _ = take(project, row)
    assert (counts.known, counts.annotations) == (1, 2)
    assert take(project, row)[0].annotations == 0


# --- what does not come in ------------------------------------------------------------------------------------


def test_bad_lines_are_told_with_their_numbers_and_passed_over(project: Project) -> None:
    counts, refused = take(
        project,
        line("good"),
        b"{not json\n",
        b"\n",
        [1],
        {"question": "no answer"},
        line(status="lost"),
        line(occurred_at="yesterday"),
        line(closed_at=1e15),
        line(annotations=[{"rating": "good"}]),
        line(annotations=[{"rating": "correct", "root_cause": "moon"}]),
        None,
        line("also good"),
    )
    assert [number for number, _ in refused] == [2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [turn.question for turn in stored(project)] in (["good", "also good"], ["also good", "good"])
    assert (counts.lines, counts.stored, counts.refused) == (12, 2, 9)
    sentences = dict(refused)
    assert sentences[2] == "The line is not JSON."
    assert sentences[6] == "status takes one of pending, reviewed, dismissed."
    assert sentences[7].startswith("occurred_at takes a time")
    assert sentences[9] == "rating takes one of correct, partial, incorrect."
    assert sentences[11] == "The line is longer than 16 MB."


def test_what_has_expired_is_told_and_passed_over_unless_it_was_judged(project: Project) -> None:
    old = (NOW - timedelta(days=31)).isoformat()
    counts, _ = take(
        project,
        line("old", occurred_at=old),
        line("old, judged", occurred_at=old, status="reviewed"),
        line("old, seen lately", occurred_at=old, last_seen_at=YESTERDAY.isoformat()),
        line("old, held", occurred_at=old, expires_at=(NOW + timedelta(days=400)).isoformat()),
    )
    assert (counts.expired, counts.stored) == (1, 3)
    assert {turn.question for turn in stored(project)} == {"old, judged", "old, seen lately", "old, held"}
    # Nothing lives longer than a fresh turn would.
    assert Turn.objects.get(question="old, held").expires_at < timezone.now() + timedelta(days=30)


def test_the_projects_rules_hold(project: Project) -> None:
    project = change_settings(
        project=project, actor=SYSTEM, changes={"mask": ["email"], "question_limit": 100, "ttl_days": 2}
    )
    said = {"rating": "incorrect", "correction": "write to c@d.com", "comment": "e@f.com"}
    take(project, line("a@b.com " + "x" * 200, id=1, signals={"thumbs_down": True}), line("ok", annotations=[said]))
    turn, annotation = Turn.objects.get(id__in=Turn.objects.filter(truncated__len=1)), Annotation.objects.get()
    assert (turn.question[:8], len(turn.question), turn.truncated) == ("[email] ", 100, ["question"])
    assert (turn.priority, turn.expires_at) == (5.0, YESTERDAY + timedelta(days=2))
    assert (annotation.correction, annotation.comment) == ("write to [email]", "[email]")


def test_odd_text_is_stored_as_intake_stores_it(project: Project) -> None:
    _, refused = take(project, b'{"question": "\\ud800 \\u0000", "agent_response": 7, "signals": {"x": NaN}}\n')
    [turn] = stored(project)
    assert (turn.question, turn.response, turn.signals, refused) == ("\ufffd \ufffd", "7", {"x": None}, [])


# --- the run itself -------------------------------------------------------------------------------------------


def test_an_import_that_is_cut_off_is_run_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH_LINES", 10)
    rows = [
        line(f"{number // 2}", id=number, annotations=[{"rating": "partial", "correction": f"c{number}"}])
        if number % 3 == 0
        else line(f"{number // 2}", id=number)
        for number in range(60)
    ]

    def cut_after(batches: int) -> Any:
        def progress(counts: importing.Counts) -> None:
            if counts.lines >= batches * 10:
                raise KeyboardInterrupt

        return progress

    encoded = [json.dumps(row).encode() for row in rows]
    for batches in (1, 3, 5):
        with pytest.raises(KeyboardInterrupt):
            importing.import_turns(project, SYSTEM, encoded, refuse=print, progress=cut_after(batches))
    take(project, *rows)
    whole = create_project(name="Whole", actor=SYSTEM)
    take(whole, *rows)

    def figures(of: Project) -> list[tuple[Any, ...]]:
        return sorted(Turn.objects.of(of).values_list("question", "status", "occurrences", "occurred_at"))

    assert figures(project) == figures(whole)
    assert Annotation.objects.of(project).count() == Annotation.objects.of(whole).count() == 20


def test_only_one_import_of_a_project_at_a_time(project: Project) -> None:
    other = connection.copy()
    with other.cursor() as elsewhere:
        elsewhere.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"import:{project.id}"])
        with pytest.raises(history.ImportRunning):
            take(project, line())
        elsewhere.execute("SELECT pg_advisory_unlock_all()")
    other.close()
    assert take(project, line())[0].stored == 1


def test_imported_turns_are_indexed_and_audited(project: Project) -> None:
    take(project, line("pending"), line("judged", status="reviewed"))
    index_stale_turns()
    assert TurnIndex.objects.filter(project=project).count() == 2
    acts = AuditEntry.objects.filter(project=project, act__startswith="turns.import").order_by("id")
    assert [(entry.act, entry.details.get("stored")) for entry in acts] == [
        ("turns.import.begin", None),
        ("turns.import.end", 2),
    ]


def test_the_command(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, packed = tmp_path / "h.jsonl", tmp_path / "h.jsonl.gz"
    text = "\n".join(json.dumps(line(str(number))) for number in range(3)) + "\n{bad\n"
    plain.write_text("\ufeff" + text)
    packed.write_bytes(gzip.compress(text.encode()))
    call_command("import", "turns", str(plain), "--project", "shop")
    first = capsys.readouterr()
    call_command("import", "turns", str(packed), "--project", "shop")
    second = capsys.readouterr()
    assert first.err.strip() == second.err.strip() == "line 4: The line is not JSON."
    assert first.out.startswith("4 lines read; 3 turns stored; ")
    assert second.out.startswith("4 lines read; 0 turns stored; ")
    assert "3 here already" in second.out


def test_the_command_says_what_it_cannot_read(project: Project, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(gzip.compress(random.Random(1).randbytes(5000))[:400])
    for arguments, sentence in (
        ([str(broken), "--project", "shop"], "broken.jsonl.gz cannot be read"),
        ([str(tmp_path / "none.jsonl"), "--project", "shop"], "No such file"),
        ([str(broken), "--project", "nobody"], "There is no project called nobody."),
    ):
        with pytest.raises(CommandError, match=sentence):
            call_command("import", "turns", *arguments)


def test_a_line_that_is_too_long_is_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_LINE_BYTES", 10)
    path = tmp_path / "long"
    path.write_bytes(b"short\n" + b"x" * 35 + b"\n" + b"0123456789\nend")
    with path.open("rb") as file:
        assert list(history.lines_of(file)) == [b"short\n", None, None, b"end"]
