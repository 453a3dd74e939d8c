"""Exports stream in constant memory, hold what the list holds, and harm nobody who opens them."""

import csv
import gc
import io
import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentloop.actors import SYSTEM
from agentloop.ids import new_id
from agentloop.keys import create_key
from agentloop.models import Project, Scope
from agentloop.sql import run
from agentloop.tenancy import create_project
from review import export, export_api, filters, intake
from review.models import Occurrence, Turn

pytestmark = pytest.mark.django_db

FORMS = ("jsonl", "csv", "parquet")


@pytest.fixture
def project() -> Project:
    return create_project(name="Shop", actor=SYSTEM)


@pytest.fixture(autouse=True)
def answers_that_nobody_read_are_gone() -> None:
    """The test's client ties knots into its answers, so that they stay until they are collected."""
    gc.collect()


def client_of(project: Project, *scopes: str) -> Client:
    _, secret = create_key(project=project, actor=SYSTEM, name="k", scopes=scopes or list(Scope.values))
    return Client(headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def client(project: Project) -> Client:
    return client_of(project)


def log(project: Project, question: str = "q", response: str = "a", **more: Any) -> Turn:
    [(logged, _)] = intake.log_turns(project, [{"question": question, "agent_response": response, **more}])
    return Turn.objects.get(id=logged.turn_id)


def body(response: Any) -> bytes:
    assert response.status_code == 200
    return b"".join(response.streaming_content)


def lines(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body(response).splitlines()]


def cells(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body(response).decode(), newline="")))


def table(response: Any) -> pa.Table:
    return pq.read_table(pa.BufferReader(body(response)))


def annotate(client: Client, **said: Any) -> dict[str, Any]:
    given = {"question": "q", "agent_response": "a", "rating": "incorrect", "correction": "say b", **said}
    return client.post("/v1/annotations", given, content_type="application/json").json()


# --- what is in it --------------------------------------------------------------------------------------------


def test_a_line_of_jsonl_is_the_turn_as_the_api_shows_it_with_its_history(project: Project, client: Client) -> None:
    turn = log(project, "Öffnet ihr?", "“Nein”\n🙂", signals={"thumbs_down": True}, tags=["x"], trace_id="1")
    log(project, "öffnet ihr?", "“Nein” 🙂", trace_id="2", path_id="p", sample_rate=0.5)
    annotate(client, question="Öffnet ihr?", agent_response="“Nein” 🙂")

    [line] = lines(client.get("/v1/export/turns.jsonl"))
    shown = client.get(f"/v1/turns/{turn.shown_id}").json()
    for volatile in ("priority",):
        del shown[volatile], line[volatile]
    [occurrence], [annotation] = line.pop("merged_occurrences"), line.pop("annotations")
    assert line == {name: shown[name] for name in line}
    assert set(shown) - set(line) == {"reasons", "merged_occurrences", "draft"}
    assert (occurrence["trace_id"], occurrence["path_id"], occurrence["sample_rate"]) == ("2", "p", 0.5)
    assert (annotation["rating"], annotation["correction"]) == ("incorrect", "say b")
    assert (line["status"], line["occurrences"]) == ("reviewed", 2)


def test_annotations_hold_the_texts_that_they_judged(client: Client) -> None:
    made = annotate(client)
    [line] = lines(client.get("/v1/export/annotations.jsonl"))
    assert (line["annotation_id"], line["question"], line["agent_response"]) == (made["annotation_id"], "q", "a")
    assert set(line) == set(export.ANNOTATION_FIELDS)


def test_every_column_is_a_field_of_the_api(project: Project, client: Client) -> None:
    log(project)
    annotate(client)
    turn = client.get("/v1/turns").json()["turns"][0]
    annotation = client.get("/v1/annotations").json()["annotations"][0]
    assert (set(turn), set(annotation)) == (set(export.TURN_FIELDS), set(export.ANNOTATION_FIELDS))


