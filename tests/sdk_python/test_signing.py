"""Links are the same to the byte in every language, and the server's own."""

import hashlib
import hmac
import json
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import pytest
from agentloop_client import AgentLoop
from agentloop_client.signing import feedback_token, key_id, published_url
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentloop.signing import make_token

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = json.loads((DATA / "feedback-urls.json").read_text())
SHORT = json.loads((DATA / "feedback-links.json").read_text())
TEXT = st.text(alphabet=st.characters(), max_size=40)
SECRET = "fb-secret-0123456789abcdef"


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda one: one["name"])
def test_the_published_form_is_the_vectors(vector: dict[str, Any]) -> None:
    given = {name: vector[name] for name in "qaus"}
    url = published_url(
        vector["base_url"], vector["secret"], given["q"], given["a"], user_id=given["u"], session_id=given["s"],
        at=vector["t"],
    )  # fmt: skip
    assert url == vector["url"]


@pytest.mark.parametrize("vector", SHORT, ids=lambda one: one["name"])
def test_the_short_form_is_the_vectors(vector: dict[str, Any]) -> None:
    assert feedback_token(vector["secret"], vector["payload"], vector["t"]) == vector["token"]


# On a busy machine the drawing of texts takes its time.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    payload=st.dictionaries(st.sampled_from(["turn", "q", "a", "u", "s", "trace", "goal"]), TEXT),
    secret=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    at=st.integers(1, 2**40),
)
def test_the_short_form_is_the_servers(payload: dict[str, str], secret: str, at: int) -> None:
    sound = {name: joined(text) for name, text in payload.items()}
    assert feedback_token(secret, payload, at) == make_token(secret, {**sound, "k": key_id(secret)}, at)


def test_a_client_makes_both_forms() -> None:
    with AgentLoop("al_key", "https://loop.example/", SECRET) as loop:
        short = loop.feedback_url(turn_id="turn_1", at=1767225600)
        long = loop.feedback_url("Why?", "Because.", user_id="u", published=True, at=1767225600)
    assert short == "https://loop.example/f/" + feedback_token(SECRET, {"turn": "turn_1"}, 1767225600)
    assert long.startswith("https://loop.example/feedback?q=Why%3F&a=Because.&u=u&s=&t=1767225600&sig=")
    assert key_id(SECRET) == hashlib.sha256(SECRET.encode()).hexdigest()[:12]


def test_ten_thousand_links_are_the_servers_to_the_byte() -> None:
    """All planes of Unicode, lone surrogates among them."""
    chance = Random(2026)

    def text() -> str:
        planes = (0x80, 0x800, 0x10000, 0x110000)
        return "".join(chr(chance.randrange(chance.choice(planes))) for _ in range(chance.randrange(12)))

    for _ in range(10_000):
        payload = {name: text() for name in ("q", "a", "u", "s", "trace", "goal")}
        secret, at = joined(text()) or "s", chance.randrange(1, 2**33)
        sound = {name: joined(said) for name, said in payload.items()}
        assert feedback_token(secret, payload, at) == make_token(secret, {**sound, "k": key_id(secret)}, at)
        url = published_url("http://x", secret, payload["q"], payload["a"], user_id=payload["u"], at=at)
        query = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True, strict_parsing=True))
        assert (query["q"], query["a"], query["u"], query["s"]) == (sound["q"], sound["a"], sound["u"], "")
        assert query["sig"] == reference_signature(secret, {**{name: query[name] for name in "aqsu"}, "t": at})


def joined(text: str) -> str:
    """Pairs of surrogates as one character, lone ones as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def reference_signature(secret: str, said: dict[str, Any]) -> str:
    """By the words of the contract, a UTF-16 code unit at a time."""
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}

    def quoted(text: str) -> str:
        units = memoryview(text.encode("utf-16-le")).cast("H")
        spelt = (short.get(chr(unit), chr(unit) if 0x20 <= unit <= 0x7E else f"\\u{unit:04x}") for unit in units)
        return f'"{"".join(spelt)}"'

    members = (f'"{name}": {said[name] if name == "t" else quoted(said[name])}' for name in "aqstu")
    return hmac.new(secret.encode(), f"{{{', '.join(members)}}}".encode(), hashlib.sha256).hexdigest()
