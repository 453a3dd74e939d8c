"""What the kept text says of an answer, and what is hidden before a model reads a message."""

import difflib
import time

import pytest
from agentloop_client.signals import use_of
from agentloop_client.signals._masking import masked
from agentloop_client.signals._use import likeness_in
from hypothesis import given
from hypothesis import strategies as st

ANSWER = "Dear Ms Okafor, thank you for your order. It left our house today and will reach you on Monday. Kind regards"


@pytest.mark.parametrize(
    ("kept", "action"),
    [
        (ANSWER, "output_used_verbatim"),
        (ANSWER.upper() + "\n\n", "output_used_verbatim"),
        (f"Hello team, this goes out now. {ANSWER} Please keep a copy of it in the folder.", "output_copied"),
        (ANSWER.replace("Monday", "Tuesday"), "output_edited"),
        ("Dear Ms Okafor, thank you for your order. It is delayed, I am sorry to say.", "output_edited"),
        ("We regret that none of this can be delivered before the summer.", "output_discarded"),
        ("", "output_discarded"),
    ],
)
def test_what_was_done_with_an_answer(kept: str, action: str) -> None:
    assert use_of(ANSWER, kept).action == action


def test_a_lighter_edit_scores_higher() -> None:
    light = use_of(ANSWER, ANSWER.replace("Monday", "Tuesday"))
    heavy = use_of(ANSWER, "Dear Ms Okafor, thank you for your order. It is delayed, I am sorry to say.")
    assert 0.85 < light.score < 1
    assert 0.2 < heavy.score < 0.6


@given(st.text(), st.text())
def test_any_two_texts_compare(output: str, kept: str) -> None:
    seen = use_of(output, kept)
    assert 0 <= seen.score <= 1
    assert use_of(output, output).score == 1


def test_a_diff_says_what_the_texts_would() -> None:
    kept = ANSWER.replace("Monday", "Tuesday")
    diff = "\n".join(difflib.unified_diff(ANSWER.split(". "), kept.split(". "), lineterm=""))
    assert likeness_in(diff) == pytest.approx(use_of(ANSWER, kept).score, abs=0.05)
    assert likeness_in("no diff at all") is None


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("write to eve.o'neil@mail.example.com now", "write to eve.o'[email] now"),
        ("call +49 (0)30 123 45 67", "call [number]"),
        ("card 4111 1111 1111 1111, thanks", "card [number], thanks"),
        ("IBAN DE44 5001 0517 5407 3249 31 please", "IBAN [account] please"),
        ("key sk-proj-a8f3k2LmQ9zX7yT1wE5r", "key [key]"),
        ("from 192.168.10.27", "from [number]"),
        ("from 2001:db8::8a2e:370:7334", "from [ip]"),
        ("see https://example.com/reset?token=abc", "see [link]"),
        ("no, 450 instead of 540, in 2024", "no, 450 instead of 540, in 2024"),
    ],
)
def test_personal_data_is_masked(text: str, hidden: str) -> None:
    assert masked(text, 500) == hidden


@pytest.mark.parametrize("hostile", ["a-", "1 ", "a.", "a@", "x:", "DE44 ", "https://"])
def test_hostile_text_is_masked_and_compared_in_no_time(hostile: str) -> None:
    text = hostile * 200_000
    begun = time.thread_time()
    assert len(masked(text, 500)) <= 500
    use_of(text, text + "b")
    assert time.thread_time() - begun < 0.5
