"""Notifications on their way: signed webhooks to addresses that were looked at, and letters to members.

What could not be delivered is tried again for a day, waiting longer each time; then it is parked, where its owner
sees it.
"""

import hashlib
import hmac
import http.client
import ipaddress
import logging
import smtplib
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from agentloop.errors import AppError
from agentloop.ids import shown
from agentloop.models import MemberNotices, OutboxMessage, Webhook
from agentloop.outbox import EVENTS
from agentloop.secrets_box import unseal
from agentloop.sql import run

log = logging.getLogger("agentloop.outbox")

PARK_AFTER = timedelta(days=1)
FIRST_WAIT_S, LONGEST_WAIT_S = 10, 3600
TIMEOUT_S = 5
# A round's messages are leased for a minute; each webhook's are sent in turn, for half of that at most.
LEASE, ROUND_S = timedelta(seconds=60), 30.0
SENDERS = 8
KEPT_DAYS = 30
MOST_IN_A_LETTER, SHOWN_IN_A_LETTER = 2000, 10


def deliver_due(limit: int = 200) -> int:
    """Sends what is due to webhooks; answers how many were taken on. Each is leased first, so no call is made inside
    a transaction and two workers never send one message at the same time."""
    now = timezone.now()
    with transaction.atomic():
        due = list(
            OutboxMessage.objects.select_for_update(skip_locked=True)
            .filter(delivered_at=None, parked_at=None, next_try_at__lte=now)
            .exclude(webhook=None)
            .order_by("next_try_at")[:limit]
        )
        OutboxMessage.objects.filter(id__in=[one.id for one in due]).update(next_try_at=now + LEASE)
    hooks = {hook.id: hook for hook in Webhook.objects.filter(id__in={one.webhook_id for one in due})}
    due.sort(key=lambda one: (str(one.webhook_id), one.id))
    jobs = [(hooks.get(hook), list(of_hook)) for hook, of_hook in groupby(due, key=lambda one: one.webhook_id)]
    with ThreadPoolExecutor(SENDERS) as senders:
        for tried, left in senders.map(lambda job: _send_in_turn(*job), jobs):
            for message, error in tried:
                _note(message, error)
            if left:
                wait = {"next_try_at": tried[-1][0].next_try_at}
                OutboxMessage.objects.filter(id__in=[one.id for one in left], delivered_at=None).update(**wait)
    return len(due)


Tried = list[tuple[OutboxMessage, str]]


def _send_in_turn(hook: Webhook | None, messages: Sequence[OutboxMessage]) -> tuple[Tried, Sequence[OutboxMessage]]:
    """One webhook's messages, each with what went wrong, and those that were not tried: after a failure, since a
    receiver that is down should cost one call a round. Runs in a thread, without the database."""
    tried: Tried = []
    end = time.monotonic() + ROUND_S
    for place, message in enumerate(messages, 1):
        error = "the webhook is gone" if hook is None else _send(hook, message)
        tried.append((message, error))
        if error or time.monotonic() > end:
            return tried, messages[place:]
    return tried, []


def _note(message: OutboxMessage, error: str) -> None:
    now = timezone.now()
    message.tries += 1
    message.last_error = error[:200]
    if not error:
        message.delivered_at = message.next_try_at = now
    elif now - message.wanted_at > PARK_AFTER:
        message.parked_at = message.next_try_at = now
        log.warning("notification parked webhook=%s event=%s", message.webhook_id, message.event)
    else:
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(message.tries - 1, 20))
        message.next_try_at = now + timedelta(seconds=wait)
    message.save(update_fields=["tries", "last_error", "delivered_at", "parked_at", "next_try_at"])


def signature_of(secret: str, body: bytes, at: int) -> str:
    """`t=…,v1=…`: HMAC-SHA256 over the time, a dot and the body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _send(hook: Webhook, message: OutboxMessage) -> str:
    """What went wrong, or nothing. A redirect is not followed: it could lead to an address nobody looked at."""
    try:
        body = orjson.dumps(message.body)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "AgentLoop",
            "X-AgentLoop-Event": message.event,
            "X-AgentLoop-Delivery": shown("delivery", message.id),
            "X-AgentLoop-Signature": signature_of(unseal(bytes(hook.encrypted_secret)), body, int(time.time())),
        }
        connection = connection_to(hook.url)
        try:
            parts = urlsplit(hook.url)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
        finally:
            connection.close()
        return "" if status < 300 else f"answered {status}"
    except AppError as error:
        return error.sentence
    except TimeoutError:
        return f"gave no answer within {TIMEOUT_S} s"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return type(error).__name__


# --- addresses ------------------------------------------------------------------------------------------------


class RefusedAddress(AppError):
    """The address is loopback or private: allow the host in AGENTLOOP_WEBHOOK_HOSTS."""

    code, http_status = "refused_address", 422


def connection_to(url: str) -> http.client.HTTPConnection:
    """A connection to the very address that was looked at: the name is not looked up a second time, when it could
    lead elsewhere. The certificate must still be the name's."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    address = checked_address(host, port)
    if parts.scheme == "https":
        return _CheckedTLS(host, port, address)
    return _Checked(host, port, address)


