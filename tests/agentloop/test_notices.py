"""Notifications are committed with what they tell of; webhooks are signed, retried, kept off private addresses."""

import hashlib
import hmac
import json
import smtplib
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from django.test import Client
from django.utils import timezone

from agentloop import delivery, outbox
from agentloop.models import MemberNotices, OutboxMessage, Project, Webhook
from agentloop.tenancy import remove_member
from agentloop.upkeep import end_old_rows
from tests.review.support import Caller

HOOKS = "/v1/webhooks"
SECRET = "a secret of some length"
NEWS = {"message": "book: gpt-4o is rolled back.", "goal": "book"}


class Receiver(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []


class Answering(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
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
def hook(admin: Caller, project: Project, receiver: Receiver, settings: Any) -> str:
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    url = f"http://127.0.0.1:{receiver.server_port}/in?x=1"
    made = admin("POST", HOOKS, {"url": url, "secret": SECRET, "events": ["rollback"]})
    assert made.status == 201
    project.refresh_from_db()
    return str(made.body["webhook_id"])


def due_now(**more: Any) -> None:
    OutboxMessage.objects.update(next_try_at=timezone.now(), **more)


# --- webhooks -------------------------------------------------------------------------------------------------


def test_a_delivery_is_signed_and_sent_once(project: Project, hook: str, receiver: Receiver) -> None:
    assert outbox.tell(project, "rollback", [NEWS]) == 1
    assert outbox.tell(project, "drift", [NEWS]) == 0
    assert [delivery.deliver_due(), delivery.deliver_due()] == [1, 0]
    [(headers, body)] = receiver.got
    at, given = (part.partition("=")[2] for part in headers["X-AgentLoop-Signature"].split(","))
    assert given == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-AgentLoop-Event"] == "rollback"
    told = json.loads(body)
    assert (told["event"], told["project"], told["data"]) == ("rollback", "acme", NEWS)


def test_what_nobody_takes_costs_no_query(project: Project, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert outbox.tell(project, "turn.created", [NEWS]) == 0


def test_what_is_taken_back_is_not_told(project: Project, hook: str) -> None:
    with transaction.atomic():
        outbox.tell(project, "rollback", [NEWS])
        transaction.set_rollback(True)
    assert not OutboxMessage.objects.exists()


def test_a_refused_delivery_waits_longer_each_time_and_is_parked_after_a_day(
    admin: Caller, project: Project, hook: str, receiver: Receiver
) -> None:
    receiver.status = 500
    outbox.tell(project, "rollback", [NEWS])
    waits = []
    for _ in range(3):
        due_now()
        delivery.deliver_due()
        message = OutboxMessage.objects.get()
        waits.append((message.next_try_at - timezone.now()).total_seconds())
    assert waits[0] < waits[1] < waits[2]
    assert admin("GET", HOOKS).body["webhooks"][0]["waiting"] == 1
    due_now(wanted_at=timezone.now() - timedelta(days=2))
    delivery.deliver_due()
    [shown] = admin("GET", f"{HOOKS}/{hook}/deliveries").body["deliveries"]
    assert (shown["status"], shown["tries"], shown["last_error"]) == ("parked", 4, "answered 500")
    assert (
        admin("GET", HOOKS).body["webhooks"][0] | {"waiting": 0, "parked": 1} == admin("GET", HOOKS).body["webhooks"][0]
    )


def test_a_parked_delivery_is_sent_again_on_request(
    admin: Caller, project: Project, hook: str, receiver: Receiver, stranger: Caller
) -> None:
    outbox.tell(project, "rollback", [NEWS])
    OutboxMessage.objects.update(parked_at=timezone.now())
    assert delivery.deliver_due() == 0
    [shown] = admin("GET", f"{HOOKS}/{hook}/deliveries").body["deliveries"]
    again = f"/v1/deliveries/{shown['delivery_id']}/retry"
    assert stranger("POST", again).status == 404
    assert admin("POST", again).body["status"] == "waiting"
    assert delivery.deliver_due() == 1
    assert receiver.got[0][0]["X-AgentLoop-Delivery"] == shown["delivery_id"]


def test_a_receiver_that_is_down_costs_one_call_a_round(project: Project, hook: str, receiver: Receiver) -> None:
    receiver.status = 503
    outbox.tell(project, "rollback", [NEWS] * 5)
    delivery.deliver_due()
    assert len(receiver.got) == 1
    assert sorted(OutboxMessage.objects.values_list("tries", flat=True)) == [0, 0, 0, 0, 1]
    assert not OutboxMessage.objects.filter(next_try_at__lte=timezone.now()).exists()


def test_a_redirect_is_a_failure(project: Project, hook: str, receiver: Receiver) -> None:
    receiver.status = 307
    outbox.tell(project, "rollback", [NEWS])
    delivery.deliver_due()
    assert OutboxMessage.objects.get().last_error == "answered 307"


def test_deliveries_come_in_pages(admin: Caller, project: Project, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "DELIVERIES_SHOWN", 2)
    outbox.tell(project, "rollback", [{**NEWS, "n": n} for n in range(3)])
    first = admin("GET", f"{HOOKS}/{hook}/deliveries").body
    second = admin("GET", f"{HOOKS}/{hook}/deliveries?cursor={first['next_cursor']}").body
    pages = [[one["body"]["data"]["n"] for one in page["deliveries"]] for page in (first, second)]
    assert pages == [[2, 1], [0]]
    assert second["next_cursor"] is None
    assert admin("GET", f"{HOOKS}/{hook}/deliveries?cursor=nonsense").status == 422


def test_removing_a_webhook_ends_what_waits_and_what_is_taken(admin: Caller, project: Project, hook: str) -> None:
    outbox.tell(project, "rollback", [NEWS])
    assert project.told_events == ["rollback"]
    assert admin("DELETE", f"{HOOKS}/{hook}").body == {"status": "removed"}
    assert admin("DELETE", f"{HOOKS}/{hook}").status == 404
    project.refresh_from_db()
    assert (project.told_events, OutboxMessage.objects.count(), Webhook.objects.count()) == ([], 0, 0)


def test_a_webhook_that_names_no_event_takes_them_all(admin: Caller, project: Project) -> None:
    admin("POST", HOOKS, {"url": "https://example.com", "secret": SECRET})
    project.refresh_from_db()
    assert set(project.told_events) == set(outbox.EVENTS)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({"url": "https://example.com:99999"}, "url"),
        ({"events": ["no such"]}, "events"),
        ({"secret": "short"}, "secret"),
    ],
)
def test_bad_webhooks_are_refused_by_field(admin: Caller, wrong: dict[str, Any], field: str) -> None:
    answer = admin("POST", HOOKS, {"url": "https://example.com", "secret": SECRET, **wrong})
    assert answer.status == 422
    assert [name.partition(".")[0] for name in answer.body["fields"]] == [field]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "100.64.0.1", "::1",
        "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::a01:203", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public_in_any_spelling(address: str) -> None:
    assert not delivery.is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34"])
def test_public_addresses_are(address: str) -> None:
    assert delivery.is_public(address)


def test_the_host_is_looked_up_once_and_that_address_is_asked(
    project: Project, hook: str, receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads to a public address when it is checked, and to loopback a moment later."""
    settings.WEBHOOK_HOSTS = []
    answers = iter(["93.184.216.34", "127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: [(2, 1, 6, "", (next(answers), 80))])
    asked: list[Any] = []

    def connect(address: Any, *args: Any) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    Webhook.objects.update(url="http://rebinding.example/in")
    outbox.tell(project, "rollback", [NEWS])
    delivery.deliver_due()
    assert asked == [("93.184.216.34", 80)]


def test_a_private_address_is_not_asked_unless_the_operator_allows_it(
    project: Project, hook: str, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_HOSTS = []
    outbox.tell(project, "rollback", [NEWS])
    delivery.deliver_due()
    assert receiver.got == []
    assert "AGENTLOOP_WEBHOOK_HOSTS" in OutboxMessage.objects.get().last_error


def test_a_month_later_what_was_delivered_goes(project: Project, hook: str) -> None:
    outbox.tell(project, "rollback", [NEWS] * 2)
    OutboxMessage.objects.update(created_at=timezone.now() - timedelta(days=31))
    waiting = OutboxMessage.objects.order_by("id").first()
    OutboxMessage.objects.exclude(id=waiting.id).update(delivered_at=timezone.now())
    end_old_rows()
    assert OutboxMessage.objects.get() == waiting


# --- letters --------------------------------------------------------------------------------------------------


@pytest.fixture
def notices_of_bob(project: Project, bob: Client, settings: Any) -> str:
    settings.SENDS_MAIL = True
    path = f"/p/acme/v1/members/{project.members.get(user__username='bob@example.com').pk}/notices"
    body = {"events": ["rollback", "verdict.given"], "every_minutes": 30}
    answer = bob.put(path, json.dumps(body), content_type="application/json")
    assert answer.json() == {**body, "sent_at": None}
    project.refresh_from_db()
    return path


def test_a_letter_tells_of_everything_since_the_last(project: Project, notices_of_bob: str) -> None:
    outbox.tell(project, "rollback", [NEWS])
    outbox.tell(project, "verdict.given", [{"message": f"Verdict {n}."} for n in range(12)])
    assert [delivery.send_letters(), delivery.send_letters()] == [1, 0]
    [letter] = mail.outbox
    assert (letter.to, letter.subject) == (["bob@example.com"], "Acme: 1 path rolled back, 12 verdicts")
    assert "- book: gpt-4o is rolled back.\n\n12 verdicts\n- Verdict 0.\n" in letter.body
    assert "- and 2 more\n" in letter.body


def test_the_next_letter_waits_as_long_as_its_reader_chose(project: Project, notices_of_bob: str) -> None:
    for _ in range(2):
        outbox.tell(project, "rollback", [NEWS])
        delivery.send_letters()
    assert len(mail.outbox) == 1
    MemberNotices.objects.update(sent_at=timezone.now() - timedelta(minutes=31))
    assert delivery.send_letters() == 1
    assert not OutboxMessage.objects.filter(delivered_at=None).exists()


def test_a_letter_that_cannot_be_sent_is_sent_later(
    project: Project, notices_of_bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise smtplib.SMTPServerDisconnected

    outbox.tell(project, "rollback", [NEWS])
    with monkeypatch.context() as patched:
        patched.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
        assert delivery.send_letters() == 0
    assert OutboxMessage.objects.get().last_error == "SMTPServerDisconnected"
    MemberNotices.objects.update(sent_at=None)
    assert delivery.send_letters() == 1


def test_a_member_sets_their_own_notices_and_an_owner_anyones(
    project: Project, admin: Caller, alice: Client, bob: Client, notices_of_bob: str
) -> None:
    alices = project.members.get(user__username="alice@example.com").pk
    assert bob.get(f"/p/acme/v1/members/{alices}/notices").status_code == 403
    assert alice.get(notices_of_bob).json()["every_minutes"] == 30
    assert admin("PUT", notices_of_bob.removeprefix("/p/acme"), {"events": []}).body["events"] == []
    project.refresh_from_db()
    assert project.told_events == []


def test_notices_are_refused_where_no_mail_is_sent(project: Project, bob: Client, settings: Any) -> None:
    settings.SENDS_MAIL = False
    path = f"/p/acme/v1/members/{project.members.get().pk}/notices"
    answer = bob.put(path, json.dumps({"events": ["drift"]}), content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_mail")


def test_a_member_who_goes_takes_their_notices_along(project: Project, alice: Client, notices_of_bob: str) -> None:
    from agentloop.actors import SYSTEM

    remove_member(member=project.members.get(user__username="bob@example.com"), actor=SYSTEM)
    assert outbox.tell(project, "rollback", [NEWS]) == 0
    assert delivery.send_letters() == 0
