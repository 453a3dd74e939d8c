"""Links of the published client, unchanged: they open, and what is said behind them arrives."""

import httpx
import pytest

from agentloop import keyring
from agentloop.actors import SYSTEM
from agentloop.keys import create_signing_key
from agentloop.models import Project
from review.models import Annotation, Turn
from tests.compat.conftest import Published

pytestmark = [pytest.mark.compat, pytest.mark.django_db(transaction=True)]

TEXTS = {
    "plain": ("When do you open?", "At noon."),
    "empty": ("", ""),
    "quotes": ("He said \"hi\" & 'bye' <b>", "back\\slash / slash % + ="),
    "lines": ("one\ntwo\r\n\tthree", "a\u2028b\u2029c\u00a0d\x7f"),
    "emoji": ("Qual é o limite? 🌙👩‍👩‍👧", "R$ 1.000 — ✅"),
    "right to left": ("ما هو الحد الأقصى ليلاً؟", "٥٠٠٠ ريال، \u202bحتى\u202c السادسة."),
    "not normalised": ("cafe\u0301", "caf\u00e9"),
    "long": ("é" * 800, "x" * 7000),
}


@pytest.fixture
def secret(project: Project) -> str:
    keyring.forget()
    return create_signing_key(project=project, actor=SYSTEM)[1]


@pytest.mark.parametrize("prefix", ["", "/p/shop"])
def test_every_text_opens_and_arrives(published: Published, secret: str, prefix: str) -> None:
    base = published.base_url + prefix
    calls = [
        (
            "feedback_url",
            {"question": question, "agent_response": answer, "user_id": f"u ü {name}", "session_id": "s&s"},
        )
        for name, (question, answer) in TEXTS.items()
    ]
    links = published.calls(*calls, feedback_signing_secret=secret, base_url=base)
    for link, (name, (question, answer)) in zip(links, TEXTS.items(), strict=True):
        url = link["answer"]
        opened = httpx.get(url)
        assert (opened.status_code, opened.headers.get("set-cookie")) == (200, None), name
        sent = httpx.post(url, data={"rating": "incorrect", "correction": answer})
        assert sent.status_code == 200, name
        said = Annotation.objects.latest("created_at")
        assert (said.question, said.response, said.user_id) == (question, answer, f"u ü {name}")
        assert (said.source, said.rating) == ("end_user", "incorrect")
    assert Annotation.objects.count() == len(TEXTS)
    assert all(turn.signals == {"user_feedback": 1} for turn in Turn.objects.all())


def test_it_speaks_of_the_turn_that_the_client_logged(published: Published, secret: str) -> None:
    turn = {"question": "When do you open?", "agent_response": "At noon."}
    published.call("log_turn", **turn)
    link = published.call("feedback_url", **turn, client={"feedback_signing_secret": secret})["answer"]
    assert httpx.post(link, data={"rating": "incorrect"}).status_code == 200
    assert Annotation.objects.get().turn_id == Turn.objects.get().id


def test_another_secret_opens_nothing(published: Published, secret: str) -> None:
    turn = {"question": "When do you open?", "agent_response": "At noon."}
    link = published.call("feedback_url", **turn, client={"feedback_signing_secret": f"{secret}x"})["answer"]
    assert httpx.get(link).status_code == httpx.post(link, data={"rating": "correct"}).status_code == 403
    assert not Annotation.objects.exists()
