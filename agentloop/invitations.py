"""Invitations: a signed link, for one address and one use, by which a person comes into a project."""

import smtplib
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor, member_actor
from agentloop.errors import AppError, Conflict, NotFound
from agentloop.ids import read
from agentloop.models import Invitation, Member, Project
from agentloop.tenancy import check_password, check_role, checked_email

LASTS = timedelta(days=7)
_SIGNER = Signer(salt="agentloop.invitation")


class InvitationGone(AppError):
    """This invitation has been used, was taken back, or is too old: ask for a new one."""

    code, http_status = "invitation_gone", 410


class NotInvited(AppError):
    """This invitation is for somebody else: sign out, and sign in with the address it was sent to."""

    code, http_status = "not_invited", 403


def invite(*, project: Project, actor: Actor, email: str, role: str) -> tuple[Invitation, str]:
    """Makes an invitation; its token is in the answer and nowhere else. An earlier one to the same address ends."""
    email = checked_email(email)
    check_role(actor, role)
    with transaction.atomic():
        if project.members.filter(user__username=email).exists():
            raise Conflict("They are a member already.", fields={"email": "is a member already"})
        project.invitations.filter(email=email, accepted_at=None, revoked_at=None).update(revoked_at=timezone.now())
        invitation = Invitation.objects.create(
            project=project, email=email, role=role, invited_by=actor.label[:120], expires_at=timezone.now() + LASTS
        )
        audit.note(project, actor, "invitation.create", invitation.shown_id, role=role)
    return invitation, token_of(invitation)


def token_of(invitation: Invitation) -> str:
    return _SIGNER.sign(invitation.id.hex)


def send(invitation: Invitation, token: str) -> bool:
    """Sends the link by e-mail; answers whether it went out. Without a mail server it is passed on by hand."""
    if not settings.SENDS_MAIL:
        return False
    address = settings.BASE_URL + reverse("invitation", kwargs={"token": token})
    text = render_to_string("agentloop/invitation_letter.txt", {"invitation": invitation, "address": address})
    letter = EmailMessage(f"Join {' '.join(invitation.project.name.split())} on AgentLoop", text, to=[invitation.email])
    with suppress(smtplib.SMTPException, OSError):
        return letter.send() == 1
    return False


def revoke(*, project: Project, actor: Actor, shown_id: str) -> None:
    """Takes an invitation back; twice is safe."""
    key = read("invite", shown_id)
    invitation = project.invitations.filter(pk=key).first() if key else None
    if invitation is None:
        raise NotFound
    with transaction.atomic():
        standing = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
        if standing.update(revoked_at=timezone.now()):
            audit.note(project, actor, "invitation.revoke", shown_id)


def opened(token: str, *, locked: bool = False) -> Invitation:
    """The invitation behind a link. Raises NotFound for a link that we did not sign, InvitationGone for a dead one."""
    try:
        key = UUID(hex=_SIGNER.unsign(token))
    except (BadSignature, ValueError) as error:
        raise NotFound from error
    found = Invitation.objects.select_related("project").filter(pk=key)
    invitation = (found.select_for_update(of=("self",)) if locked else found).first()
    if invitation is None or not invitation.is_open:
        raise InvitationGone
    return invitation


def account_of(invitation: Invitation) -> User | None:
    """The account that can accept by signing in. One that nobody ever had a way into counts as none."""
    user = User.objects.filter(username=invitation.email).first()
    has_a_door = user is not None and (user.has_usable_password() or user.last_login is not None)
    return user if has_a_door else None


def accept(token: str, user: User) -> Member:
    """Whoever the invitation is for joins, once. A member keeps the role they have."""
    with transaction.atomic():
        invitation = opened(token, locked=True)
        if user.username != invitation.email:
            raise NotInvited
        return _join(invitation, user)


def accept_as_new(token: str, *, name: str, password: str) -> Member:
    """Makes the account that the invitation is for, and joins. Raises Conflict where there is one to sign in with."""
    with transaction.atomic():
        invitation = opened(token, locked=True)
        if account_of(invitation) is not None:
            raise Conflict("There is an account for this address already: sign in with it.")
        user, _ = User.objects.get_or_create(username=invitation.email, defaults={"email": invitation.email})
        user.first_name = " ".join(name.split())[:150]
        check_password(password, user)
        user.set_password(password)
        user.save(update_fields=["first_name", "password"])
        return _join(invitation, user)


def _join(invitation: Invitation, user: User) -> Member:
    invitation.accepted_at = timezone.now()
    invitation.save(update_fields=["accepted_at"])
    member, _ = Member.objects.get_or_create(project=invitation.project, user=user, defaults={"role": invitation.role})
    audit.note(invitation.project, member_actor(member), "invitation.accept", invitation.shown_id, role=member.role)
    return member
