"""Notifications are committed with what they tell of, signed, retried, and kept off private addresses."""

import hashlib
import hmac
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from agentloop.models import Project
from routing import outbox
from routing.models import OutboxMessage

HOOKS = "/api/v1/routing/webhooks"
SECRET = "a secret of some length"


class Receiver(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.status = 200
        self.got: list[tuple[str, bytes]] = []


class Answering(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers["X-AgentLoop-Signature"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hook(api: Any, receiver: Receiver, settings: Any) -> str:
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    url = f"http://127.0.0.1:{receiver.server_port}/in"
    return str(api.post(HOOKS, {"url": url, "secret": SECRET, "events": ["rollback"]})["webhook_id"])


def test_a_delivery_is_signed_and_sent_once(project: Project, hook: str, receiver: Receiver) -> None:
    assert outbox.tell(project, "rollback", {"goal": "g"}) == 1
    assert outbox.tell(project, "drift", {"goal": "g"}) == 0
    assert outbox.deliver_due() == 1
    assert outbox.deliver_due() == 0
    [(signature, body)] = receiver.got
    at, given = (part.partition("=")[2] for part in signature.split(","))
    assert given == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert OutboxMessage.objects.get().delivered_at is not None


def test_what_is_taken_back_is_not_told(project: Project, hook: str) -> None:
    with transaction.atomic():
        outbox.tell(project, "rollback", {})
        transaction.set_rollback(True)
    assert not OutboxMessage.objects.exists()


def test_a_refused_delivery_waits_longer_each_time_and_is_parked_after_a_day(
    api: Any, project: Project, hook: str, receiver: Receiver
) -> None:
    receiver.status = 500
    outbox.tell(project, "rollback", {})
    waits = []
    for _ in range(3):
        OutboxMessage.objects.update(next_try_at=timezone.now())
        outbox.deliver_due()
        message = OutboxMessage.objects.get()
        waits.append((message.next_try_at - timezone.now()).total_seconds())
    assert waits[0] < waits[1] < waits[2]
    assert message.last_error == "answered 500"
    assert api.get(HOOKS)["webhooks"][0]["waiting"] == 1
    OutboxMessage.objects.update(next_try_at=timezone.now(), created_at=timezone.now() - timedelta(days=2))
    outbox.deliver_due()
    assert api.get(HOOKS)["webhooks"][0]["parked"] == 1
    assert outbox.deliver_due() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.8", "localhost", "[::1]", "169.254.169.254", "192.168.1.1"])
def test_private_addresses_are_refused(host: str) -> None:
    assert "AGENTLOOP_WEBHOOK_HOSTS" in outbox.refused_address(f"http://{host}/x")


def test_a_webhook_takes_known_events_and_web_addresses(api: Any) -> None:
    assert api.send("POST", HOOKS, {"url": "ftp://x/y", "secret": SECRET}).status_code == 422
    assert api.send("POST", HOOKS, {"url": "https://x.test", "secret": SECRET, "events": ["no"]}).status_code == 422
    assert api.send("POST", HOOKS, {"url": "https://x.test", "secret": "short"}).status_code == 422


def test_a_webhook_is_its_projects_alone(api: Any, stranger: Any, hook: str) -> None:
    assert stranger.send("DELETE", f"{HOOKS}/{hook}").status_code == 404
    assert SECRET not in str(api.get(HOOKS))
    assert api.delete(f"{HOOKS}/{hook}") == {"status": "removed"}
    assert api.send("DELETE", f"{HOOKS}/{hook}").status_code == 404