def checked_address(host: str, port: int) -> str:
    """The first of a host's addresses. Raises RefusedAddress where any of them is not public, unless the operator
    allows the host: loopback and private networks are ours."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if host not in settings.WEBHOOK_HOSTS and not all(map(is_public, found)):
        raise RefusedAddress
    return found[0]


# Forms of IPv6 in which an IPv4 address travels, which may be a private one.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class _Checked(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, address: str) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), TIMEOUT_S)


class _CheckedTLS(_Checked):
    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self.sock = _tls().wrap_socket(self.sock, server_hostname=self.host)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


# --- letters --------------------------------------------------------------------------------------------------


def send_letters() -> int:
    """One letter to each member who has news and got none for as long as they chose; answers how many went out.

    Where the installation sends no mail any more they wait: the backend that there is then would swallow them."""
    if not settings.SENDS_MAIL:
        return 0
    now = timezone.now()
    waiting = run(
        """
        SELECT notices.id FROM agentloop_membernotices AS notices
        WHERE (sent_at IS NULL OR sent_at <= %s - every_minutes * interval '1 minute') AND EXISTS (
            SELECT FROM agentloop_outboxmessage AS message
            WHERE message.notices_id = notices.id AND delivered_at IS NULL AND parked_at IS NULL)
        ORDER BY notices.id
        """,
        [now],
    )
    return sum(_send_letter(notices, now) for (notices,) in waiting)


def _send_letter(notices_id: int, now: datetime) -> bool:
    """Takes the member's turn before the letter is written: whoever comes meanwhile finds that they had one."""
    with transaction.atomic():
        due = Q(sent_at=None) | Q(sent_at__lte=now - F("every_minutes") * timedelta(minutes=1))
        found = MemberNotices.objects.select_for_update(skip_locked=True, of=("self",)).filter(due, id=notices_id)
        notices = found.select_related("member__user", "project").first()
        if notices is None:
            return False
        notices.sent_at = timezone.now()
        notices.save(update_fields=["sent_at"])
    waiting = OutboxMessage.objects.filter(notices=notices, delivered_at=None, parked_at=None).order_by("id")
    messages = list(waiting[:MOST_IN_A_LETTER])
    error = _post(notices, messages)
    sent = OutboxMessage.objects.filter(id__in=[one.id for one in messages])
    if not error:
        sent.update(delivered_at=timezone.now(), tries=F("tries") + 1, last_error="")
    else:
        sent.update(tries=F("tries") + 1, last_error=error)
        sent.filter(wanted_at__lt=timezone.now() - PARK_AFTER).update(parked_at=timezone.now())
        log.warning("letter not sent notices=%s error=%s", notices.id, error)
    return not error


def _post(notices: MemberNotices, messages: Sequence[OutboxMessage]) -> str:
    """What went wrong, or nothing."""
    by_event = {event: [one for one in messages if one.event == event] for event in EVENTS}
    told = {event: of_event for event, of_event in by_event.items() if of_event}
    subject = f"{notices.project.name}: {', '.join(_heading(event, len(of)) for event, of in told.items())}"
    letter = EmailMessage(subject[:200], _letter(notices, told), to=[notices.member.user.email])
    try:
        letter.send()
    except (OSError, smtplib.SMTPException) as error:
        return type(error).__name__
    return ""


def _heading(event: str, count: int) -> str:
    one, several = EVENTS[event]
    return f"{count} {one if count == 1 else several}"


def _letter(notices: MemberNotices, told: Mapping[str, Sequence[OutboxMessage]]) -> str:
    parts = []
    for event, messages in told.items():
        lines = [_heading(event, len(messages)).capitalize()]
        lines += [f"- {one.body['data'].get('message', '')}" for one in messages[:SHOWN_IN_A_LETTER]]
        if len(messages) > SHOWN_IN_A_LETTER:
            lines.append(f"- and {len(messages) - SHOWN_IN_A_LETTER} more")
        parts.append("\n".join(lines))
    project = notices.project
    parts.append(f"Open {project.name}: {settings.BASE_URL}/p/{project.slug}/")
    parts.append(
        f"You get this at most every {notices.every_minutes} minutes because your notices in {project.name} are on. "
        "An owner of the project, or you, can change them."
    )
    return "\n\n".join(parts) + "\n"


# --- old rows -------------------------------------------------------------------------------------------------


def end_old_messages(limit: int = 5000) -> int:
    """Deletes up to `limit` messages of a month ago, delivered or given up; those that wait stay."""
    rows: list[tuple[UUID]] = run(
        """
        DELETE FROM agentloop_outboxmessage WHERE id IN (
            SELECT id FROM agentloop_outboxmessage
            WHERE created_at < now() - %s * interval '1 day' AND (delivered_at IS NOT NULL OR parked_at IS NOT NULL)
            ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED
        ) RETURNING id
        """,
        [KEPT_DAYS, limit],
    )
    return len(rows)