def test_csv_and_parquet_hold_the_same_rows(project: Project, client: Client) -> None:
    log(project, 'a\r\nb,"c"', "x", signals={"confidence": 0.4}, metadata={"deep": [1, {"é": None}]}, sample_rate=0.25)
    [row], found = cells(client.get("/v1/export/turns.csv")), table(client.get("/v1/export/turns.parquet"))
    [typed] = found.to_pylist()
    assert list(row) == list(typed) == list(export.TURN_FIELDS)
    assert row["question"] == typed["question"] == 'a\r\nb,"c"'
    assert row["metadata"] == typed["metadata"] == '{"deep":[1,{"é":null}]}'
    assert (typed["sample_rate"], typed["occurrences"], typed["closed_at"]) == (0.25, 1, None)
    assert datetime.fromisoformat(row["logged_at"]) == typed["logged_at"]
    assert found.schema.field("logged_at").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", ["turns", "annotations"])
def test_an_empty_export_is_a_whole_file(client: Client, what: str, form: str) -> None:
    found = body(client.get(f"/v1/export/{what}.{form}"))
    columns = list(export.TURN_FIELDS if what == "turns" else export.ANNOTATION_FIELDS)
    expected = {
        "jsonl": lambda: found == b"",
        "csv": lambda: found.decode() == ",".join(columns) + "\r\n",
        "parquet": lambda: pq.read_table(pa.BufferReader(found)).column_names == columns,
    }
    assert expected[form]()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝"])
def test_csv_disarms_what_a_spreadsheet_would_run(project: Project, client: Client, start: str) -> None:
    text = f'{start}HYPERLINK("http://evil","x")'
    log(project, text, "fine", goal=f"{start}goal", signals={text: text})
    annotate(client, question=text, agent_response="fine", correction=text, comment=text, tags=[text])
    [turn], [annotation] = cells(client.get("/v1/export/turns.csv")), cells(client.get("/v1/export/annotations.csv"))
    assert turn["question"] == f"'{text}"
    assert (annotation["correction"], annotation["comment"]) == (f"'{text}", f"'{text}")
    starts = {cell[:1] for cell in (*turn.values(), *annotation.values())}
    assert starts.isdisjoint({"=", "@", "\t", "\r", "＝"})
    # A number stays a number.
    assert turn["occurrences"] == "1"


def test_numbers_that_postgresql_writes_out_are_exported(project: Project, client: Client) -> None:
    log(project, signals={"big": 1e300, "small": 1e-300, "whole": 2**63})
    [line] = lines(client.get("/v1/export/turns.jsonl"))
    assert line["signals"] == {"big": 10**300, "small": 1e-300, "whole": 2**63}
    assert json.loads(cells(client.get("/v1/export/turns.csv"))[0]["signals"])["big"] == 10**300


