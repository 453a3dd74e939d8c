"""Personal data masked at intake, before anything is stored."""

import logging
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentloop.masking import MARGIN, masked_head, masker
from agentloop.models import Project
from review.models import Annotation, Draft, Memory
from tests.review.support import Caller, turn_of

ALL = ("email", "phone", "card", "ip")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("write to ann.o'neil+x@mail.example.co.uk.", "write to ann.o'[email]."),
        ("<bob@example.com>", "<[email]>"),
        ("card 4111 1111 1111 1111 please", "card [card] please"),
        ("4111-1111-1111-1111", "[card]"),
        ("4111111111111111", "[card]"),
        ("378282246310005", "[card]"),
        ("call +49 151 23456789", "call [phone]"),
        ("call +4915123456789 now", "call [phone] now"),
        ("(030) 1234-5678", "[phone]"),
        ("555-123-4567", "[phone]"),
        ("from 192.168.0.1", "from [ip]"),
        ("2001:db8::8a2e:370:7334, ::1", "[ip], [ip]"),
        ("fe80:0:0:0:1:2:3:4", "[ip]"),
    ],
)
def test_masks(text: str, kept: str) -> None:
    mask = masker(ALL, ())
    assert mask is not None
    assert mask(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "due 2026-01-31 or 31.01.2026 or 1/2/2026",
        "it costs 1,234.56 or 1.234,56 or 1234567.89 EUR",
        "order 4111111111111112",
        "id 12345678901234567890123",
        "trace 018f6e2a7b3c4d5e8f90123456789abc",
        "uuid 018f6e2a-7b3c-4d5e-8f90-123456789abc",
        "version 1.2.3, 10.4.1",
        "at 12:30:45 today",
        "std::vector",
        "in 2026 we sold 15 000 pieces",
        "@mention and a@b",
    ],
)
def test_leaves(text: str) -> None:
    mask = masker(ALL, ())
    assert mask is not None
    assert mask(text) == text


def test_masks_nothing_unless_asked() -> None:
    assert masker((), ()) is None


@pytest.mark.parametrize(
    ("pattern", "text", "kept"),
    [
        ("ACME-[0-9]+", "order ACME-77, ACME-8", "order [masked], [masked]"),
        (r"(?i)acme-\d+", "Acme-77", "[masked]"),
        # Words, digits and spaces are those of every language, as they were with Python's own patterns.
        (r"\bkunde \w+\b", "kunde José, kunde Мария", "[masked], [masked]"),
        (r"\bAnn\b", "Ann, Änn, Anné, éAnn", "[masked], Änn, Anné, éAnn"),
        (r"\d{4}", "٣٤٥٦ and 1234", "[masked] and [masked]"),
        (r"no\s\d+", "no\u00a07", "[masked]"),
        ("[^\\W\\d_]+!", "é日本! 😀", "[masked] 😀"),
        ("José", "Hi José 😀 José", "Hi [masked] 😀 [masked]"),
        (r"\p{Cyrillic}+", "é Мария", "é [masked]"),
    ],
)
def test_masks_what_a_projects_pattern_matches(pattern: str, text: str, kept: str) -> None:
    mask = masker((), (pattern,))
    assert mask is not None
    assert mask(text) == kept


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(\w+\s?)*@x", "abcdefgh " * 2_000),
        (r"(a|a)*b", "a" * 20_000),
        # Each match is quick, and there are thousands, each of which looks for the z at the end.
        (r"a.*z|a", "a" * 40_000),
    ],
)
def test_no_pattern_takes_for_ever(pattern: str, text: str) -> None:
    mask = masker((), (pattern,))
    assert mask is not None
    began = time.thread_time()
    mask(text)
    assert time.thread_time() - began < 2


def test_what_a_pattern_has_no_time_for_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentloop.patterns.LEAST_SECONDS", -1)
    mask = masker((), ("ACME-[0-9]+", "7"))
    assert mask is not None
    assert mask("order ACME-77, then ACME-8") == "order [masked][masked]"
    assert mask("order ACME-, then") == "order ACME-, then"


