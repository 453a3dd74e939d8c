"""How the feedback form looks, as a form of its owners: what it says, and the project as it would be with it."""

import base64
import copy
from dataclasses import dataclass
from typing import Any

import orjson
from django import forms
from django.utils.datastructures import MultiValueDict

from agentloop.errors import Invalid
from agentloop.models import Project
from agentloop.project_settings import SETTINGS
from agentloop.settings_forms import Group, SettingsForm
from feedback_widget import looks, words_form

LOOK = Group("look", "Looks and words", "", ("widget_accent",))
ACCESS = Group(
    "access",
    "Where it stands, and how often it is answered",
    "",
    ("widget_origins", "feedback_per_link", "feedback_per_address", "feedback_per_project"),
)
LOGO, TEXTS = "widget_logo", "widget_texts"
# More than any logo that is taken, so that a photograph is refused before it is turned into text.
MOST_UPLOADED = 64 * 1024


class LookForm(SettingsForm):
    """The look's settings, with a logo as a file, the project's name, which stands above the form, and its words."""

    name = forms.CharField(label="Name", max_length=100, help_text="The project's name, everywhere people see it.")
    logo = forms.FileField(
        label="Logo",
        required=False,
        help_text="PNG, JPEG, WebP, GIF or SVG of up to 6 kB, shown 28 pixels wide.",
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp,image/gif,image/svg+xml"}),
    )
    no_logo = forms.BooleanField(label="Show no logo", required=False)

    def __init__(self, project: Project, data: Any = None, files: Any = None) -> None:
        super().__init__(LOOK, project, data)
        self.files = files or MultiValueDict()
        self.initial["name"] = project.name
        if not project.setting(LOGO):
            del self.fields["no_logo"]
        self.fields["widget_accent"].widget.attrs |= {"spellcheck": "false", "maxlength": 7}
        self.order_fields(["name", "widget_accent", "logo", "no_logo"])
        self.drafted = words_form.Drafted.of(project, data)
        self.fields.update(self.drafted.fields())

    @property
    def look(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if not name.startswith(words_form.BEFORE)]

    @property
    def word_groups(self) -> list[tuple[str, list[forms.BoundField], int]]:
        """The fields of the words by where they stand, with how many of them are one's own."""
        groups = []
        for title, names in words_form.GROUPS.items():
            fields = [self[words_form.BEFORE + name] for name in names]
            groups.append((title, fields, sum(bool(field.value()) for field in fields)))
        return groups

    @property
    def words_typed(self) -> str:
        """What travels along: the words typed for other languages."""
        return orjson.dumps(self.drafted.typed).decode()

    @property
    def word_languages(self) -> list[tuple[str, str, int]]:
        """The languages, each with how many words of one's own it has, as last typed."""
        own = self.drafted.own
        return [(code, name, len(own.get(code, {}))) for code, name in words_form.LANGUAGES]

    def clean_logo(self) -> Any:
        sent = self.cleaned_data["logo"]
        if sent and sent.size > MOST_UPLOADED:
            raise forms.ValidationError("Takes a picture of at most 6 kB.")
        return sent

    def changes(self) -> dict[str, Any]:
        changes = {one.name: one.change(self.cleaned_data) for one in self.asked if one.name in self.cleaned_data}
        if words_form.LANGUAGE in self.data:
            changes[TEXTS] = self.drafted.whole(self.cleaned_data) or None
        sent = self.cleaned_data.get("logo")
        if sent:
            # The file itself, in the page: readers ask no other server.
            text = base64.b64encode(sent.read()).decode()
            sent.seek(0)
            return {**changes, LOGO: f"data:{sent.content_type};base64,{text}"}
        return {**changes, LOGO: None} if self.cleaned_data.get("no_logo") else changes

    def show_refused(self, error: Invalid) -> None:
        if LOGO in error.fields:
            self.add_error("logo", error.fields[LOGO].removeprefix(f"{LOGO} ").capitalize())
        super().show_refused(Invalid(fields={name: text for name, text in error.fields.items() if name != LOGO}))


def turned(project: Project, form: LookForm) -> LookForm:
    """The form as it is in the language that it asks for. It stays in its own while a word of that is refused."""
    form.full_clean()
    wanted = form.data.get(words_form.LANGUAGE_WANTED, "")
    if wanted not in dict(words_form.LANGUAGES) or any(name.startswith(words_form.BEFORE) for name in form.errors):
        return form
    typed = form.drafted.with_said(form.cleaned_data)
    own = {**form.drafted.standing, **typed}
    return LookForm(project, words_form.turned_to(wanted, typed, own, form.data), form.files)


def tried(project: Project, form: LookForm) -> Project:
    """The project as it would be with what the form says, as far as that is taken. Nothing is kept."""
    form.full_clean()
    trial = copy.copy(project)
    changes = form.changes()
    for name, value in changes.items():
        problem = None if value is None else SETTINGS[name].check(value)
        if problem:
            form.show_refused(Invalid(fields={name: f"{name} {problem}."}))
            changes[name] = project.settings.get(name)
    trial.settings = {name: value for name, value in {**project.settings, **changes}.items() if value is not None}
    trial.name = form.cleaned_data.get("name") or project.name
    return trial


@dataclass(frozen=True, slots=True)
class Legible:
    """The accent as it is written on a ground: made darker or lighter where it could not be read there."""

    ground: str
    colour: str
    on: str
    contrast: float
    is_changed: bool


def legible(accent: str) -> list[Legible]:
    grounds = (("On light", looks.LIGHT), ("On dark", looks.DARK))
    return [_legible(accent, name, ground) for name, ground in grounds]


def _legible(accent: str, name: str, ground: str) -> Legible:
    colour = looks.readable(accent, ground)
    return Legible(name, colour, ground, looks.contrast(colour, ground), colour != accent)
