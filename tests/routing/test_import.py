"""Past outcomes come in once, as evidence with its own times and sources, however often the import is run again."""

import csv
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path as File
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agentloop.actors import SYSTEM
from agentloop.history import ImportRunning
from agentloop.models import AuditEntry, Project
from agentloop.tenancy import change_settings
from routing import importing, reports
from routing.models import LedgerRow, Outcome, Path, PathState
from routing.rebuild import differences

JANUARY = datetime(2026, 1, 31, 9, tzinfo=UTC)


def take(project: Project, *items: Any) -> tuple[importing.Counts, dict[int, str]]:
    lines = [item if isinstance(item, bytes | None) else json.dumps(item).encode() + b"\n" for item in items]
    return rows_in(project, importing.json_rows(lines))


def take_table(project: Project, text: str) -> tuple[importing.Counts, dict[int, str]]:
    return rows_in(project, importing.csv_rows(text.encode().splitlines(keepends=True)))


def rows_in(project: Project, rows: Any) -> tuple[importing.Counts, dict[int, str]]:
    refused: dict[int, str] = {}
    counts = importing.import_outcomes(project, SYSTEM, rows, refuse=refused.__setitem__, progress=lambda counts: None)
    return counts, refused


def line(**more: Any) -> dict[str, Any]:
    return {"goal": "book", "model_id": "m", "success": True, "occurred_at": JANUARY.isoformat(), **more}


def kept(project: Project) -> dict[str, Any]:
    """Everything that choosing and insights go by."""
    names = ("trace_id", "path_id", "success", "score", "confidence", "failure_category", "source", "at")
    states = PathState.objects.filter(project=project).order_by("path_id", "pipeline_id")
    return {
        "ledger": list(LedgerRow.objects.filter(project=project).order_by("id").values()),
        "outcomes": list(Outcome.objects.filter(project=project).order_by("id").values(*names)),
        "states": list(states.values("path_id", "pipeline_id", "version", "own", "samples", "tries")),
    }


def test_a_line_becomes_evidence_of_its_own_time(project: Project) -> None:
    params = {"temperature": 0.2}
    counts, refused = take(
        project,
        line(trace_id="t1", score=0.9, execution_params=params, metadata={"region": "eu"}, pipeline_id="p"),
        line(trace_id="t2", success=False, failure_reason="provider_error: TimeoutError", tool_id="search"),
    )
    assert (counts.lines, counts.stored, counts.known, refused) == (2, 2, 0, {})
    good, bad = LedgerRow.objects.filter(project=project).order_by("trace_id")
    assert (good.occurred_at, good.score, good.source, good.metadata) == (
        JANUARY.timestamp(), 0.9, "provider", {"region": "eu"},
    )  # fmt: skip
    assert (bad.success, bad.failure_category, good.pipeline_id) == (False, "timeout", "p")
    assert Outcome.objects.get(trace_id="t1").at == JANUARY.timestamp()
    assert sum(sum(state.own) for state in PathState.objects.filter(project=project, pipeline_id="")) == 2
    assert differences(project) == []


def test_the_same_file_again_changes_nothing(project: Project) -> None:
    rows = [line(trace_id="t1", id=1), line(id=2, success=False), {"goal": "book", "success": True}]
    take(project, *rows)
    before = kept(project)
    counts, _ = take(project, *rows, *rows)
    assert (counts.stored, counts.known, counts.lines) == (0, 6, 6)
    assert kept(project) == before


def test_lines_that_say_the_same_are_one_and_an_id_keeps_them_apart(project: Project) -> None:
    counts, _ = take(project, line(), line(), line(id="a"), line(id="b"))
    assert (counts.stored, counts.known) == (3, 1)
    assert Outcome.objects.filter(project=project).count() == 3


def test_what_was_reported_here_with_the_same_key_is_the_same_outcome(project: Project) -> None:
    reports.report_outcome(project, line(trace_id="t", idempotency_key="k"))
    counts, _ = take(project, line(trace_id="t", idempotency_key="k", success=False))
    assert counts.known == 1
    assert Outcome.objects.get(project=project).success is True


def test_an_import_that_was_cut_off_goes_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_BATCH", 2)
    rows = [line(trace_id=f"t{number}", success=number % 3 > 0) for number in range(7)]

    def cut(counts: importing.Counts) -> None:
        if counts.lines == 4:
            raise KeyboardInterrupt

    lines = [json.dumps(row).encode() for row in rows]
    with pytest.raises(KeyboardInterrupt):
        importing.import_outcomes(project, SYSTEM, importing.json_rows(lines), refuse=print, progress=cut)
    assert Outcome.objects.filter(project=project).count() == 4
    counts, _ = take(project, *rows)
    assert (counts.stored, counts.known) == (3, 4)
    assert differences(project) == []


def test_a_past_outcome_keeps_its_source_and_the_ladder_holds(project: Project) -> None:
    later = datetime(2026, 2, 1, tzinfo=UTC).isoformat()
    take(
        project,
        line(trace_id="t", success=False, source="review", confidence=0.8, id=1),
        line(trace_id="t", success=True, occurred_at=later, id=2),
    )
    outcome = Outcome.objects.get(project=project)
    assert (outcome.success, outcome.source, outcome.confidence) == (False, "review", 0.8)


