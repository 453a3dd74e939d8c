"""The links that every page of a project begins with. A page that is new to the site adds its line here."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from agentloop.actors import Actor
from agentloop.models import Project, Scope


@dataclass(frozen=True, slots=True)
class Entry:
    """A page in the navigation: its URL's name, its label, the letter that follows `g`, and who sees it.

    URL names that begin with `view` and an underscore belong to the same place.
    """

    view: str
    label: str
    letter: str
    scope: str = Scope.READ


ENTRIES = (
    Entry("project_overview", "Overview", "o"),
    Entry("queue", "Queue", "q"),
    Entry("project_goals", "Goals", "g"),
    Entry("annotations_page", "Annotations", "a"),
    Entry("memories_page", "Memories", "m"),
    Entry("quality", "Quality", "u", Scope.REVIEW),
    Entry("exports_page", "Exports", "x"),
    Entry("settings", "Settings", "s", Scope.ADMIN),
)


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    letter: str
    url: str
    is_current: bool


def links_of(request: HttpRequest, project: Project, actor: Actor) -> list[Link]:
    """The entries that this actor may open, and which of them one is in."""
    here = (request.resolver_match.url_name if request.resolver_match else None) or ""
    return [
        Link(
            entry.label,
            entry.letter,
            reverse(entry.view, kwargs={"project": project.slug}),
            here == entry.view or here.startswith(f"{entry.view}_"),
        )
        for entry in ENTRIES
        if actor.may(entry.scope)
    ]


# --- the settings' own navigation -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """One page of the settings: its URL's name and its label. They are for owners, every one."""

    view: str
    label: str


SECTIONS = (
    Section("settings", "Project"),
    Section("settings_weights", "Signal weights"),
    Section("settings_keys", "API keys"),
    Section("settings_signing", "Signing keys"),
    Section("settings_members", "Members"),
    Section("settings_rubric", "Rubric"),
    Section("settings_widget", "Feedback form"),
    Section("settings_webhooks", "Webhooks"),
    Section("settings_notices", "E-mail notices"),
    Section("settings_audit", "Audit log"),
)


@dataclass(frozen=True, slots=True)
class SectionLink:
    label: str
    url: str
    is_current: bool


def sections_of(request: HttpRequest, project: Project) -> list[SectionLink]:
    here = (request.resolver_match.url_name if request.resolver_match else None) or ""
    within = [one.view for one in SECTIONS if here == one.view or here.startswith(f"{one.view}_")]
    current = max(within, key=len, default="")
    return [
        SectionLink(one.label, reverse(one.view, kwargs={"project": project.slug}), one.view == current)
        for one in SECTIONS
    ]
