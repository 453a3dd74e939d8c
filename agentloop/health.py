"""Whether this process lives, and whether it reaches what it needs."""

import logging

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from kombu import Connection
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.retry import Retry

from agentloop.embedded import redis_url

log = logging.getLogger("agentloop.health")
BROKER_SECONDS = 1.0
SENTENCES = {
    "database": "The database cannot be reached: nothing is served until it is back.",
    "broker": (
        "The broker cannot be reached. Turns are logged and reviewed as ever; expiry, retention and whatever else "
        "the worker does wait until it is back."
    ),
}


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """503 while the database or the broker is away. `?ignore=broker` is for a load balancer: intake works without."""
    found = {"database": _database(), "broker": _broker()}
    missing = [name for name, is_there in found.items() if not is_there]
    parts = {name: "ok" if is_there else "unreachable" for name, is_there in found.items()}
    if not missing:
        return JsonResponse({"status": "ok", **parts})
    state = "unavailable" if "database" in missing else "degraded"
    body = {
        "status": state,
        **parts,
        "error": " ".join(SENTENCES[name] for name in missing),
        "code": f"{missing[0]}_away",
        "fields": {},
    }
    is_enough = missing == ["broker"] and request.GET.get("ignore") == "broker"
    response = JsonResponse(body, status=200 if is_enough else 503)
    response["Retry-After"] = "5"
    return response


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        log.warning("database_away kind=%s", type(error.__cause__ or error).__name__)
        return False
    return True


def _broker() -> bool:
    url = redis_url(settings.BROKER_URL)
    try:
        if url.startswith(("redis://", "rediss://", "unix://")):
            once = Retry(NoBackoff(), 0)
            limits = {"socket_timeout": BROKER_SECONDS, "socket_connect_timeout": BROKER_SECONDS}
            with redis.from_url(url, retry=once, **limits) as client:
                client.ping()
        else:
            with Connection(url, connect_timeout=BROKER_SECONDS) as opened:
                opened.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
    except (redis.RedisError, KombuError, OSError) as error:
        log.warning("broker_away kind=%s", type(error).__name__)
        return False
    return True