def test_bad_lines_are_told_with_their_numbers_and_passed_over(project: Project) -> None:
    counts, refused = take(
        project,
        line(id="good"),
        b"{not json\n",
        b"\n",
        [1],
        line(goal=" "),
        line(success="maybe"),
        line(score="high"),
        {"goal": "book", "model_id": "m"},
        line(failure_category="bad luck"),
        line(occurred_at="yesterday"),
        line(source="rumour"),
        line(execution_params="hot"),
        None,
        line(id="also good", success="true", occurred_at=None, created_at=1_769_850_000),
    )
    assert (counts.lines, counts.stored, counts.refused) == (14, 2, 11)
    assert {number: sentence.split(":")[0] for number, sentence in refused.items()} == {
        2: "The line is not JSON.",
        4: "line is not an object.",
        5: "goal is missing",
        6: "success takes true or false.",
        7: "score takes a number from 0 to 1.",
        8: "success is missing, and so is score",
        9: "There is no such failure category; they are",
        10: "occurred_at takes a time such as 2026-01-31T09",
        11: "source takes one of provider, inferred, user, action, review.",
        12: "execution_params takes a JSON object.",
        13: "The line is longer than 16 MB.",
    }
    assert LedgerRow.objects.get(key="imported:book:also good").occurred_at == 1_769_850_000


def test_a_table_says_the_same_as_lines_do(project: Project) -> None:
    text = (
        "\ufeffid,goal,modelId,success,score,failure_reason,execution_params,occurred_at,trace_id\r\n"
        'a,book,m,1,0.5,,"{""temperature"": 0.2}",1769850000,007\r\n'
        'b,book,m,False,,"said ""no"",\r\nthen hung up",,2026-01-31 09:00:00,\r\n'
        "c,book,m,true,,,,,,one too many\r\n"
        "d,book,m,,,,,,\r\n"
    )
    counts, refused = take_table(project, text)
    assert (counts.stored, counts.lines, list(refused)) == (2, 6, [5, 6])
    assert refused[5].startswith("The line has more cells than the header")
    good, bad = LedgerRow.objects.filter(project=project).order_by("key")
    assert (good.trace_id, good.success, good.score, good.occurred_at) == ("007", True, 0.5, 1_769_850_000)
    assert (bad.success, bad.reason, bad.occurred_at) == (
        False, 'said "no",\r\nthen hung up', JANUARY.timestamp(),
    )  # fmt: skip
    assert take_table(project, text)[0].known == 2


def test_what_is_no_table_ends_with_a_line_that_says_so(project: Project) -> None:
    with pytest.raises(importing.NotATable, match=r"^Line \d is not CSV: unexpected end"):
        take_table(project, 'goal,success\nbook,1\n"book,0\n')


def test_the_projects_masking_holds(project: Project) -> None:
    project = change_settings(project=project, actor=SYSTEM, changes={"mask": ["email"]})
    take(project, line(success=False, failure_reason="wrote to a@b.com", metadata={"to": "c@d.com"}))
    row = LedgerRow.objects.get(project=project)
    assert (row.reason, row.metadata) == ("wrote to [email]", {"to": "[email]"})


def test_projects_stay_apart(project: Project) -> None:
    other = Project.objects.create(slug="other", name="Other")
    for one in (project, other):
        assert take(one, line(id=1))[0].stored == 1
    traces = LedgerRow.objects.filter(key="imported:book:1").values_list("trace_id", flat=True)
    assert len(set(traces)) == Path.objects.filter(model="m").count() == 2


def test_one_import_at_a_time_and_it_is_audited(project: Project) -> None:
    elsewhere = connection.copy()
    with elsewhere.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"import:{project.id}"])
        with pytest.raises(ImportRunning):
            take(project, line())
        cursor.execute("SELECT pg_advisory_unlock_all()")
    elsewhere.close()
    take(project, line())
    notes = AuditEntry.objects.filter(project=project, act="outcomes.import.end")
    assert [entry.details for entry in notes] == [{"lines": 1, "stored": 1, "known": 0, "refused": 0}]


def test_the_command(project: Project, tmp_path: File, capsys: pytest.CaptureFixture[str]) -> None:
    plain, table = tmp_path / "o.jsonl", tmp_path / "o.csv.gz"
    rows = [{"id": str(number), "goal": "book", "model_id": "m", "success": "true"} for number in range(3)]
    plain.write_text("\n".join(json.dumps(row) for row in rows) + "\n{bad\n")
    with gzip.open(table, "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    call_command("import", "outcomes", str(plain), "--project", "alice")
    first = capsys.readouterr()
    call_command("import", "outcomes", str(table), "--project", "alice")
    second = capsys.readouterr()
    assert first.err.strip() == "line 4: The line is not JSON."
    assert first.out.strip() == "4 lines read; 3 outcomes stored; 0 here already; 1 refused."
    assert second.out.strip() == "4 lines read; 0 outcomes stored; 3 here already; 0 refused."
    with pytest.raises(CommandError, match="Turns are read from JSON lines"):
        call_command("import", "turns", str(table), "--project", "alice")
