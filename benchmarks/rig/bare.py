"""What the site is measured against: a Django site without middleware whose views do the one statement by hand."""

import json
import os
import uuid

import django
from django.conf import settings

if not settings.configured:
    from psycopg.conninfo import conninfo_to_dict

    url = conninfo_to_dict(os.environ["DATABASE_URL"])
    settings.configure(
        SECRET_KEY="bare",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="benchmarks.rig.bare",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": url["dbname"],
                "USER": url.get("user", ""),
                "PASSWORD": url.get("password", ""),
                "HOST": url.get("host", ""),
                "PORT": str(url.get("port", "")),
                "CONN_MAX_AGE": None,
            }
        },
    )
    django.setup()

from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.html import escape

PROJECT = os.environ.get("BARE_PROJECT", "")
COLUMNS = (
    "id, project_id, status, question, response, content_hash, truncated, signals, metadata, tags, user_id, session_id,"
    " trace_id, goal, model, path_id, pipeline_id, occurrences, reasons, priority, rank, logged_at, occurred_at,"
    " last_seen_at, expires_at, claimed_by, draw, escalated_by, escalation_note, dismissed_reason"
)
REST = "'{}', 0, 0, now(), now(), now(), now() + interval '30 days', '', '', '', '', ''"


def answered(value: object, status: int = 200) -> JsonResponse:
    response = JsonResponse(value, status=status)
    response["Content-Length"] = len(response.content)
    return response


def one(request: HttpRequest) -> JsonResponse:
    """One raw INSERT into the same table, with the same indexes."""
    turn = json.loads(request.body)
    identity = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO review_turn ({COLUMNS}) VALUES (%s, %s, 'pending', %s, %s, %s, '{{}}', %s, %s, '{{}}', %s, %s,
            '', %s, %s, '', '', 1, {REST})""",
            [
                identity,
                PROJECT,
                turn["question"],
                turn["agent_response"],
                identity,
                json.dumps(turn["signals"]),
                json.dumps(turn["metadata"]),
                turn["user_id"],
                turn["session_id"],
                turn["metadata"]["goal"],
                turn["metadata"]["model"],
            ],
        )
    return answered({"turn_id": identity.hex}, status=201)


def batch(request: HttpRequest) -> JsonResponse:
    """The same rows in one statement, straight from the request's JSON."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO review_turn ({COLUMNS})
            SELECT t.id, %s, 'pending', t.question, t.agent_response, t.id, '{{}}', t.signals, t.metadata, '{{}}', t.user_id,
            t.session_id, '', t.metadata->>'goal', t.metadata->>'model', '', '', 1, {REST}
            FROM (SELECT gen_random_uuid() AS id, * FROM jsonb_to_recordset(%s::jsonb -> 'turns') AS given(
                question text, agent_response text, signals jsonb, metadata jsonb, user_id text, session_id text)) AS t""",
            [PROJECT, request.body.decode()],
        )
        count = cursor.rowcount
    return answered({"count": count})


def decide(request: HttpRequest) -> JsonResponse:
    """One SELECT of a goal's paths with their states, and one INSERT of the first as the decision."""
    goal = json.loads(request.body)["goal"]
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT path.id, path.goal_id, path.model, path.params, state.own, state.samples FROM routing_goal AS goal
            JOIN routing_path AS path ON path.project_id = goal.project_id AND path.goal_id = goal.id
            LEFT JOIN routing_pathstate AS state ON state.project_id = goal.project_id AND state.path_id = path.id
                AND state.pipeline_id = ''
            WHERE goal.project_id = %s AND goal.name = %s""",
            [PROJECT, goal],
        )
        first = cursor.fetchall()[0]
        trace = uuid.uuid4()
        cursor.execute(
            """INSERT INTO routing_decision (id, project_id, goal_id, trace_id, path_id, pipeline_id, risk, mode,
                exploration, reason, is_reported, decided_at)
            VALUES (%s, %s, %s, %s, %s, '', 'medium', 'apply', false, 'bare', false, now())""",
            [trace, PROJECT, first[1], trace.hex, first[0]],
        )
    return answered({"trace_id": trace.hex, "path_id": first[0].hex, "model_id": first[2]})


PAGE = "<!doctype html><style>" + "p{margin:0}" * 800 + "</style><title>Was this right?</title><p>{}</p><p>{}</p>"


def opened(request: HttpRequest, turn: str) -> HttpResponse:
    """One SELECT of a turn, put into a page of the widget's size."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT question, response FROM review_turn WHERE project_id = %s AND id = %s", [PROJECT, turn])
        question, response = cursor.fetchone()
    page = PAGE.replace("{}", escape(question), 1).replace("{}", escape(response), 1)
    answer = HttpResponse(page)
    answer["Content-Length"] = len(answer.content)
    return answer


def submitted(request: HttpRequest, turn: str) -> JsonResponse:
    """One raw INSERT of what the form says into the annotations."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO review_annotation (id, project_id, turn_id, question, response, source, author, author_label,
                rating, correction, root_cause, failure_category, tags, comment, scores, metadata, user_id, goal, model,
                path_id, pipeline_id, trace_id, draw, version, created_at, updated_at)
            VALUES (gen_random_uuid(), %s, %s, 'q', 'a', 'end_user', 'link', '', %s, %s, '', '', '{}', '', '{}', '{}', '', '', '',
                '', '', '', '', 1, now(), now())""",
            [PROJECT, turn, request.POST["rating"], request.POST["correction"]],
        )
    return answered({"ok": True})


def empty(request: HttpRequest) -> JsonResponse:
    return answered({"ok": True})


urlpatterns = [
    path("v1/turns", one),
    path("v1/turns/batch", batch),
    path("empty", empty),
    path("decide", decide),
    path("opened/<uuid:turn>", opened),
    path("submitted/<uuid:turn>", submitted),
]
application = get_wsgi_application()
