"""What an owner can set for a project: each setting's default, its bounds, and the sentence for a bad value."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentloop.errors import Invalid
from agentloop.patterns import problem_of

KB = 1024

DEFAULT_SIGNAL_WEIGHTS: dict[str, float] = {
    # Somebody said so.
    "thumbs_down": 5.0,
    "user_feedback": 5.0,
    "user_correction": 5.0,
    "escalation_requested": 5.0,
    # What happened afterwards.
    "reverted_quickly": 4.0,
    "recurrence": 3.0,
    # What the answer looks like.
    "rephrase": 3.0,
    "agent_punted": 2.0,
    "factual_claim": 1.0,
    "low_confidence": 3.0,
    "confidence": 3.0,
    # Numbers, counted as they are up to their cap.
    "gap_hours": 0.0,
    "thumbs_up": -1.0,
    "random_sample": 0.5,
}

# What an owner can word anew; the texts themselves stand in feedback_widget.texts.
WIDGET_TEXTS = (
    "title",
    "question",
    "answer",
    "show_all",
    "show_less",
    "shortened",
    "yes",
    "partly",
    "no",
    "reasons",
    "wrong_facts",
    "missing",
    "off_topic",
    "outdated",
    "broken",
    "unsuitable",
    "correction",
    "comment",
    "optional",
    "send",
    "send_change",
    "choose",
    "quick",
    "thanks",
    "received",
    "you_said",
    "change",
    "changeable",
    "forged_title",
    "forged",
    "expired_title",
    "expired",
    "revoked_title",
    "revoked",
    "gone_title",
    "gone",
    "long_title",
    "long",
    "often_title",
    "often",
    "large_title",
    "large",
    "trouble_title",
    "trouble",
)

SOURCES = ("provider", "inferred", "user", "action", "review")
ROOT_CAUSES = ("context", "prompt", "model", "tool")


@dataclass(frozen=True, slots=True)
class Setting:
    default: Any
    check: Callable[[Any], str | None]
    help: str


def _whole(low: int, high: int, *, or_none: bool = False) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if or_none and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            return f"takes a whole number from {low} to {high}" + (", or null" if or_none else "")
        return None

    return check


def _share(low: float, high: float) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return f"takes a number from {low:g} to {high:g}"
        return None

    return check


def _weights(value: Any) -> str | None:
    fits = isinstance(value, dict) and len(value) <= 200 and all(len(name) <= 200 for name in value)
    if not fits or not all(_share(-100, 100)(amount) is None for amount in value.values()):
        return "takes an object of at most 200 signals, each with a number from -100 to 100"
    return None


def _blame(value: Any) -> str | None:
    fits = isinstance(value, dict) and set(value) <= set(ROOT_CAUSES)
    if not fits or not all(_share(0, 1)(amount) is None for amount in value.values()):
        return f"takes an object with numbers from 0 to 1 for {', '.join(ROOT_CAUSES)}"
    return None


def _ladder(value: Any) -> str | None:
    if not isinstance(value, list) or sorted(map(str, value)) != sorted(SOURCES):
        return f"takes the five sources, weakest first: {', '.join(SOURCES)}"
    return None


_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-]+(:\d{1,5})?\Z|https?://\[[0-9a-fA-F:]+\](:\d{1,5})?\Z")


def _origins(value: Any) -> str | None:
    fits = isinstance(value, list) and len(value) <= 50
    if not fits or not all(isinstance(origin, str) and _ORIGIN.match(origin) for origin in value):
        return "takes a list of at most 50 origins such as https://app.example.com, without a path"
    return None


_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_LOGO = re.compile(r"data:image/(png|jpeg|webp|gif|svg\+xml);base64,[A-Za-z0-9+/]+={0,2}\Z")
_LANGUAGE = re.compile(r"\*\Z|[a-z]{2,3}(-[a-z]{2,8})?\Z")


def _colour(value: Any) -> str | None:
    fits = isinstance(value, str) and _COLOUR.match(value)
    return None if fits else "takes a colour such as #4b4bc8"


def _logo(value: Any) -> str | None:
    """In the page itself, so that opening a link asks no other server for anything."""
    fits = value == "" or (isinstance(value, str) and len(value) <= 8 * KB and _LOGO.match(value))
    return None if fits else "takes an image of at most 6 kB as data:image/png;base64,… (or svg+xml, jpeg, webp, gif)"


def _texts(value: Any) -> str | None:
    shape = 'takes an object of languages, each with texts by name, such as {"*": {"title": "Did this help?"}}'
    if not isinstance(value, dict) or len(value) > 20 or not all(_LANGUAGE.match(language) for language in value):
        return shape
    for texts in value.values():
        if not isinstance(texts, dict) or not all(
            isinstance(text, str) and 0 < len(text) <= 300 for text in texts.values()
        ):
            return f"{shape}, of at most 300 characters"
        if unknown := sorted(set(texts) - set(WIDGET_TEXTS)):
            return f"has no text called {unknown[0]}: there are {', '.join(WIDGET_TEXTS)}"
    return None


_MASKS = ("email", "phone", "card", "ip")


def _masking(value: Any) -> str | None:
    if not isinstance(value, list) or not all(kind in _MASKS for kind in value):
        return f"takes a list out of {', '.join(_MASKS)}"
    return None


def _patterns(value: Any) -> str | None:
    shape = "takes a list of at most 20 regular expressions of at most 200 characters"
    if not isinstance(value, list) or len(value) > 20:
        return shape
    for pattern in value:
        if not isinstance(pattern, str) or not 0 < len(pattern) <= 200:
            return shape
        if problem := problem_of(pattern):
            return f"has a pattern that cannot be used: {problem}"
    return None


SETTINGS: dict[str, Setting] = {
    "ttl_days": Setting(30, _whole(1, 3650), "Days until a turn that nobody reviewed expires."),
    "retention_days": Setting(
        None, _whole(1, 3650, or_none=True), "Days a reviewed or dismissed turn is kept; null keeps it."
    ),
    "signal_weights": Setting({}, _weights, "Points of priority for each signal, over the shipped ones."),
    "default_signal_weight": Setting(1.0, _share(-100, 100), "Points for a signal that has no weight."),
    "question_limit": Setting(32 * KB, _whole(100, 1024 * KB), "Bytes of a question that are kept."),
    "response_limit": Setting(128 * KB, _whole(100, 1024 * KB), "Bytes of a response that are kept."),
    "rate_per_second": Setting(1000, _whole(1, 100_000), "Requests a second for each key."),
    "rate_burst": Setting(5000, _whole(1, 1_000_000), "Requests that a key may send at once."),
    "reports_per_day": Setting(
        10_000_000,
        _whole(1, 10_000_000_000),
        "Requests a day that report outcomes, signals and spans; more are answered, counted and set aside.",
    ),
    "claim_minutes": Setting(10, _whole(1, 240), "How long a claim lasts without a heartbeat."),
    "random_share": Setting(
        0.05, _share(0, 1), "Share of claims drawn at random, so that reviews hold an unbiased sample."
    ),
    "double_share": Setting(
        0.0, _share(0, 1), "Share of turns that several reviewers judge, none of them seeing what the others say."
    ),
    "double_verdicts": Setting(2, _whole(2, 5), "How many verdicts such a turn needs."),
    "gold_share": Setting(
        0.0, _share(0, 0.5), "Share of a reviewer's claims that bring a gold turn, whose right verdict is known."
    ),
    "memory_threshold": Setting(
        0.95, _share(0.5, 1), "Likeness from which a correction updates a memory instead of making one."
    ),
    "blame": Setting(
        {"context": 0.0, "prompt": 0.5, "model": 1.0, "tool": 1.0},
        _blame,
        "How much of a failure is the path's doing, by root cause.",
    ),
    "decision_days": Setting(90, _whole(1, 3650), "Days a routing decision is kept; outcomes stay."),
    "span_days": Setting(
        90, _whole(1, 3650), "Days a call's span is kept; its cost and time stay with the outcome of its trace."
    ),
    "authority": Setting(list(SOURCES), _ladder, "The sources of evidence, weakest first."),
    "widget_origins": Setting([], _origins, "Origins that may show the feedback form in a frame."),
    "widget_accent": Setting(
        "#4b4bc8", _colour, "The feedback form's colour, made darker or lighter until it can be read."
    ),
    "widget_logo": Setting("", _logo, "A small logo for the feedback form, as a data: address."),
    "widget_texts": Setting({}, _texts, "Own words for the feedback form, by language and name."),
    "feedback_per_link": Setting(10, _whole(1, 1000), "Answers a minute that one feedback link may send."),
    "feedback_per_address": Setting(60, _whole(1, 100_000), "Answers a minute that one address may send."),
    "feedback_per_project": Setting(3000, _whole(1, 1_000_000), "Answers a minute that all links together may send."),
    "feedback_link_days": Setting(
        None, _whole(1, 3650, or_none=True), "Days a feedback link can be answered; null is as long as a turn waits."
    ),
    "mask": Setting([], _masking, "Personal data that is masked before anything is stored."),
    "mask_patterns": Setting([], _patterns, "Further patterns that are masked, as RE2 spells them."),
}


def setting(stored: Mapping[str, Any], name: str) -> Any:
    """A project's value of a setting, or the shipped one. A table a project changed in part keeps the rest."""
    default = SETTINGS[name].default
    if name in stored and isinstance(default, dict):
        return {**default, **stored[name]}
    return stored.get(name, default)


def check_settings(changes: Mapping[str, Any]) -> None:
    """Raises Invalid, naming every setting that is unknown or out of bounds."""
    problems = {}
    for name, value in changes.items():
        known = SETTINGS.get(name)
        problem = known.check(value) if known else f"is not a setting; there are {', '.join(SETTINGS)}"
        if problem:
            problems[name] = f"{name} {problem}."
    if problems:
        raise Invalid(next(iter(problems.values())), fields=problems)
