"""Notifications, committed in PostgreSQL with what they tell of, and delivered later as signed webhooks."""

import hashlib
import hmac
import ipaddress
import logging
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.ids import read, shown
from agentloop.models import Project
from agentloop.secrets_box import seal, unseal
from routing.errors import BadField, WebhookNotFound
from routing.models import OutboxMessage, Webhook

log = logging.getLogger("agentloop.outbox")

EVENTS = (
    "turn.created",
    "turn.signal",
    "turn.escalated",
    "verdict.given",
    "verdict.changed",
    "queue.expiring",
    "rollback",
    "recovery",
    "drift",
)
PARK_AFTER = timedelta(days=1)
FIRST_WAIT_S, LONGEST_WAIT_S = 10, 3600
TIMEOUT_S = 5


def tell(project: Project, event: str, body: Mapping[str, Any]) -> int:
    """Puts a notification into the caller's transaction, once for each webhook that wants it. Two queries."""
    hooks = [
        hook
        for hook in Webhook.objects.filter(project=project, is_active=True)
        if not hook.events or event in hook.events
    ]
    at = timezone.now().isoformat()
    OutboxMessage.objects.bulk_create(
        OutboxMessage(project=project, webhook=hook, event=event, body={"event": event, "at": at, "data": dict(body)})
        for hook in hooks
    )
    return len(hooks)


def add_webhook(project: Project, actor: Actor, *, url: str, secret: str, events: Sequence[str] = ()) -> Webhook:
    """Raises BadField for an address that may not be asked, or an event that there is none of."""
    unknown = [event for event in events if event not in EVENTS]
    if unknown:
        raise BadField("events", f"takes some of {', '.join(EVENTS)}.")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise BadField("url", "takes an http or https address.")
    with transaction.atomic():
        hook = Webhook.objects.create(project=project, url=url, encrypted_secret=seal(secret), events=list(events))
        audit.note(project, actor, "webhook.create", str(hook.id))
    return hook


def webhooks_of(project: Project) -> list[dict[str, Any]]:
    """A project's webhooks, with how many deliveries wait and how many were given up. Two queries."""
    undelivered = OutboxMessage.objects.filter(project=project, delivered_at=None)
    waiting = Count("id", filter=Q(parked_at=None))
    counts = {
        row["webhook_id"]: row
        for row in undelivered.values("webhook_id").annotate(waiting=waiting, parked=Count("parked_at"))
    }
    none = {"waiting": 0, "parked": 0}
    return [
        webhook_shape(hook, counts.get(hook.id, none))
        for hook in Webhook.objects.filter(project=project).order_by("id")
    ]


def webhook_shape(hook: Webhook, counts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "webhook_id": shown("hook", hook.id),
        "url": hook.url,
        "events": hook.events,
        "created_at": hook.created_at,
        "waiting": counts["waiting"],
        "parked": counts["parked"],
    }


def remove_webhook(project: Project, actor: Actor, shown_id: str) -> None:
    """Ends a webhook with what still waits for it."""
    key = read("hook", shown_id)
    if key is None:
        raise WebhookNotFound
    with transaction.atomic():
        gone, _ = Webhook.objects.filter(project=project, id=key).delete()
        if not gone:
            raise WebhookNotFound
        OutboxMessage.objects.filter(project=project, webhook_id=key).delete()
        audit.note(project, actor, "webhook.remove", shown_id)


def signature_of(secret: str, body: bytes, at: int) -> str:
    """`t=…,v1=…`: HMAC-SHA256 over the time, a dot and the body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def deliver_due(limit: int = 100) -> int:
    """Sends what is due; answers how many were taken on. Each is leased first, so no call is made inside a
    transaction and two workers never send one message at the same time."""
    now = timezone.now()
    with transaction.atomic():
        due = list(
            OutboxMessage.objects.select_for_update(skip_locked=True)
            .filter(delivered_at=None, parked_at=None, next_try_at__lte=now)
            .order_by("next_try_at")[:limit]
        )
        OutboxMessage.objects.filter(id__in=[one.id for one in due]).update(next_try_at=now + timedelta(seconds=60))
    hooks = {hook.id: hook for hook in Webhook.objects.filter(id__in={one.webhook_id for one in due})}
    for message in due:
        _deliver(message, hooks.get(message.webhook_id))
    return len(due)


def _deliver(message: OutboxMessage, hook: Webhook | None) -> None:
    error = "the webhook is gone" if hook is None else _send(hook, message)
    now = timezone.now()
    message.tries += 1
    message.last_error = error[:200]
    if not error:
        message.delivered_at = now
    elif hook is None or now - message.created_at > PARK_AFTER:
        message.parked_at = now
        log.warning("notification parked webhook=%s event=%s", message.webhook_id, message.event)
    else:
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(message.tries - 1, 20))
        message.next_try_at = now + timedelta(seconds=wait)
    message.save(update_fields=["tries", "last_error", "delivered_at", "parked_at", "next_try_at"])


def _send(hook: Webhook, message: OutboxMessage) -> str:
    """What went wrong, or nothing."""
    problem = refused_address(hook.url)
    if problem:
        return problem
    body = orjson.dumps(message.body)
    signed = signature_of(unseal(bytes(hook.encrypted_secret)), body, int(timezone.now().timestamp()))
    headers = {
        "Content-Type": "application/json",
        "X-AgentLoop-Signature": signed,
        "X-AgentLoop-Delivery": str(message.id),
    }
    request = urllib.request.Request(hook.url, body, headers, method="POST")  # noqa: S310 - http(s) only, checked
    try:
        with _opener.open(request, timeout=TIMEOUT_S) as answer:
            return "" if answer.status < 300 else f"answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"answered {error.code}"
    except (OSError, ValueError) as error:
        return type(error).__name__


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to an address that was not looked at."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects())


def refused_address(url: str) -> str:
    """Why an address may not be asked: loopback and private networks are ours, unless the operator allows a host."""
    host = urlsplit(url).hostname or ""
    if host in settings.WEBHOOK_HOSTS:
        return ""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return "the host is not known"
    refused = [one for one in found if not ipaddress.ip_address(one).is_global]
    return "the address is loopback or private: allow the host in AGENTLOOP_WEBHOOK_HOSTS" if refused else ""
