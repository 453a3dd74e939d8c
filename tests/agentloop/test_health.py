"""/healthz and /readyz."""

from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.test import Client, override_settings

pytestmark = pytest.mark.django_db


def test_the_process_answers_without_asking_anything() -> None:
    with patch.object(connection, "cursor", side_effect=OperationalError):
        answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_when_both_are_reached() -> None:
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": "ok", "broker": "ok"})


def test_without_the_database_it_is_not_ready() -> None:
    with patch.object(connection, "cursor", side_effect=OperationalError):
        answer = Client().get("/readyz")
    found = {name: answer.json()[name] for name in ("status", "database", "broker", "code")}
    assert (answer.status_code, found, answer["Retry-After"]) == (
        503,
        {"status": "unavailable", "database": "unreachable", "broker": "ok", "code": "database_away"},
        "5",
    )


@pytest.mark.parametrize("broker", ["unix:///nowhere/nobody.sock", "amqp://guest:guest@127.0.0.1:1//"])
def test_without_the_broker_it_is_degraded_and_says_what_still_works(broker: str) -> None:
    with override_settings(BROKER_URL=broker):
        answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["status"], answer.json()["broker"]) == (503, "degraded", "unreachable")
    assert "Turns are logged and reviewed as ever" in answer.json()["error"]


def test_a_load_balancer_may_ignore_the_broker() -> None:
    with override_settings(BROKER_URL="unix:///nowhere/nobody.sock"):
        answer = Client().get("/readyz?ignore=broker")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


@pytest.mark.parametrize("given", ["/healthz", "/readyz"])
def test_the_wrong_method(given: str) -> None:
    assert Client().post(given).status_code == 405
