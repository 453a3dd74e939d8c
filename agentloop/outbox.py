"""Notifications: who takes which, and each put into the transaction of what it tells of. `delivery` sends them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.errors import AppError, Invalid
from agentloop.ids import read, shown
from agentloop.keys import forget_cached
from agentloop.models import Member, MemberNotices, OutboxMessage, Project, Webhook
from agentloop.secrets_box import seal

# Each with the words of a letter's subject, for one and for several.
EVENTS: dict[str, tuple[str, str]] = {
    "rollback": ("path rolled back", "paths rolled back"),
    "drift": ("path changed", "paths changed"),
    "recovery": ("path recovered", "paths recovered"),
    "goal.signal": ("signal about a goal", "signals about goals"),
    "queue.expiring": ("queue about to expire", "queues about to expire"),
    "turn.escalated": ("turn escalated", "turns escalated"),
    "verdict.given": ("verdict", "verdicts"),
    "verdict.changed": ("verdict changed", "verdicts changed"),
    "verdict.undone": ("verdict undone", "verdicts undone"),
    "turn.created": ("new turn", "new turns"),
    "turn.signal": ("turn with a new signal", "turns with new signals"),
}
EVERY_MINUTES = (5, 10_080)
DELIVERIES_SHOWN = 100
NOBODY = UUID(int=0)


class WebhookNotFound(AppError):
    """There is no such webhook in this project."""

    code, http_status = "webhook_not_found", 404


class DeliveryNotFound(AppError):
    """There is no such delivery in this project."""

    code, http_status = "delivery_not_found", 404


class NoMail(AppError):
    """This installation sends no e-mail: its operator can set AGENTLOOP_EMAIL_URL."""

    code, http_status = "no_mail", 409


def tell(project: Project, event: str, bodies: Sequence[Mapping[str, Any]]) -> int:
    """Puts notifications into the caller's transaction, one for each body and taker; answers how many.

    Three queries, and none where nobody takes the event. Each body has a `message`, one sentence for people.
    """
    if event not in project.told_events or not bodies:
        return 0
    hooks = [hook for hook in Webhook.objects.filter(project=project, is_active=True) if takes(hook.events, event)]
    members = [one for one in MemberNotices.objects.filter(project=project) if event in one.events]
    at = timezone.now().isoformat()
    told = [{"event": event, "project": project.slug, "at": at, "data": dict(body)} for body in bodies]
    messages = [OutboxMessage(project=project, webhook=hook, event=event, body=body) for body in told for hook in hooks]
    messages += [
        OutboxMessage(project=project, notices=one, event=event, body=body) for body in told for one in members
    ]
    OutboxMessage.objects.bulk_create(messages)
    return len(messages)


def takes(events: Iterable[str], event: str) -> bool:
    """A webhook that names no event takes them all."""
    return not events or event in events


def _note_takers(project: Project) -> None:
    """Writes down which events anybody takes, under the project's lock. Other processes know within seconds."""
    locked = Project.objects.select_for_update().get(pk=project.pk)
    taken: set[str] = set()
    for events in Webhook.objects.filter(project=project, is_active=True).values_list("events", flat=True):
        taken.update(events or EVENTS)
    for events in MemberNotices.objects.filter(project=project).values_list("events", flat=True):
        taken.update(events)
    locked.told_events = project.told_events = sorted(taken)
    locked.save(update_fields=["told_events"])
    transaction.on_commit(forget_cached)


def _check_events(events: Iterable[str]) -> None:
    if not set(events) <= set(EVENTS):
        sentence = f"events takes some of {', '.join(EVENTS)}."
        raise Invalid(sentence, fields={"events": sentence})


# --- webhooks -------------------------------------------------------------------------------------------------


def add_webhook(project: Project, actor: Actor, *, url: str, secret: str, events: Sequence[str] = ()) -> Webhook:
    """Raises Invalid for what is no address, or an event that there is none of."""
    _check_events(events)
    if not is_web_address(url):
        sentence = "url takes an http or https address."
        raise Invalid(sentence, fields={"url": sentence})
    with transaction.atomic():
        hook = Webhook.objects.create(project=project, url=url, encrypted_secret=seal(secret), events=list(events))
        _note_takers(project)
        audit.note(project, actor, "webhook.create", shown("hook", hook.id), events=list(events))
    return hook


