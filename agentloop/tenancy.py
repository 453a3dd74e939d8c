"""Projects and their members: made, changed, and reached. `reach_of` is the only door from a request to rows."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from agentloop import audit
from agentloop.actors import SCOPES_OF_ROLE, SYSTEM, Actor, member_actor
from agentloop.errors import Conflict, Invalid, NoKey, NotFound, WrongTenant
from agentloop.keys import check_may_grant, credential_of, forget_cached
from agentloop.models import Member, Project, Role
from agentloop.project_settings import SETTINGS, check_settings

_EMAIL = re.compile(r"[^\s@\x00-\x1f]+@[^\s@\x00-\x1f]+\Z")


@dataclass(frozen=True, slots=True)
class Reach:
    """What a request reaches: one project, as one actor."""

    project: Project
    actor: Actor


def reach_of(request: HttpRequest, slug: str | None) -> Reach:
    """The only door from a request to a project's rows: by its key, or by its session where the path names one.

    A stranger's project and one that doesn't exist look alike: not found.
    """
    secret = _secret_of(request)
    if secret is not None:
        return _by_key(request, secret, slug)
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        raise NoKey
    if slug is None:
        raise NotFound("Name the project in the path: /p/<project>/…")
    return reach_of_member(user, slug)


def reach_of_member(user: User, slug: str) -> Reach:
    """What a person who is signed in reaches in a project. One query; raises NotFound for a stranger."""
    member = Member.objects.select_related("project", "user").filter(project__slug=slug, user=user).first()
    if member is None:
        raise NotFound
    return Reach(member.project, member_actor(member))


def reach_among(memberships: Iterable[Member], slug: str) -> Reach:
    """What a person reaches in a project, among their memberships as they were read. Raises NotFound for a stranger."""
    member = next((one for one in memberships if one.project.slug == slug), None)
    if member is None:
        raise NotFound
    return Reach(member.project, member_actor(member))


def _secret_of(request: HttpRequest) -> str | None:
    header = request.META.get("HTTP_AUTHORIZATION", "")
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return request.META.get("HTTP_X_API_KEY", "").strip() or None


def _by_key(request: HttpRequest, secret: str, slug: str | None) -> Reach:
    credential = credential_of(secret)
    project = credential.project
    if slug is not None and slug != project.slug:
        raise NotFound
    tenant = request.META.get("HTTP_X_TENANT_ID", "").strip()
    if tenant not in ("", "default", project.slug, project.tenant_id, project.id.hex):
        raise WrongTenant
    return Reach(project, credential.actor)


def slug_for(name: str) -> str:
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:60].strip("-")


def names_of_members(project: Project) -> dict[str, str]:
    """What people are called, by the ref under which claims and acts name them. One query."""
    actors = (member_actor(member) for member in project.members.select_related("user").order_by("id"))
    return {actor.ref: actor.label for actor in actors}


def actor_of(project: Project, ref: str) -> Actor | None:
    """The member whom a ref names, with the role they have now; None for one who has left. One query."""
    kind, _, key = ref.partition(":")
    if kind != "user" or not key.isdigit():
        return None
    member = project.members.select_related("user").filter(user_id=int(key)).first()
    return member_actor(member) if member else None


def create_project(*, name: str, actor: Actor, slug: str | None = None) -> Project:
    slug = slug or slug_for(name)
    if not slug:
        raise Invalid("A project's name needs at least one letter or digit.", fields={"name": "is empty"})
    try:
        with transaction.atomic():
            project = Project.objects.create(name=name[:100], slug=slug)
            audit.note(project, actor, "project.create", slug)
    except IntegrityError as error:
        raise Conflict(f"There is already a project called {slug}.") from error
    return project


def change_project(
    *, project: Project, actor: Actor, name: str | None = None, settings: Mapping[str, Any] | None = None
) -> Project:
    """Sets what is given, all of it or, where one part is refused, none."""
    with transaction.atomic():
        if settings:
            project = change_settings(project=project, actor=actor, changes=settings)
        if name is not None:
            project = rename_project(project=project, actor=actor, name=name)
    return project


def rename_project(*, project: Project, actor: Actor, name: str) -> Project:
    """Changes the name that people see. The slug stays: addresses and clients hold it."""
    name = " ".join(name.split())[:100]
    if not name:
        raise Invalid("name needs at least one letter or digit.", fields={"name": "is empty"})
    with transaction.atomic():
        locked = Project.objects.select_for_update().get(pk=project.pk)
        if locked.name != name:
            locked.name = name
            locked.save(update_fields=["name"])
            audit.note(locked, actor, "project.rename", locked.slug, name=name)
    forget_cached()
    return locked


def change_settings(*, project: Project, actor: Actor, changes: Mapping[str, Any]) -> Project:
    """Sets what an owner asked for; null in `changes` goes back to the default. Raises Invalid, changes nothing."""
    check_settings({name: value for name, value in changes.items() if value is not None or name not in SETTINGS})
    with transaction.atomic():
        locked = Project.objects.select_for_update().get(pk=project.pk)
        kept = {name: value for name, value in {**locked.settings, **changes}.items() if value is not None}
        if kept != locked.settings:
            locked.settings = kept
            locked.save(update_fields=["settings"])
            audit.note(locked, actor, "project.settings", locked.slug, changed=sorted(changes))
    forget_cached()
    return locked


def add_member(*, project: Project, actor: Actor, email: str, role: str, password: str | None = None) -> Member:
    """Adds a person, or changes the role of one who is there. A password is set only for someone new.

    Somebody who has an account already keeps their password: an owner of one project must not be able
    to take over a person who also belongs to another. The operator, on the command line, may.
    """
    email = checked_email(email)
    check_role(actor, role)
    is_operator = actor == SYSTEM
    with transaction.atomic():
        user, is_new = User.objects.get_or_create(username=email, defaults={"email": email})
        if is_new or (is_operator and password and not user.check_password(password)):
            if password and not is_operator:
                check_password(password, user)
            user.set_password(password)
            user.save(update_fields=["password"])
        member, is_added = Member.objects.get_or_create(project=project, user=user, defaults={"role": role})
        if not is_added:
            return _set_role(member, actor, role)
        audit.note(project, actor, "member.add", f"user:{user.pk}", role=role)
    return member


def checked_email(text: str) -> str:
    """An address as accounts keep it. Raises Invalid for what is none."""
    email = text.strip().lower()
    if not _EMAIL.match(email) or len(email) > 150:
        raise Invalid("email takes an e-mail address.", fields={"email": "is not an e-mail address"})
    return email


def change_role(*, member: Member, actor: Actor, role: str) -> Member:
    """Gives a member another role. The last owner keeps theirs; twice is safe."""
    check_role(actor, role)
    with transaction.atomic():
        return _set_role(member, actor, role)


def _set_role(member: Member, actor: Actor, role: str) -> Member:
    if member.role == role:
        return member
    if member.role == Role.OWNER:
        _keep_an_owner(member.project, member)
    member.role = role
    member.save(update_fields=["role"])
    audit.note(member.project, actor, "member.role", f"user:{member.user_id}", role=role)
    return member


def check_role(actor: Actor, role: str) -> None:
    if role not in Role.values:
        raise Invalid(f"role takes one of {', '.join(Role.values)}.", fields={"role": "is not a role"})
    check_may_grant(actor, SCOPES_OF_ROLE[Role(role)])


def check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        sentence = " ".join(error.messages)
        raise Invalid(sentence, fields={"password": sentence}) from error


def remove_member(*, member: Member, actor: Actor) -> None:
    with transaction.atomic():
        if member.role == Role.OWNER:
            _keep_an_owner(member.project, member)
        audit.note(member.project, actor, "member.remove", f"user:{member.user_id}")
        member.delete()


def _keep_an_owner(project: Project, leaving: Member) -> None:
    """Locks the owners, so that two removals at once can't take the last two."""
    owners = list(project.members.select_for_update().filter(role=Role.OWNER))
    if [owner.pk for owner in owners] == [leaving.pk]:
        raise Conflict("A project needs an owner: make somebody else one first.")
