import math

import pytest

from routing.engine.categories import (
    FAILURE_CATEGORIES,
    UnknownCategory,
    blame,
    category_of_reason,
    checked_category,
)
from routing.engine.evidence import Source
from routing.engine.readings import Reading, read_signal, read_verdict


@pytest.mark.parametrize(
    ("reason", "category"),
    [
        ("provider_error: RateLimitError", "rate_limited"),
        ("provider_error: TimeoutError", "timeout"),
        ("provider_error: APITimeoutError", "timeout"),
        ("provider_error: AuthenticationError", "auth_error"),
        ("provider_error: PermissionDeniedError", "auth_error"),
        ("provider_error: ContextLengthExceeded", "context_exceeded"),
        ("provider_error: context_length_exceeded", "context_exceeded"),
        ("provider_error: InternalServerError", "provider_error"),
        ("quality_fail", "validation_failed"),
        ("quality_fail_after_repair", "validation_failed"),
        ("timeout", "timeout"),
        ("something odd", "unknown"),
        ("", None),
        (None, None),
    ],
)
def test_a_reason_gives_its_category_away(reason, category):
    assert category_of_reason(reason) == category


def test_an_unknown_category_is_refused_with_the_list():
    with pytest.raises(UnknownCategory) as refusal:
        checked_category("gremlins")
    assert all(category in str(refusal.value) for category in FAILURE_CATEGORIES)
    assert (checked_category("healed"), checked_category(None)) == ("healed", None)


@pytest.mark.parametrize(
    ("root_cause", "share"), [("model", 1.0), ("tool", 1.0), ("prompt", 0.5), ("context", 0.0), (None, 1.0)]
)
def test_the_root_cause_sets_the_blame(root_cause, share):
    assert blame(root_cause) == share


def test_verdicts_as_evidence():
    assert read_verdict("correct") == Reading(Source.REVIEW, True, 1.0, attribution=1.0)
    assert read_verdict("partial", rubric_score=0.7) == Reading(Source.REVIEW, True, 0.7, attribution=1.0)
    wrong_tool = read_verdict("incorrect", root_cause="tool")
    assert (wrong_tool.score, wrong_tool.failure_category, wrong_tool.attribution) == (0.0, "tool_error", 1.0)
    assert read_verdict("incorrect", root_cause="context").failure_category == "validation_failed"
    assert read_verdict("incorrect", failure_category="timeout").failure_category == "timeout"
    said_by_user = read_verdict("incorrect", by_end_user=True)
    assert (said_by_user.source, said_by_user.failure_category) == (Source.USER, "user_unsatisfied")
    assert read_verdict("incorrect", root_cause="prompt", blame_table={"prompt": 0.2}).attribution == 0.2


@pytest.mark.parametrize(
    ("signal", "source", "success", "score"),
    [
        ({"signal_type": "user_rejected", "signal_source": "user_implicit"}, "inferred", False, 0.0),
        ({"signal_type": "user_accepted", "signal_source": "user_explicit"}, "user", True, 1.0),
        (
            {
                "signal_type": "user_accepted",
                "signal_source": "user_explicit",
                "raw_evidence": "session_end_inferred",
            },
            "inferred",
            True,
            1.0,
        ),
        ({"signal_type": "output_edited", "signal_source": "downstream"}, "action", False, 0.4),
        ({"signal_type": "edit_small", "strength": 0.8}, "action", True, 0.8),
        ({"signal_type": "never_heard_of", "strength": 0.7}, "inferred", True, 0.7),
        ({"signal_type": "never_heard_of", "strength": 7.0}, "inferred", True, 1.0),
    ],
)
def test_signals_as_evidence(signal, source, success, score):
    reading = read_signal(**signal)
    assert (reading.source.value, reading.success, reading.score) == (source, success, score)


@pytest.mark.parametrize(
    "signal",
    [
        {"signal_type": "pipeline_anchor", "signal_source": "pipeline", "strength": 1.0},
        {"signal_type": "never_heard_of", "strength": 0.5},
        {"signal_type": "never_heard_of"},
        {"signal_type": "never_heard_of", "strength": math.nan},
    ],
)
def test_some_signals_say_nothing(signal):
    assert read_signal(**signal) is None
