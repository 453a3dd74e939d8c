"""What a verdict or a signal says, in the words of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from routing.engine.categories import BLAME, blame, category_of_root_cause, checked_category
from routing.engine.evidence import Source


@dataclass(frozen=True, slots=True)
class Reading:
    """An evidence row's content, still without its key, path and time."""

    source: Source
    success: bool | None
    score: float | None
    confidence: float = 1.0
    failure_category: str | None = None
    attribution: float | None = None


RATINGS: Mapping[str, tuple[bool, float]] = MappingProxyType(
    {"correct": (True, 1.0), "partial": (True, 0.5), "incorrect": (False, 0.0)}
)

ACTION_STRENGTHS: Mapping[str, float] = MappingProxyType(
    {"output_used_verbatim": 1.0, "output_copied": 0.9, "output_edited": 0.4, "output_discarded": 0.0}
)
ACTIONS = frozenset(
    {*ACTION_STRENGTHS, "downstream", "downstream_use", "edit_small", "edit_large", "abandonment", "retry"}
)
USER_WORDS: Mapping[str, float] = MappingProxyType({"user_rejected": 0.0, "user_accepted": 1.0})
ANCHOR = "pipeline_anchor"
SAYS_NOTHING = 0.5


def read_verdict(
    rating: str,
    *,
    by_end_user: bool = False,
    rubric_score: float | None = None,
    root_cause: str | None = None,
    failure_category: str | None = None,
    blame_table: Mapping[str, float] = BLAME,
) -> Reading:
    """A verdict always states its attribution, so that a later one lifts an earlier one's."""
    success, score = RATINGS[rating]
    category = checked_category(failure_category)
    if category is None and not success:
        category = "user_unsatisfied" if by_end_user else category_of_root_cause(root_cause)
    return Reading(
        source=Source.USER if by_end_user else Source.REVIEW,
        success=success,
        score=score if rubric_score is None else rubric_score,
        failure_category=category,
        attribution=blame(root_cause, blame_table),
    )


def read_signal(
    signal_type: str,
    *,
    signal_source: str | None = None,
    strength: float | None = None,
    confidence: float | None = None,
    raw_evidence: str | None = None,
) -> Reading | None:
    """A signal as evidence; None for one that says nothing: an anchor, or a strength of exactly 0.5."""
    said = _strength(signal_type, strength)
    if signal_type == ANCHOR or said == SAYS_NOTHING:
        return None
    success = said > SAYS_NOTHING
    return Reading(
        source=_source(signal_type, signal_source, raw_evidence),
        success=success,
        score=said,
        confidence=1.0 if confidence is None else min(1.0, max(0.0, confidence)),
        failure_category=None if success else "user_unsatisfied",
    )


def _strength(signal_type: str, strength: float | None) -> float:
    """A user's plain word and a known action count by their names where no strength came along."""
    if strength is None:
        return USER_WORDS.get(signal_type, ACTION_STRENGTHS.get(signal_type, SAYS_NOTHING))
    return min(1.0, max(0.0, strength)) if strength == strength else SAYS_NOTHING


def _source(signal_type: str, signal_source: str | None, raw_evidence: str | None) -> Source:
    if signal_source == "downstream" or signal_type in ACTIONS:
        return Source.ACTION
    if signal_source == "user_explicit" and raw_evidence != "session_end_inferred":
        return Source.USER
    return Source.INFERRED
