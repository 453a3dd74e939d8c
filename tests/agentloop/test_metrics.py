"""/metrics: what is counted, and who may read it."""

import re

import pytest
from django.db import DatabaseError
from django.test import Client
from pytest_django import Settings

from agentloop import metrics
from tests.review.support import Caller

pytestmark = pytest.mark.django_db


def counted(route: str, status: int) -> float:
    text = Client().get("/metrics").text
    found = re.search(rf'agentloop_requests_total{{method="GET",route="{route}",status="{status}"}} (\S+)', text)
    return float(found[1]) if found else 0


def test_counts_requests_by_route_and_status(admin: Caller) -> None:
    before = counted("project", 200)
    admin("GET", "/v1/project")
    admin("GET", "/p/acme/v1/project")
    assert counted("project", 200) == before + 2


def test_no_id_and_no_project_becomes_a_label(admin: Caller) -> None:
    admin("DELETE", "/v1/keys/key_0")
    admin("GET", "/p/acme/v1/nothing-like-this")
    text = Client().get("/metrics").text
    assert 'route="key"' in text
    assert "acme" not in text
    assert "nothing-like-this" not in text


def test_times_requests() -> None:
    Client().get("/healthz")
    assert 'agentloop_request_seconds_bucket{le="0.05",method="GET",route="healthz"}' in Client().get("/metrics").text


def test_an_odd_method_is_one_label() -> None:
    Client().generic("BREW", "/healthz")
    text = Client().get("/metrics").text
    assert 'method="OTHER"' in text
    assert "BREW" not in text


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    known: list[object] = []
    monkeypatch.setattr(metrics, "_gauges", known)
    return known


def test_other_apps_add_figures(gauges: list[object]) -> None:
    def waiting() -> list[metrics.Metric]:
        return [metrics.gauge("waiting", "Turns that wait.", 7)]

    metrics.add_gauges(waiting)
    assert "agentloop_waiting 7.0" in Client().get("/metrics").text


def test_a_figure_that_cannot_be_read_hides_no_other(gauges: list[object]) -> None:
    def broken() -> list[metrics.Metric]:
        raise DatabaseError

    metrics.add_gauges(broken)
    assert "agentloop_requests_total" in Client().get("/metrics").text


def test_a_peer_elsewhere_finds_nothing() -> None:
    answer = Client(REMOTE_ADDR="203.0.113.7").get("/metrics")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("address", ["", "not an address", "10.0.0.1", "::2"])
def test_only_loopback_counts_as_here(address: str) -> None:
    assert Client(REMOTE_ADDR=address).get("/metrics").status_code == 404


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_request_that_a_proxy_passed_on_is_not_from_here(header: str) -> None:
    assert Client().get("/metrics", headers={header: "203.0.113.7"}).status_code == 404


def test_behind_trusted_proxies_the_token_is_needed(settings: Settings) -> None:
    settings.TRUSTED_PROXIES, settings.METRICS_TOKEN = 1, "a-token"
    assert Client().get("/metrics").status_code == 404
    assert Client().get("/metrics", headers={"Authorization": "Bearer a-token"}).status_code == 200


def test_the_token_opens_from_anywhere_and_a_wrong_one_from_nowhere(settings: Settings) -> None:
    settings.METRICS_TOKEN = "a-token"
    far = Client(REMOTE_ADDR="203.0.113.7")
    statuses = [
        far.get("/metrics", headers={"Authorization": value}).status_code
        for value in ("Bearer a-token", "Bearer b-token", "Bearer ", "Basic a-token", "Bearer \xff")
    ]
    assert statuses == [200, 404, 404, 404, 404]


def test_without_a_token_an_empty_one_opens_nothing() -> None:
    far = Client(REMOTE_ADDR="203.0.113.7")
    assert far.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_the_wrong_method() -> None:
    assert Client().post("/metrics").status_code == 405