def test_expired_turns_and_retracted_annotations_are_left_out(project: Project, client: Client) -> None:
    kept, gone = log(project, "kept"), log(project, "gone")
    Turn.objects.filter(id=gone.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    made = annotate(client, question="judged")
    client.post(f"/v1/acts/{made['act_id']}/undo", {}, content_type="application/json")
    for form, read in {"jsonl": lines, "csv": cells, "parquet": lambda r: table(r).to_pylist()}.items():
        assert [row["turn_id"] for row in read(client.get(f"/v1/export/turns.{form}"))] == [kept.shown_id]
        assert not read(client.get(f"/v1/export/annotations.{form}"))


def test_a_turn_logged_a_thousand_times_holds_its_first_occurrences(project: Project, client: Client) -> None:
    turn = log(project)
    Occurrence.objects.bulk_create(
        Occurrence(project=project, turn_id=turn.id, trace_id=str(i)) for i in range(export.MAX_OCCURRENCES + 5)
    )
    Turn.objects.filter(id=turn.id).update(occurrences=export.MAX_OCCURRENCES + 6)
    [line] = lines(client.get("/v1/export/turns.jsonl"))
    assert [one["trace_id"] for one in line["merged_occurrences"]] == [str(i) for i in range(export.MAX_OCCURRENCES)]
    assert line["occurrences"] == export.MAX_OCCURRENCES + 6


# --- filters, rights, headers ---------------------------------------------------------------------------------


def test_the_filters_of_the_list_apply(project: Project, client: Client) -> None:
    log(project, "one", goal="book", signals={"confidence": 0.2}, tags=["x", "y"])
    log(project, "two", goal="book", signals={"confidence": 0.9})
    log(project, "three", goal="pay")
    for query in ("goal=book&signal=confidence<0.5", "tag=x&tag=y", "status=pending&goal=pay", "user_id=nobody"):
        listed = client.get(f"/v1/turns?sort=oldest&{query}").json()["turns"]
        found = lines(client.get(f"/v1/export/turns.jsonl?{query}"))
        assert [turn["question"] for turn in found] == [turn["question"] for turn in listed]


def test_annotations_are_filtered(client: Client) -> None:
    annotate(client, question="one", rating="correct")
    annotate(client, question="two", rating="partial")
    assert [one["question"] for one in lines(client.get("/v1/export/annotations.jsonl?rating=partial"))] == ["two"]
    assert lines(client.get("/v1/export/annotations.jsonl?source=end_user")) == []
    assert lines(client.get("/v1/export/annotations.jsonl?created_after=2999-01-01T00:00:00Z")) == []


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("turns.csv?colour=red", "colour"),
        ("turns.csv?status=lost", "status"),
        ("turns.csv?limit=5", "limit"),
        ("annotations.csv?rating=good", "rating"),
        ("annotations.csv?turn_id=7", "turn_id"),
        ("annotations.csv?created_after=soon", "created_after"),
        ("annotations.csv?colour=red", "colour"),
    ],
)
def test_a_bad_filter_is_named(client: Client, path: str, field: str) -> None:
    response = client.get(f"/v1/export/{path}")
    assert (response.status_code, list(response.json()["fields"])) == (422, [field])


@pytest.mark.parametrize("what", ["turns", "annotations"])
def test_who_may_not(project: Project, what: str) -> None:
    path = f"/v1/export/{what}.csv"
    assert Client().get(path).status_code == 401
    assert client_of(project, "ingest", "review").get(path).status_code == 403
    assert client_of(project, "read").get(path).status_code == 200
    assert client_of(project).post(path).status_code == 405
    assert client_of(project).get(f"/v1/export/{what}.xlsx").json()["code"] == "unknown_form"


def test_a_stranger_gets_none_of_it(project: Project) -> None:
    log(project)
    stranger = client_of(create_project(name="Other", actor=SYSTEM))
    annotate(client_of(project))
    assert lines(stranger.get("/v1/export/turns.jsonl")) == []
    assert lines(stranger.get("/v1/export/annotations.jsonl")) == []
    assert stranger.get("/p/shop/v1/export/turns.jsonl").status_code == 404


def test_the_headers_name_a_file(client: Client, project: Project) -> None:
    log(project)
    types = {}
    for form in FORMS:
        answer = client.get(f"/p/shop/v1/export/turns.{form}", headers={"Accept": "text/html"})
        assert body(answer)
        types[form] = answer.headers["Content-Type"]
    assert types == {
        "jsonl": "application/x-ndjson",
        "csv": "text/csv; charset=utf-8",
        "parquet": "application/vnd.apache.parquet",
    }
    headers = client.get("/v1/export/turns.csv").headers
    assert headers["Content-Disposition"].startswith('attachment; filename="shop-turns-')
    assert "Content-Length" not in headers


# --- streaming ------------------------------------------------------------------------------------------------


