"""The forms of a project's settings, made from `project_settings.SETTINGS`: grouped, and in plain words.

A setting that has no words here yet stands in the last group with its own help, so that none is ever out of reach.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from agentloop.errors import Invalid
from agentloop.models import Project
from agentloop.project_settings import SETTINGS

# Set on pages of their own.
ELSEWHERE = (
    *("signal_weights", "default_signal_weight"),
    *("widget_accent", "widget_logo", "widget_texts", "widget_origins"),
    *("feedback_per_link", "feedback_per_address", "feedback_per_project"),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that belong together: they stand in one card and are saved together."""

    slug: str
    title: str
    lead: str
    names: tuple[str, ...]


GROUPS = (
    Group(
        "keeping",
        "How long things are kept",
        "A turn that nobody judges in time is deleted. Verdicts and memories stay as long as you say here.",
        ("ttl_days", "retention_days", "feedback_link_days", "decision_days", "span_days"),
    ),
    Group(
        "queue",
        "The queue",
        "How turns are handed out to reviewers.",
        ("claim_minutes", "random_share", "double_share", "double_verdicts", "gold_share"),
    ),
    Group(
        "memories",
        "Memories",
        "Corrections become memories, which agents look up before they answer.",
        ("memory_threshold",),
    ),
    Group(
        "limits",
        "Limits",
        "What one client may send. Longer texts are cut and marked; requests beyond the rate are refused and counted "
        "on the overview.",
        ("question_limit", "response_limit", "rate_per_second", "rate_burst", "reports_per_day"),
    ),
    Group(
        "privacy",
        "Privacy",
        "Personal data is masked before anything is stored. What was stored earlier stays as it is.",
        ("mask", "mask_patterns"),
    ),
    Group(
        "blame",
        "Whose fault a failure is",
        "A verdict counts against the path that was taken as far as its root cause is the path's doing: 0 is not at "
        "all, 1 is wholly.",
        ("blame",),
    ),
    Group(
        "authority",
        "Whom to believe",
        "Where sources disagree about the same answer, the stronger one counts.",
        ("authority",),
    ),
)

WORDS: dict[str, tuple[str, str]] = {
    "ttl_days": ("Days until an unseen turn expires", "Counted from when it was logged."),
    "retention_days": ("Days a judged turn is kept", "Leave empty to keep judged and dismissed turns for good."),
    "feedback_link_days": ("Days a feedback link can be answered", "Leave empty for as long as a turn waits."),
    "decision_days": ("Days a routing decision is kept", "Outcomes stay: only the record of the choice goes."),
    "claim_minutes": ("Minutes a claim lasts", "An open page renews its claim; this is how long a lost one blocks."),
    "random_share": (
        "Share of claims drawn at random",
        "0 to 1. Random turns make figures unbiased: 0.05 draws one turn in twenty.",
    ),
    "memory_threshold": (
        "Likeness that updates a memory",
        "0.5 to 1. A correction at least this like an earlier one updates its memory instead of making another.",
    ),
    "question_limit": ("Bytes kept of a question", ""),
    "response_limit": ("Bytes kept of a response", ""),
    "rate_per_second": ("Requests a second for each key", ""),
    "rate_burst": ("Requests a key may send at once", "Short peaks up to this many are let through."),
    "mask": ("Masked in every text", ""),
    "mask_patterns": (
        "Further patterns to mask",
        "Regular expressions as RE2 spells them, without looking ahead, behind or back, one a line, at most 20. "
        "What they match is replaced in every text.",
    ),
    "span_days": ("Days a call's span is kept", "Its cost and time stay with the outcome of its trace."),
    "double_share": (
        "Share of turns that several judge",
        "0 to 1. None of them sees what the others say; where they disagree an owner decides.",
    ),
    "double_verdicts": ("Verdicts that such a turn needs", ""),
    "gold_share": (
        "Share of claims that bring a gold turn",
        "0 to 0.5. Gold turns have a known answer and look like any other turn; Quality says how often it is given.",
    ),
    "reports_per_day": (
        "Requests a day that report outcomes",
        "Signals and spans among them. More are answered, set aside, and counted on the overview.",
    ),
    "widget_accent": ("Colour", "Six digits such as #4b4bc8. It is made darker or lighter until it can be read."),
    "widget_origins": (
        "Origins that may show it in a frame",
        "One a line, such as https://app.example.com; none allows no frame.",
    ),
    "feedback_per_link": ("Answers a minute from one link", ""),
    "feedback_per_address": ("Answers a minute from one address", ""),
    "feedback_per_project": ("Answers a minute from all links", ""),
}
CHOICES = {
    "mask": {"email": "E-mail addresses", "phone": "Phone numbers", "card": "Card numbers", "ip": "IP addresses"},
}
LADDERS = {
    "authority": {
        "provider": "Provider's own report",
        "inferred": "Inferred from behaviour",
        "user": "End user",
        "action": "What the user did next",
        "review": "Reviewer",
    }
}
TABLES = {
    "blame": {"context": "Context was wrong", "prompt": "Prompt", "model": "Model", "tool": "Tool"},
}
PLACES = ("Weakest", "Second", "Third", "Fourth", "Strongest")


# --- how a setting is asked for -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """One setting as fields of a form: how they begin, and what they say together. None stands for the default."""

    name: str

    @property
    def default(self) -> Any:
        return SETTINGS[self.name].default

    @property
    def words(self) -> tuple[str, str]:
        plain = self.name.replace("_", " ").capitalize()
        return WORDS.get(self.name, (plain, SETTINGS[self.name].help))

    def fields(self) -> dict[str, forms.Field]:
        raise NotImplementedError

    def initial(self, value: Any) -> dict[str, Any]:
        return {self.name: value}

    def value(self, said: Mapping[str, Any]) -> Any:
        return said[self.name]

    def change(self, said: Mapping[str, Any]) -> Any:
        value = self.value(said)
        return None if value == self.default or value in (None, "") else value


