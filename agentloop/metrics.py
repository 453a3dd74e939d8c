"""What Prometheus reads: requests by route and status, and figures that other apps add.

Every process writes its own files below AGENTLOOP_HOME; whichever answers /metrics adds them up.
"""

import hmac
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from ipaddress import ip_address

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

# The library looks at this once, when it is imported, to choose how it keeps its values: others import it from here.
FOLDER = settings.HOME / "metrics"
try:
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(FOLDER)
    IS_SHARED = True
except OSError:
    # A home that cannot be written: `up` refuses to start there; whatever else runs counts in its own memory.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    IS_SHARED = False

from prometheus_client import (  # noqa: E402
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

from agentloop.errors import NotFound  # noqa: E402

log = logging.getLogger("agentloop.metrics")

# Fine where the promises are made (tens of milliseconds), coarse beyond.
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

requests = Counter("agentloop_requests", "Requests answered.", ["route", "method", "status"])
seconds = Histogram("agentloop_request_seconds", "Time to answer.", ["route", "method"], buckets=BUCKETS)
_count_of = cache(requests.labels)
_time_of = cache(seconds.labels)

Gauges = Callable[[], Iterable[Metric]]
_gauges: list[Gauges] = []


def gauge(name: str, text: str, value: float) -> Metric:
    """A figure as it is now; `text` tells an operator what it is."""
    return GaugeMetricFamily(f"agentloop_{name}", text, value=value)


def add_gauges(read: Gauges) -> Gauges:
    """Registers a function that reads figures when they are asked for, such as how many turns wait."""
    _gauges.append(read)
    return read


def count_request(request: HttpRequest, status: int, took: float) -> None:
    """Routes are counted by name, so that no id and no project becomes a label."""
    match = request.resolver_match
    route = (match.view_name or match.route) if match else "none"
    method = request.method if request.method in METHODS else "OTHER"
    _count_of(route, method, str(status)).inc()
    _time_of(route, method).observe(took)


class _Gauges:
    def collect(self) -> Iterator[Metric]:
        for read in _gauges:
            try:
                yield from read()
            except DatabaseError:
                # The other figures matter most when the database is away.
                log.warning("gauges_unreadable name=%s", read.__name__)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Nothing at all for a stranger: the figures tell how much a project is used."""
    if not _may_read(request):
        raise NotFound
    registry = CollectorRegistry()
    if IS_SHARED:
        MultiProcessCollector(registry, path=str(FOLDER))
    else:
        registry.register(requests)
        registry.register(seconds)
    registry.register(_Gauges())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    """The token; or a peer on this machine, unless a proxy stands here, behind which every caller looks like one."""
    kind, _, given = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    token = settings.METRICS_TOKEN
    if token and kind.lower() == "bearer":
        return hmac.compare_digest(given.strip().encode(), token.encode())
    proxied = settings.TRUSTED_PROXIES or "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_FORWARDED" in request.META
    return not proxied and _is_loopback(request.META.get("REMOTE_ADDR", ""))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def forget_last_run() -> None:
    """Removes the files of processes that are gone. Only for whoever starts them all: counters begin at 0 again."""
    for path in FOLDER.glob("*.db"):
        path.unlink(missing_ok=True)