def is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def remove_webhook(project: Project, actor: Actor, shown_id: str) -> None:
    """Ends a webhook with what still waits for it."""
    with transaction.atomic():
        hook = find_webhook(project, shown_id)
        OutboxMessage.objects.filter(project=project, webhook=hook).delete()
        hook.delete()
        _note_takers(project)
        audit.note(project, actor, "webhook.remove", shown_id)


def find_webhook(project: Project, shown_id: str) -> Webhook:
    hook = Webhook.objects.filter(project=project, id=read("hook", shown_id) or NOBODY).first()
    if hook is None:
        raise WebhookNotFound
    return hook


def webhooks_of(project: Project) -> list[dict[str, Any]]:
    """A project's webhooks, with how many deliveries wait and how many were given up. Two queries."""
    undelivered = OutboxMessage.objects.filter(project=project, delivered_at=None).exclude(webhook=None)
    waiting = Count("id", filter=Q(parked_at=None))
    rows = undelivered.values("webhook_id").annotate(waiting=waiting, parked=Count("parked_at"))
    counts = {row["webhook_id"]: row for row in rows}
    return [
        webhook_shape(hook, counts.get(hook.id, NO_DELIVERIES))
        for hook in Webhook.objects.filter(project=project).order_by("id")
    ]


NO_DELIVERIES: Mapping[str, int] = {"waiting": 0, "parked": 0}


def webhook_shape(hook: Webhook, counts: Mapping[str, Any] = NO_DELIVERIES) -> dict[str, Any]:
    return {
        "webhook_id": shown("hook", hook.id),
        "url": hook.url,
        "events": hook.events,
        "created_at": hook.created_at,
        "waiting": counts["waiting"],
        "parked": counts["parked"],
    }


# --- deliveries -----------------------------------------------------------------------------------------------


def deliveries_of(project: Project, shown_id: str, before: UUID | None = None) -> list[OutboxMessage]:
    """A webhook's deliveries, the newest first, from the one after `before`. Two queries."""
    hook = find_webhook(project, shown_id)
    found = OutboxMessage.objects.filter(project=project, webhook=hook).order_by("-id")
    if before is not None:
        found = found.filter(id__lt=before)
    return list(found[:DELIVERIES_SHOWN])


def send_again(project: Project, actor: Actor, shown_id: str) -> OutboxMessage:
    """Makes a delivery due now, whether it was parked, delivered or waits. Its receiver knows it by its id."""
    with transaction.atomic():
        found = OutboxMessage.objects.select_for_update().filter(
            project=project, id=read("delivery", shown_id) or NOBODY
        )
        message = found.exclude(webhook=None).first()
        if message is None:
            raise DeliveryNotFound
        message.next_try_at = message.wanted_at = timezone.now()
        message.delivered_at = message.parked_at = None
        message.save(update_fields=["next_try_at", "wanted_at", "delivered_at", "parked_at"])
        audit.note(project, actor, "delivery.retry", shown_id)
    return message


def delivery_shape(message: OutboxMessage) -> dict[str, Any]:
    status = "delivered" if message.delivered_at else "parked" if message.parked_at else "waiting"
    return {
        "delivery_id": shown("delivery", message.id),
        "event": message.event,
        "status": status,
        "tries": message.tries,
        "last_error": message.last_error,
        "created_at": message.created_at,
        "delivered_at": message.delivered_at,
        "next_try_at": message.next_try_at if status == "waiting" else None,
        "body": message.body,
    }


# --- members --------------------------------------------------------------------------------------------------


def notices_of(member: Member) -> MemberNotices:
    """What a member hears of; nothing, until they say otherwise."""
    return MemberNotices.objects.filter(member=member).first() or MemberNotices(member=member)


def set_notices(member: Member, actor: Actor, *, events: Sequence[str], every_minutes: int = 60) -> MemberNotices:
    """Replaces what a member hears of by e-mail. Raises NoMail where the installation could send none."""
    _check_events(events)
    if events and not settings.SENDS_MAIL:
        raise NoMail
    project = member.project
    with transaction.atomic():
        chosen = {"project": project, "events": list(dict.fromkeys(events)), "every_minutes": every_minutes}
        notices, _ = MemberNotices.objects.update_or_create(member=member, defaults=chosen)
        _note_takers(project)
        audit.note(project, actor, "member.notices", f"user:{member.user_id}", events=notices.events)
    return notices
