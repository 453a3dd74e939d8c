"""What the benchmarks stand on: a site of their own in a temporary folder, with PostgreSQL as durable as in use."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Figures:
    """What a load measured: requests a second and the distribution of their times, in milliseconds."""

    per_second: float
    p50: float
    p99: float
    statuses: dict[str, int]


@contextmanager
def home() -> Iterator[None]:
    """PostgreSQL and Valkey of our own, migrated. Must be entered before anything of Django's is imported."""
    with tempfile.TemporaryDirectory(prefix="agentloop-bench-") as folder:
        os.environ["AGENTLOOP_HOME"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "agentloop.settings"
        os.environ["AGENTLOOP_LOG_LEVEL"] = "ERROR"
        sys.path.insert(0, str(ROOT))
        from agentloop import embedded

        with embedded.running(Path(folder), fsync=True):
            os.environ["DATABASE_URL"] = embedded.database_url(Path(folder))
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            call_command("collectstatic", interactive=False, verbosity=0)
            yield
            from django.db import connections

            connections.close_all()


def new_project(name: str, **settings: Any) -> tuple[Any, str]:
    """A project without a rate limit that a benchmark would meet, and a key for it."""
    from agentloop.actors import SYSTEM
    from agentloop.keys import create_key
    from agentloop.models import Scope
    from agentloop.tenancy import change_settings, create_project

    project = create_project(name=name, actor=SYSTEM)
    project = change_settings(
        project=project, actor=SYSTEM, changes={"rate_per_second": 100_000, "rate_burst": 1_000_000, **settings}
    )
    return project, create_key(project=project, actor=SYSTEM, name="bench", scopes=Scope.values)[1]


@contextmanager
def web(port: int, application: str = "agentloop.wsgi:application", **environment: str) -> Iterator[int]:
    """The web server as `manage.py up` starts it, with another application where one is named."""
    from agentloop.supervisor import arguments

    command = [*arguments("web", "127.0.0.1", port)[:-1], application]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, start_new_session=True)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def worker() -> Iterator[None]:
    """The worker and beat, as `manage.py up` starts them."""
    from agentloop.supervisor import arguments

    started = [
        subprocess.Popen(arguments(role, "127.0.0.1", 0), cwd=ROOT, env=os.environ.copy(), start_new_session=True)
        for role in ("worker", "beat")
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nothing answers on port {port}")


def load(
    port: int,
    requests: Sequence[tuple[str, str]],
    *,
    method: str = "POST",
    key: str = "",
    scheme: str = "Bearer",
    connections: int = 32,
    seconds: float = 8,
    content_type: str = "application/json",
    from_afar: bool = False,
) -> Figures:
    """Sends the requests, each once, from a process of its own, until they or the time run out.

    `from_afar` lets each come from an address of its own, as a trusted proxy would tell it.
    """
    headers = {"Content-Type": content_type, **({"Authorization": f"{scheme} {key}"} if key else {})}
    job = {
        "port": port,
        "method": method,
        "headers": headers,
        "requests": list(requests),
        "connections": connections,
        "seconds": seconds,
        "from_afar": from_afar,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rig.load"],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
    )
    found = json.loads(done.stdout)
    return figures(found["times"], found["elapsed"], found["statuses"])


def figures(times: Sequence[float], elapsed: float, statuses: dict[str, int] | None = None) -> Figures:
    ordered = sorted(times)
    return Figures(
        per_second=len(ordered) / elapsed,
        p50=1000 * ordered[len(ordered) // 2],
        p99=1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        statuses=statuses or {},
    )


def median_of(runs: Sequence[Figures]) -> Figures:
    return Figures(
        statistics.median(run.per_second for run in runs),
        statistics.median(run.p50 for run in runs),
        statistics.median(run.p99 for run in runs),
        runs[-1].statuses,
    )


def turn(number: int) -> dict[str, Any]:
    """A turn like those that agents log: a question, an answer of a few sentences, some signals."""
    return {
        "question": f"What is the limit for transfers at night, case {number}?",
        "agent_response": f"The limit is R$ 1,000 between 8 pm and 6 am for case {number}. "
        + "You can change it in the app. " * 8,
        "user_id": f"user_{number % 1000}",
        "session_id": f"session_{number % 5000}",
        "signals": {"thumbs_down": number % 3 == 0, "confidence": (number % 100) / 100, "gap_hours": 1.5},
        "metadata": {"goal": f"goal_{number % 20}", "model": "gpt-4o", "channel": "app"},
    }


# As many turns as a benchmark wants, made by the server itself: logging a million would take an hour.
FILL_SQL = """
INSERT INTO review_turn (id, project_id, status, question, response, content_hash, truncated, signals, metadata, tags,
    user_id, session_id, trace_id, goal, model, path_id, pipeline_id, occurrences, reasons, priority, rank, logged_at,
    occurred_at, last_seen_at, expires_at, claimed_by, draw, escalated_by, escalation_note, dismissed_reason)
SELECT gen_random_uuid(), %(project)s, 'pending', 'What is the limit for transfers at night, case ' || n || '?',
    'The limit is R$ 1,000 between 8 pm and 6 am for case ' || n || '. ' || repeat('You can change it in the app. ', 8),
    gen_random_uuid(), '{}', jsonb_build_object('thumbs_down', n %% 3 = 0, 'confidence', (n %% 100) / 100.0), '{}',
    '{}', 'user_' || n %% 1000, 'session_' || n %% 5000, '', 'goal_' || n %% 20, 'gpt-4o', '', '', 1,
    '{"thumbs_down": 5.0}', n %% 10, n %% 10 + random() - 20000, at, at, at, %(expires)s, '', '', '', '', ''
FROM generate_series(1, %(count)s) AS n, LATERAL (SELECT now() - n * interval '1 second' / 10 AS at) AS time
"""
INDEX_SQL = """
WITH filled AS (
    INSERT INTO review_turnindex (turn_id, project_id, facets, document)
    SELECT id, project_id, ARRAY['pending', 'goal:' || goal, 'model:' || model, 'signal:confidence'],
        array_to_tsvector(ARRAY['limit', 'transfers', 'night'])
    FROM review_turn WHERE project_id = %(project)s RETURNING facets
)
INSERT INTO review_turncounter (project_id, facet, count)
SELECT %(project)s, facet, count(*) FROM filled, unnest(facets) AS facet GROUP BY facet
"""


def fill(project: Any, count: int, *, expired: bool = False) -> None:
    """Puts `count` pending turns into a project, indexed and counted as the worker would have."""
    from datetime import timedelta

    from django.db import connection
    from django.utils import timezone

    expires = timezone.now() + timedelta(days=-1 if expired else 30)
    with connection.cursor() as cursor:
        cursor.execute(FILL_SQL, {"project": project.id, "count": count, "expires": expires})
        cursor.execute(INDEX_SQL, {"project": project.id})
        cursor.execute("VACUUM ANALYZE review_turn")
        cursor.execute("VACUUM ANALYZE review_turnindex")
