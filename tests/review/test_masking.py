"""Personal data masked at intake, before anything is stored."""

from collections.abc import Callable

import pytest

from agentloop.masking import masker
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
