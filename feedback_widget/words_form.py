"""The owners' own words for the feedback pages, as fields: a language at a time, each text with what stands without it.

What was typed for other languages travels along in the form until it is saved; only languages that were looked at
are written, so that two owners who word different ones don't undo each other's work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django import forms
from django.conf import settings
from django.http import QueryDict

from agentloop.models import Project
from feedback_widget.texts import RIGHT_TO_LEFT, texts_for

BEFORE, LANGUAGE, LANGUAGE_WANTED, DRAFTS = "word.", "words", "words_wanted", "words_typed"
EVERY = "*"
LANGUAGES = ((EVERY, "Every language"), *settings.LANGUAGES)
LONGEST, ONE_LINE = 300, 26

# Each text by where it stands; the texts themselves are in feedback_widget.texts.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "The form": {
        "title": "Heading",
        "question": "Above the question",
        "answer": "Above the answer",
        "show_all": "Unfolds a long text",
        "show_less": "Folds it again",
        "shortened": "Below a text that was cut",
        "yes": "It was right",
        "partly": "It was partly right",
        "no": "It was wrong",
        "comment": "Above the comment",
        "optional": "Beside what may stay empty",
        "send": "Button that sends",
        "send_change": "Button that sends a change",
        "choose": "When nothing was chosen",
        "quick": "When it was sent too fast",
    },
    "What was wrong": {
        "reasons": "Above the reasons",
        "wrong_facts": "Reason: facts",
        "missing": "Reason: incomplete",
        "off_topic": "Reason: off topic",
        "outdated": "Reason: out of date",
        "broken": "Reason: garbled",
        "unsuitable": "Reason: tone",
        "correction": "Above the correction",
    },
    "After sending": {
        "thanks": "Heading of the thanks",
        "received": "Below it",
        "you_said": "Before what was said",
        "change": "Link that changes it",
        "changeable": "How long it can be changed",
    },
    "When a link does not work": {
        f"{name}{part}": f"{label}: {'heading' if part else 'text'}"
        for name, label in {
            "forged": "Changed or cut off",
            "expired": "Expired",
            "revoked": "Withdrawn",
            "gone": "Answer deleted",
            "long": "Too long",
            "often": "Too often",
            "large": "Too much text",
            "trouble": "Our own trouble",
        }.items()
        for part in ("_title", "")
    },
}
LABELS = {name: label for group in GROUPS.values() for name, label in group.items()}
Words = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Drafted:
    """The words that stand, with what is typed over them: `typed` are the languages that were looked at."""

    language: str
    standing: Words
    typed: Words

    @classmethod
    def of(cls, project: Project, data: Any) -> "Drafted":
        given: Mapping[str, Any] = data or {}
        language = given.get(LANGUAGE, "")
        known = language if language in dict(LANGUAGES) else EVERY
        return cls(known, project.setting("widget_texts"), _typed(given.get(DRAFTS, "")))

    @property
    def own(self) -> dict[str, Mapping[str, str]]:
        return {**self.standing, **self.typed}

    def fields(self) -> dict[str, forms.CharField]:
        """One for each text. Its placeholder is what readers see while it is empty."""
        without = self._without()
        direction = "rtl" if self.language in RIGHT_TO_LEFT else "ltr"
        attrs = {"class": "input", "dir": direction, "autocomplete": "off"}
        if self.language != EVERY:
            attrs["lang"] = self.language
        return {
            BEFORE + name: forms.CharField(
                label=label,
                required=False,
                max_length=LONGEST,
                initial=self.own.get(self.language, {}).get(name, ""),
                widget=_widget(without[name], attrs),
            )
            for name, label in LABELS.items()
        }

    def _without(self) -> Mapping[str, str]:
        """The texts as they are where this language has no words of its own."""
        if self.language == EVERY:
            return texts_for(None, settings.LANGUAGE_CODE)
        return {**texts_for(None, self.language), **self.own.get(EVERY, {})}

    def with_said(self, said: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
        """All words that were typed, with those of the language that is shown. One without any is an empty one."""
        names = [name for name in LABELS if BEFORE + name in said]
        shown = {name: said[BEFORE + name] for name in names if said[BEFORE + name]}
        return {**self.typed, self.language: shown}

    def whole(self, said: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
        """What is to be kept."""
        return {language: texts for language, texts in {**self.standing, **self.with_said(said)}.items() if texts}


def _widget(without: str, attrs: Mapping[str, str]) -> forms.Widget:
    """Two lines where one would cut what stands there."""
    given = {**attrs, "placeholder": without}
    return forms.TextInput(given) if len(without) < ONE_LINE else forms.Textarea({**given, "rows": 2})


def _typed(text: str) -> Words:
    """What the form carried along. Anything else is nothing: the form itself wrote it."""
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    fits = isinstance(found, dict) and all(isinstance(texts, dict) for texts in found.values())
    return found if fits else {}


def turned_to(language: str, typed: Words, own: Words, data: Any) -> QueryDict:
    """The form's data as it is when another language is looked at: with its words, and what was typed carried along."""
    turned: QueryDict = data.copy()
    for name in LABELS:
        turned[BEFORE + name] = own.get(language, {}).get(name, "")
    turned[LANGUAGE], turned[DRAFTS] = language, orjson.dumps(typed).decode()
    return turned
