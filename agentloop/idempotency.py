"""Requests that name an idempotency key are done once: a repeat within a day gets the first answer."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest

from agentloop.models import Project
from agentloop.parsing import clean_text

KEEP_HOURS = 24
MAX_KEY = 200


def key_of(text: str) -> str:
    """A client's key as it is kept: a long one by its digest, as two that differ only at their ends are two."""
    key = clean_text(text)
    return key if len(key) <= MAX_KEY else f"sha256:{sha256(key.encode()).hexdigest()}"


def header_key(request: HttpRequest) -> str:
    return key_of(request.META.get("HTTP_IDEMPOTENCY_KEY", "").strip())


def once(project: Project, key: str, write: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """(answer, whether it was done now). One transaction: what is written and its key are kept together or not at all.

    A repeat that arrives while the first is under way waits for it. A refused request keeps no key.
    """
    if not key:
        return write(), True
    with transaction.atomic():
        earlier = _take(project, key)
        if earlier is not None:
            return earlier, False
        answer = write()
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE agentloop_idempotencykey SET answer = %s WHERE project_id = %s AND key = %s",
                [json.dumps(answer, default=str), project.id, key],
            )
        return answer, True


def _take(project: Project, key: str) -> dict[str, Any] | None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO agentloop_idempotencykey (project_id, key, created_at) VALUES (%s, %s, now())
            ON CONFLICT (project_id, key) DO UPDATE SET created_at = now(), answer = NULL
            WHERE agentloop_idempotencykey.created_at < now() - %s * interval '1 hour'
            RETURNING id
            """,
            [project.id, key, KEEP_HOURS],
        )
        if cursor.fetchone():
            return None
        cursor.execute(
            "SELECT answer FROM agentloop_idempotencykey WHERE project_id = %s AND key = %s", [project.id, key]
        )
        [answer] = cursor.fetchone()
    return json.loads(answer) if isinstance(answer, str) else answer
