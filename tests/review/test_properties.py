"""Laws of the pure parts: priority, folding, words."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentloop.parsing import clean
from review.intake import content_hash
from review.priority import NUMBER_CAP, explain, rank_of, signal_reasons
from review.words import MAX_WORD, folded, words

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SIGNALS = st.dictionaries(st.sampled_from(["confidence", "thumbs_down", "x"]) | st.text(), JSON, max_size=6)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@given(SIGNALS, st.dictionaries(st.text(), st.floats(-100, 100), max_size=3), st.floats(-100, 100))
def test_any_signals_have_finite_reasons(signals: dict[str, Any], weights: dict[str, float], default: float) -> None:
    reasons = signal_reasons(signals, weights, default)
    assert set(reasons) <= set(signals)
    assert all(points and abs(points) <= 100 * NUMBER_CAP and math.isfinite(points) for points in reasons.values())


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_lower_the_confidence_the_higher_the_priority(one: float, other: float) -> None:
    low, high = (signal_reasons({"confidence": c}, {}, 1).get("confidence", 0) for c in sorted((one, other)))
    assert low >= high


@given(st.dictionaries(st.text(), st.floats(-50, 50), max_size=5), st.integers(1, 10**6), TIMES, TIMES)
def test_an_explanation_adds_up(reasons: dict[str, float], occurrences: int, logged: datetime, now: datetime) -> None:
    now = max(now, logged)
    points = explain(reasons, occurrences, logged, now)
    waited = (now - logged) / timedelta(days=1)
    assert math.isclose(
        sum(amount for _, amount in points),
        sum(reasons.values()) + waited + math.log2(occurrences),
        abs_tol=0.01,
    )
    assert [abs(amount) for _, amount in points] == sorted((abs(amount) for _, amount in points), reverse=True)


@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(1, 1000), st.integers(1, 1000), TIMES, TIMES, TIMES)
def test_the_order_by_rank_is_the_order_by_priority_at_any_time(
    one: float, other: float, n: int, m: int, logged: datetime, logged_too: datetime, now: datetime
) -> None:
    now = max(now, logged, logged_too)

    def priority(points: float, times: int, at: datetime) -> float:
        return points + math.log2(times) + (now - at) / timedelta(days=1)

    ranked = rank_of(one, n, logged) - rank_of(other, m, logged_too)
    assert math.isclose(ranked, priority(one, n, logged) - priority(other, m, logged_too), abs_tol=1e-6)


@given(st.text(), st.text(), st.text(), st.text())
def test_contents_are_the_same_iff_they_fold_alike(q: str, r: str, q2: str, r2: str) -> None:
    q, r, q2, r2 = (clean(text) for text in (q, r, q2, r2))
    same = (folded(q), folded(r)) == (folded(q2), folded(r2))
    assert (content_hash(q, r) == content_hash(q2, r2)) == same


@given(st.text())
def test_case_and_space_fold_away(text: str) -> None:
    text = clean(text)
    assert folded(folded(text)) == folded(text)
    assert folded(f" \n{text}\t ") == folded(text)
    assert content_hash(folded(text), "") == content_hash(text, "")


@given(st.text(max_size=300))
def test_words_are_few_short_and_plain(text: str) -> None:
    found = words(clean(text))
    assert len(found) == len(set(found))
    assert all(0 < len(word) <= MAX_WORD and not set(word) & set("'\\ \n&|!():*<>") for word in found)


@given(st.text(max_size=100))
def test_a_text_has_the_words_of_its_parts_in_any_case(text: str) -> None:
    text = clean(text)
    assert set(words(text)) <= set(words(f"before {text} after"))
    assert words(text.upper().lower()) == words(text.upper())
