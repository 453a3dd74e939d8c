"""What is read from users' messages: the stated figures, and the cases that a reader of words gets wrong."""

import re
import time
from collections import Counter

import pytest
from agentloop_client.signals import Reading, classify
from agentloop_client.signals import _classifier as classifier
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import signals as measured


def kind_of(message: str) -> str:
    reading = classify(message)
    return "correction" if reading.is_correction else reading.kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("I know", "continue"),
        ("not bad", "accept"),
        ("no problem, thanks", "accept"),
        ("can't complain", "accept"),
        ("can’t complain", "accept"),
        ("not good", "reject"),
        ("doesn't work", "reject"),
        ("Thanks, but that's wrong", "reject"),
        ("Actually, I meant Thursday", "correction"),
        ("now do the same for the other file", "continue"),
        ("What is the best month to visit Peru?", "continue"),
        ("My printer doesn't work, what now?", "continue"),
        ("👍", "accept"),
        ("👎🏽", "reject"),
        ("pas mal !", "accept"),
        ("c'est pas bon", "reject"),
        ("nicht schlecht", "accept"),
        ("das hilft nicht", "reject"),
        ("nada mal", "accept"),
        ("no funciona", "reject"),
        ("nao funciona", "reject"),
        ("não foi isso que pedi", "reject"),
    ],
)
def test_what_a_message_says(message: str, kind: str) -> None:
    assert kind_of(message) == kind


def test_words_are_whole() -> None:
    """The "no" of "know" and the "bad" of "badge" say nothing."""
    assert classifier.features("know") == classifier.features("xxxx")
    assert "blame" not in classifier.features("the badge")


def test_quoted_text_is_not_the_users_word() -> None:
    assert "praise" not in classifier.features('Translate "this is perfect" into Dutch')


@given(st.text(max_size=2000))
def test_any_text_is_read(message: str) -> None:
    reading = classify(message)
    assert reading.kind in ("accept", "reject", "continue")
    assert 0 < reading.confidence <= 1
    assert sum(classifier.probabilities(message)) == pytest.approx(1)


def test_case_and_spelling_of_accents_change_nothing() -> None:
    assert classify("NÃO FUNCIONA") == classify("não funciona") == classify("na\u0303o funciona")


def test_of_a_long_message_the_ends_are_read() -> None:
    paste = "lorem ipsum dolor sit amet " * 500
    assert classifier.features(f"this is wrong. {paste}").get("failed") == 1
    assert classifier.features(f"{paste}. this is wrong").get("failed") == 1


def test_an_empty_message_says_nothing_sure() -> None:
    assert isinstance(classify(""), Reading)
    assert classify("").confidence < measured.SURE


def test_the_stated_figures_hold_on_the_test_part() -> None:
    """docs/clients.md states them; benchmarks/signals.py prints them."""
    rows = measured.read_by_ours(measured.messages("test"))
    right, given = measured.precision(rows)
    found, there = measured.recall(rows)
    assert right / given >= 0.94
    assert found / there >= 0.44
    right, given = measured.precision(rows, measured.SENT)
    found, there = measured.recall(rows, measured.SENT)
    assert right / given >= 0.92
    assert found / there >= 0.62
    assert measured.calibration_error(rows) <= 0.06
    for _, count, claimed, share in measured.calibration(rows):
        assert abs(claimed - share) < 0.2 or count < 20


def test_a_correction_is_told_from_another_rejection() -> None:
    right, sent, there = measured.corrections(measured.messages("test"))
    assert right / sent >= 0.9
    assert right / there >= 0.75


def test_the_labelled_messages_are_what_they_should_be() -> None:
    rows = measured.messages("development") + measured.messages("test")
    texts = Counter(row["text"].lower() for row in rows)
    assert len(rows) >= 400
    assert [text for text, count in texts.items() if count > 1] == []
    for part in ("development", "test"):
        assert {(row["language"], row["label"]) for row in rows if row["part"] == part} == {
            (language, label) for language in ("en", "es", "pt", "fr", "de") for label in classifier.LABELS
        }


def test_a_phrase_is_one_cue() -> None:
    phrases = Counter(" ".join(words) for _, words in classifier.cue_phrases())
    assert [phrase for phrase, count in phrases.items() if count > 1] == []
    assert all(re.fullmatch(r"[^'A-Z]+", phrase) for phrase in phrases)


def test_it_takes_less_than_a_tenth_of_a_millisecond() -> None:
    texts = [row["text"] for row in measured.messages("test")]
    times = []
    for _ in range(15):
        begun = time.thread_time()
        for text in texts:
            classify(text)
        times.append(time.thread_time() - begun)
    assert min(times) / len(texts) < 100e-6
