"""Links are the same to the byte in every language, and the server's own."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from agentloop_client import AgentLoop
from agentloop_client.signing import feedback_token, key_id, published_url
from hypothesis import given
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


@given(
    payload=st.dictionaries(st.sampled_from(["turn", "q", "a", "u", "s", "trace", "goal"]), TEXT),
    secret=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    at=st.integers(1, 2**40),
)
def test_the_short_form_is_the_servers(payload: dict[str, str], secret: str, at: int) -> None:
    sound = {name: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for name, text in payload.items()}
    assert feedback_token(secret, payload, at) == make_token(secret, {**sound, "k": key_id(secret)}, at)


def test_a_client_makes_both_forms() -> None:
    with AgentLoop("al_key", "https://loop.example/", SECRET) as loop:
        short = loop.feedback_url(turn_id="turn_1", at=1767225600)
        long = loop.feedback_url("Why?", "Because.", user_id="u", published=True, at=1767225600)
    assert short == "https://loop.example/f/" + feedback_token(SECRET, {"turn": "turn_1"}, 1767225600)
    assert long.startswith("https://loop.example/feedback?q=Why%3F&a=Because.&u=u&s=&t=1767225600&sig=")
    assert key_id(SECRET) == hashlib.sha256(SECRET.encode()).hexdigest()[:12]