def fill(project: Project, count: int) -> None:
    """Many turns, made by the database itself."""
    log(project)
    own = {
        "id": "overlay(overlay(gen_random_uuid()::text placing '00000000-0000' from 1) placing '7' from 15)::uuid",
        "content_hash": "gen_random_uuid()",
        "question": "'Question ' || n",
        "response": "repeat('word ', 200)",
    }
    names = [field.column for field in Turn._meta.fields]
    run(
        f"""
        INSERT INTO review_turn ({", ".join(names)}) SELECT {", ".join(own.get(name, "turn." + name) for name in names)}
        FROM review_turn AS turn, generate_series(1, %s) AS n WHERE turn.project_id = %s
        """,
        [count - 1, project.id],
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_first_part_leaves_before_the_last_is_read(client: Client, project: Project, form: str) -> None:
    fill(project, 3000)
    response = client.get(f"/v1/export/turns.{form}")
    chunks = iter(response.streaming_content)
    with CaptureQueriesContext(connection) as queries:
        next(chunks)
    assert len(queries) <= 3
    with CaptureQueriesContext(connection) as later:
        assert sum(map(len, chunks)) > 0
    assert len(later) >= 2


def test_a_reader_that_goes_away_ends_the_work(client: Client, project: Project) -> None:
    fill(project, 1000)
    response = client.get("/v1/export/turns.jsonl")
    next(iter(response.streaming_content))
    with CaptureQueriesContext(connection) as queries:
        response.close()
    assert len(queries) == 0


def test_only_so_many_are_made_at_once(client: Client, project: Project) -> None:
    log(project)
    path = "/v1/export/turns.jsonl"
    under_way = [client.get(path) for _ in range(export_api.exports_at_once())]
    # Also one of which a part has left already.
    assert next(iter(under_way[0])).startswith(b"{")
    refused = client.get(path)
    assert (refused.status_code, refused.json()["code"], refused["Retry-After"]) == (503, "exports_busy", "5")
    assert client.get("/v1/export/annotations.csv").status_code == 503
    assert client.get("/v1/turns").status_code == 200
    under_way.pop()
    gc.collect()
    assert len(lines(client.get(path))) == 1
    # One that was read to its end, though its answer is still here, leaves its place as well.
    done = client.get(path)
    assert len(lines(done)) == 1
    under_way.append(client.get(path))
    assert client.get(path).status_code == 503


def test_turns_that_come_in_meanwhile_do_not_keep_it_from_ending(client: Client, project: Project) -> None:
    fill(project, 300)
    count = 0
    for batch in export.turn_rows(project, filters.TurnFilter()):
        count += len(batch)
        log(project, f"another {new_id()}")
    assert count == 300


def test_long_texts_make_small_batches(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH_BYTES", 20_000)
    fill(project, 300)
    sizes = [len(batch) for batch in export.turn_rows(project, filters.TurnFilter())]
    assert sum(sizes) == 300
    assert sizes[0] == export.FIRST_BATCH
    assert max(sizes[1:]) < 25


@pytest.mark.slow
def test_memory_does_not_grow_with_the_export(project: Project) -> None:
    fill(project, 50_000)
    process = psutil.Process()
    for form, most in {"jsonl": None, "csv": 10, "parquet": 10}.items():
        rows = export.turn_rows(project, filters.TurnFilter(), with_history=form == "jsonl")
        chunks = export.FORMS[form][1](rows, export.TURN_FIELDS)
        # The first batches bring what stays anyway: code, prepared statements, the allocator's own pages.
        size = sum(len(chunk) for chunk in islice(chunks, 5))
        before = highest = process.memory_info().rss
        for chunk in islice(chunks, most):
            size += len(chunk)
            highest = max(highest, process.memory_info().rss)
        assert highest - before < 30_000_000
        assert size > 200_000


def test_times_are_utc_to_the_microsecond(project: Project, client: Client) -> None:
    turn = log(project)
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    Turn.objects.filter(id=turn.id).update(occurred_at=at)
    [line], [row] = lines(client.get("/v1/export/turns.jsonl")), cells(client.get("/v1/export/turns.csv"))
    [typed] = table(client.get("/v1/export/turns.parquet")).to_pylist()
    assert line["occurred_at"] == row["occurred_at"] == "2026-01-02T03:04:05.678901Z"
    assert typed["occurred_at"] == at
