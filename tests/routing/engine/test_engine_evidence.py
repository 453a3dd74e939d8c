import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine.evidence import LADDER, Evidence, Outcome, Source, outcome
from routing.engine.histogram import EMPTY, contribution

PROVIDER, INFERRED, USER, ACTION, REVIEW = LADDER


def row(key, source, at, **said):
    return Evidence(key=key, source=source, occurred_at=at, **said)


maybe = st.none() | st.sampled_from([0.0, 0.25, 1.0])
ledgers = st.lists(
    st.builds(
        Evidence,
        key=st.uuids().map(str),
        source=st.sampled_from(LADDER),
        occurred_at=st.sampled_from([1.0, 2.0, 3.0]),
        success=st.none() | st.booleans(),
        score=maybe,
        confidence=st.sampled_from([0.5, 1.0]),
        failure_category=st.sampled_from([None, "timeout", "healed"]),
        attribution=maybe,
        decided_at=st.none() | st.just(0.5),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(ledgers, st.data())
def test_the_outcome_depends_on_the_set_alone(rows, data):
    withdrawal = Evidence(key="w", source=REVIEW, occurred_at=9.0, withdraws=rows[0].key)
    ledger = [*rows, withdrawal]
    doubled = data.draw(st.permutations(ledger + data.draw(st.lists(st.sampled_from(ledger)))))
    assert outcome(doubled) == outcome(ledger)


@settings(deadline=None)
@given(ledgers)
def test_withdrawing_a_row_is_as_if_it_said_nothing(rows):
    retracted = [
        *rows[1:],
        row(rows[0].key, rows[0].source, rows[0].occurred_at, decided_at=rows[0].decided_at),
    ]
    withdrawn = [*rows, row("w", REVIEW, 9.0, withdraws=rows[0].key)]
    assert outcome(withdrawn) == outcome(retracted)


def test_the_strongest_source_that_states_a_success_wins():
    rows = [row("a", PROVIDER, 9.0, success=True), row("b", USER, 1.0, success=False), row("c", REVIEW, 2.0)]
    assert outcome(rows).success is False


def test_within_a_source_the_latest_wins_and_at_a_tie_the_larger_key():
    early, late = row("b", USER, 1.0, success=True), row("a", USER, 2.0, success=False)
    assert outcome([early, late]).success is False
    assert outcome([early, row("c", USER, 1.0, success=False)]).success is False


def test_a_score_comes_only_from_rows_that_agree_or_are_silent():
    rows = [
        row("a", PROVIDER, 1.0, success=True, score=0.9),
        row("b", INFERRED, 2.0, score=0.3),
        row("c", REVIEW, 3.0, success=False),
    ]
    assert outcome(rows).score == 0.3
    assert outcome([rows[0], rows[2]]).score is None
    assert outcome([rows[0], rows[2]]).value == 0.0


def test_the_confidence_is_that_of_the_row_that_gave_the_value():
    verdict, score = row("a", REVIEW, 1.0, success=True), row("b", INFERRED, 1.0, score=0.7, confidence=0.4)
    assert outcome([verdict, score]).confidence == 0.4
    assert outcome([verdict]).confidence == 1.0
    assert outcome([verdict, score]).source is INFERRED


def test_an_attribution_of_zero_takes_the_outcome_out_of_the_paths_state():
    rows = [row("a", PROVIDER, 1.0, success=True), row("b", REVIEW, 2.0, success=False, attribution=0.0)]
    known = outcome(rows)
    assert (known.success, known.weight, known.contribution) == (False, 0.0, contribution(0.0, 0.0))


def test_attribution_is_the_strongest_sources_word_and_one_if_none_says():
    rows = [row("a", REVIEW, 1.0, attribution=0.0), row("b", REVIEW, 2.0, success=True, attribution=1.0)]
    assert outcome(rows).attribution == 1.0
    assert outcome([row("a", USER, 1.0, success=True)]).attribution == 1.0


@pytest.mark.parametrize(
    ("success", "category", "kept"),
    [
        (True, "healed", "healed"),
        (True, "timeout", None),
        (False, "timeout", "timeout"),
        (None, "timeout", "timeout"),
    ],
)
def test_only_healed_goes_with_success(success, category, kept):
    assert outcome([row("a", USER, 1.0, success=success, failure_category=category)]).failure_category == kept


def test_a_withdrawal_leaves_what_others_said():
    rows = [
        row("a", PROVIDER, 1.0, success=True, decided_at=0.5),
        row("b", REVIEW, 2.0, success=False, attribution=0.5),
        row("c", REVIEW, 3.0, withdraws="b"),
    ]
    assert outcome(rows) == Outcome(at=0.5, success=True, source=PROVIDER)


def test_time_is_the_decisions_else_the_first_evidences():
    rows = [row("a", USER, 5.0, success=True), row("b", USER, 3.0, success=True)]
    assert outcome(rows).at == 3.0
    assert outcome([*rows, row("c", USER, 9.0, decided_at=1.0)]).at == 1.0


def test_a_project_may_reorder_the_ladder():
    rows = [row("a", USER, 1.0, success=True), row("b", REVIEW, 1.0, success=False)]
    assert outcome(rows, (PROVIDER, INFERRED, ACTION, REVIEW, USER)).success is True


def test_nothing_said_is_no_outcome_and_silence_has_no_value():
    assert outcome([]) is None
    silent = outcome([row("a", USER, 1.0)])
    assert (silent.value, silent.contribution) == (None, EMPTY)


def test_the_ladder_is_weakest_first():
    assert [source.value for source in Source] == ["provider", "inferred", "user", "action", "review"]