def test_a_stored_pattern_that_cannot_be_used_is_left_out_and_told(
    call: Caller, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    project.settings |= {"mask_patterns": [r"(?<=no )\d+", "ACME-[0-9]+"]}
    project.save(update_fields=["settings"])
    with caplog.at_level(logging.WARNING, "agentloop.masking"):
        assert turn_of(call.log("no 7 of ACME-77")).question == "no 7 of [masked]"
    assert "is left out: it looks behind" in caplog.text
    assert masker((), (r"(?<=no )\d+",)) is None


WORDS = st.sampled_from(["a@b.com ", "5555 5555 5555 4444 ", "10.0.0.1", " word ", "é", "日本 ", "ACME-1", "\n"])


@given(st.lists(WORDS, max_size=60).map("".join), st.integers(1, 400))
def test_the_head_is_that_of_the_whole_masked_text(text: str, limit: int) -> None:
    mask = masker(ALL, ("ACME-[0-9]+",))
    assert mask is not None
    long = text + "x" * MARGIN + text
    for whole in (text, long):
        assert masked_head(whole, limit, mask)[:limit] == mask(whole)[:limit]


def test_megabytes_are_not_masked_to_be_cut() -> None:
    seen: list[int] = []

    def mask(text: str) -> str:
        seen.append(len(text))
        return text

    masked_head("x" * 5_000_000, 1_000, mask)
    assert seen == [1_000 + MARGIN]


def test_what_stands_across_the_cut_is_masked_whole(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(mask=list(ALL), question_limit=100, response_limit=100)
    text = "x" * 88 + " 5555 5555 5555 4444 " + "y" * 3 * MARGIN
    turn = turn_of(call.log(text, "ann@example.com " * MARGIN))
    assert (turn.question, turn.truncated) == ("x" * 88 + " [card] yyyy", ["question", "response"])
    assert turn.response == ("[email] " * 13)[:100]
    judged = {"question": text, "agent_response": "bob@example.com " * MARGIN, "rating": "partial", "correction": "No."}
    assert call("POST", "/v1/annotations", judged).body["turn_id"] == turn.shown_id


def test_members_that_become_one_by_masking_are_not_called_cut(
    call: Caller, with_settings: Callable[..., Project]
) -> None:
    with_settings(mask=["email"])
    turn = turn_of(call.log(metadata={"a@b.com": 1, "c@d.com": 2}))
    assert (turn.metadata, turn.truncated) == ({"[email]": 2}, [])


def test_masks_everything_a_turn_says(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(mask=["email"], mask_patterns=["ACME-[0-9]+"])
    turn = turn_of(
        call.log(
            "I am a@b.com",
            "Hi a@b.com, ACME-77",
            signals={"a@b.com": ["a@b.com", {"k": "ACME-1"}]},
            metadata={"mail": "a@b.com", "tags": ["a@b.com"]},
            session_id="s a@b.com",
        )
    )
    assert (turn.question, turn.response) == ("I am [email]", "Hi [email], [masked]")
    assert turn.signals == {"[email]": ["[email]", {"k": "[masked]"}]}
    assert (turn.metadata["mail"], turn.tags) == ("[email]", ["[email]"])
    assert turn.session_id.startswith("s [email]:")
    assert "a@b.com" not in str(vars(turn))


def test_masks_a_correction_and_still_finds_its_turn(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(mask=["email"])
    turn_id = call.log("I am a@b.com", "Hi").body["turn_id"]
    body = {"question": "I am x@y.org", "agent_response": "hi", "rating": "partial", "correction": "Write to c@d.com"}
    assert call("POST", "/v1/annotations", {**body, "comment": "by c@d.com"}).body["turn_id"] == turn_id
    annotation, memory = Annotation.objects.get(), Memory.objects.get()
    assert (annotation.question, annotation.correction, annotation.comment) == (
        "I am [email]",
        "Write to [email]",
        "by [email]",
    )
    assert (memory.question, memory.fact) == ("I am [email]", "Write to [email]")


def test_masks_what_reviewers_write_beside_their_verdicts(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(mask=["email"])
    turn_id = call.log().body["turn_id"]
    path = f"/v1/turns/{turn_id}"
    body = {"correction": "Write to a@b.com", "tags": ["a@b.com"], "scores": {"tone": 4}}
    answer = call("PUT", f"{path}/draft", {"body": body})
    assert answer.body["body"] == {"correction": "Write to [email]", "tags": ["[email]"], "scores": {"tone": 4}}
    call("POST", f"{path}/escalate", {"note": "a@b.com is angry"})
    assert turn_of(call("GET", path)).escalation_note == "[email] is angry"
    call("POST", f"{path}/dismiss", {"reason": "a@b.com only says hello"})
    assert turn_of(call("GET", path)).dismissed_reason == "[email] only says hello"
    call("POST", f"{path}/reopen", {})
    call("POST", f"{path}/verdict", {"rating": "partial", "scores": {"who": "a@b.com", "tone": 4}})
    assert Annotation.objects.get().scores == {"who": "[email]", "tone": 4}


def test_masks_the_text_of_a_verdict_that_came_too_late(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(mask=["email"])
    turn_id = call.log().body["turn_id"]
    call("POST", f"/v1/turns/{turn_id}/dismiss", {})
    late = call("POST", f"/v1/turns/{turn_id}/verdict", {"rating": "partial", "correction": "Write to a@b.com"})
    assert (late.status, late.body["draft_saved"]) == (409, True)
    assert Draft.objects.get().body["correction"] == "Write to [email]"


def test_users_stay_apart_when_their_ids_are_masked(call: Caller, with_settings: Callable[..., Project]) -> None:
    with_settings(mask=["email"])
    one, other = turn_of(call.log("q1", user_id="a@b.com")), turn_of(call.log("q2", user_id="c@d.com"))
    assert "@" not in one.user_id + other.user_id
    assert one.user_id != other.user_id
    assert call("POST", "/v1/erasure", {"user_id": "a@b.com"}).body["turns"] == 1