class Number(Asked):
    def fields(self) -> dict[str, forms.Field]:
        label, help_text = self.words
        whole = not isinstance(self.default, float)
        made = forms.IntegerField if whole else forms.FloatField
        widget = forms.NumberInput(attrs={"step": 1 if whole else "any", "class": "short"})
        if self.default is not None:
            help_text = f"{help_text} Default: {self.default:,}.".strip()
        return {self.name: made(label=label, help_text=help_text, required=False, widget=widget)}


class Flag(Asked):
    def fields(self) -> dict[str, forms.Field]:
        label, help_text = self.words
        return {self.name: forms.BooleanField(label=label, help_text=help_text, required=False)}


class Line(Asked):
    def fields(self) -> dict[str, forms.Field]:
        label, help_text = self.words
        return {self.name: forms.CharField(label=label, help_text=help_text, required=False)}


class Lines(Asked):
    def fields(self) -> dict[str, forms.Field]:
        label, help_text = self.words
        widget = forms.Textarea(attrs={"rows": 4, "class": "mono", "spellcheck": "false"})
        return {self.name: forms.CharField(label=label, help_text=help_text, required=False, widget=widget)}

    def initial(self, value: Any) -> dict[str, Any]:
        return {self.name: "\n".join(value)}

    def value(self, said: Mapping[str, Any]) -> Any:
        return [line.strip() for line in said[self.name].splitlines() if line.strip()]


class Several(Asked):
    def fields(self) -> dict[str, forms.Field]:
        label, help_text = self.words
        choices = list(CHOICES[self.name].items())
        widget = forms.CheckboxSelectMultiple
        field = forms.MultipleChoiceField(
            label=label, help_text=help_text, required=False, choices=choices, widget=widget
        )
        return {self.name: field}


class Text(Asked):
    """What has no better form: as JSON."""

    def fields(self) -> dict[str, forms.Field]:
        label, help_text = self.words
        widget = forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"})
        return {self.name: forms.JSONField(label=label, help_text=help_text, required=False, widget=widget)}


class Table(Asked):
    def fields(self) -> dict[str, forms.Field]:
        widget = forms.NumberInput
        return {
            f"{self.name}.{part}": forms.FloatField(
                label=label,
                required=False,
                widget=widget(attrs={"step": "any", "class": "short"}),
                help_text=f"Default: {self.default[part]:g}.",
            )
            for part, label in TABLES[self.name].items()
        }

    def initial(self, value: Any) -> dict[str, Any]:
        return {f"{self.name}.{part}": value[part] for part in TABLES[self.name]}

    def value(self, said: Mapping[str, Any]) -> Any:
        given = {part: said[f"{self.name}.{part}"] for part in TABLES[self.name]}
        return {part: self.default[part] if amount is None else amount for part, amount in given.items()}


class Ladder(Asked):
    def fields(self) -> dict[str, forms.Field]:
        choices = list(LADDERS[self.name].items())
        return {
            f"{self.name}.{place}": forms.ChoiceField(label=label, choices=choices)
            for place, label in enumerate(PLACES, 1)
        }

    def initial(self, value: Any) -> dict[str, Any]:
        return {f"{self.name}.{place}": source for place, source in enumerate(value, 1)}

    def value(self, said: Mapping[str, Any]) -> Any:
        return [said[f"{self.name}.{place}"] for place, _ in enumerate(PLACES, 1)]


def asked(name: str) -> Asked:
    default = SETTINGS[name].default
    named = ((CHOICES, Several), (LADDERS, Ladder), (TABLES, Table))
    for names, kind in named:
        if name in names:
            return kind(name)
    if isinstance(default, bool):
        return Flag(name)
    if default is None or isinstance(default, int | float):
        return Number(name)
    if isinstance(default, str):
        return Line(name)
    is_lines = isinstance(default, list) and all(isinstance(one, str) for one in default)
    return Lines(name) if is_lines else Text(name)


# --- forms ----------------------------------------------------------------------------------------------------


class NameForm(forms.Form):
    name = forms.CharField(
        label="Name", max_length=100, help_text="What people see. Addresses and clients keep the short name."
    )


class SettingsForm(forms.Form):
    """One group's settings."""

    def __init__(self, group: Group, project: Project, data: Any = None) -> None:
        self.group = group
        self.asked = [asked(name) for name in group.names]
        initial = {key: text for one in self.asked for key, text in one.initial(project.setting(one.name)).items()}
        super().__init__(data, initial=initial, auto_id=f"{group.slug}-%s")
        for one in self.asked:
            self.fields.update(one.fields())

    def changes(self) -> dict[str, Any]:
        """What `change_settings` takes: null goes back to the default."""
        return {one.name: one.change(self.cleaned_data) for one in self.asked}

    def show_refused(self, error: Invalid) -> None:
        """Each sentence at the first field of its setting, without the name that stands there anyway."""
        for name, sentence in error.fields.items():
            place = next((key for key in self.fields if key.partition(".")[0] == name), None)
            text = sentence.removeprefix(f"{name} ")
            self.add_error(place, text[:1].upper() + text[1:])


def groups() -> list[Group]:
    """All groups; settings without a place in one stand in the last."""
    placed = {name for group in GROUPS for name in group.names} | set(ELSEWHERE)
    rest = tuple(name for name in SETTINGS if name not in placed)
    return [*GROUPS, *([Group("more", "More", "", rest)] if rest else [])]
