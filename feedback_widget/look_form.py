"""How the feedback form looks, as a form of its owners: what it says, and the project as it would be with it."""

import base64
import copy
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.datastructures import MultiValueDict

from agentloop.errors import Invalid
from agentloop.models import Project
from agentloop.project_settings import SETTINGS
from agentloop.settings_forms import Group, SettingsForm
from feedback_widget import looks

LOOK = Group("look", "Looks and words", "", ("widget_accent", "widget_texts"))
ACCESS = Group(
    "access",
    "Where it stands, and how often it is answered",
    "",
    ("widget_origins", "feedback_per_link", "feedback_per_address", "feedback_per_project"),
)
LOGO = "widget_logo"
# More than any logo that is taken, so that a photograph is refused before it is turned into text.
MOST_UPLOADED = 64 * 1024


class LookForm(SettingsForm):
    """The look's settings, with a logo as a file and the project's name, which stands above the form."""

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
        self.order_fields(["name", "widget_accent", "logo", "no_logo", "widget_texts"])

    def clean_logo(self) -> Any:
        sent = self.cleaned_data["logo"]
        if sent and sent.size > MOST_UPLOADED:
            raise forms.ValidationError("Takes a picture of at most 6 kB.")
        return sent

    def changes(self) -> dict[str, Any]:
        changes = {one.name: one.change(self.cleaned_data) for one in self.asked if one.name in self.cleaned_data}
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
