"""Feedback links in both forms: made to the byte, opened, and refused when anything in them was changed."""

import base64
import hashlib
import hmac
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from agentloop import keyring, signing
from agentloop.actors import SYSTEM
from agentloop.keys import create_signing_key, revoke_signing_key, signing_key_id
from agentloop.models import Project, SigningKey
from agentloop.secrets_box import seal
from agentloop.signing import LinkExpired, LinkForged, LinkFromFuture, LinkRevoked, LinkTooLong, open_query, open_token
from agentloop.tenancy import change_settings
from tests.review.support import make_project

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = json.loads((DATA / "feedback-urls.json").read_text())
SHORT = json.loads((DATA / "feedback-links.json").read_text())
SECRET = PUBLISHED[0]["secret"]
NOW = PUBLISHED[0]["t"] + 60
TURN = "turn_0198f2a4b6c87d3e9f10a1b2c3d4e5f6"
Refused = (LinkForged, LinkExpired, LinkTooLong)
named = pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector["name"])
short_named = pytest.mark.parametrize("vector", SHORT, ids=lambda vector: vector["name"])


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """A minute after the vectors were signed, until a test says otherwise."""
    keyring.forget()
    moment = [float(NOW)]
    monkeypatch.setattr(signing.time, "time", lambda: moment[0])
    yield lambda to: moment.__setitem__(0, to)
    keyring.forget()


@pytest.fixture
def key(project: Project) -> SigningKey:
    return create_signing_key(project=project, actor=SYSTEM, secret=SECRET)[0]


def query_of(vector: dict[str, Any]) -> str:
    return urlsplit(vector["url"]).query


def token_by_hand(vector: dict[str, Any]) -> str:
    """As docs/widget.md tells it, with nothing of ours: what a client in any language does."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    secret = vector["secret"].encode()
    at = vector["t"]
    signed = f"{encoded(vector['json'].encode())}.{encoded(at.to_bytes((at.bit_length() + 7) // 8, 'big'))}"
    derived = hmac.new(secret, b"agentloop.feedback.v1", hashlib.sha256).digest()
    return f"{signed}.{encoded(hmac.new(derived, signed.encode(), hashlib.sha256).digest())}"


# --- made -----------------------------------------------------------------------------------------------------


@named
def test_makes_the_published_form_to_the_byte(vector: dict[str, Any]) -> None:
    signed = {name: vector[name] for name in "qaus"}
    assert signing.canonical(signed, vector["t"]).decode() == vector["canonical"]
    query = signing.make_feedback_query(
        vector["secret"],
        question=vector["q"],
        response=vector["a"],
        user_id=vector["u"],
        session_id=vector["s"],
        at=vector["t"],
    )
    assert f"{vector['base_url']}/feedback?{query}" == vector["url"]


@short_named
def test_makes_the_short_form_to_the_byte(vector: dict[str, Any]) -> None:
    payload = {**vector["payload"], "k": signing_key_id(vector["secret"])}
    assert (payload["k"], signing.payload_text(payload)) == (vector["k"], vector["json"])
    assert signing.make_token(vector["secret"], payload, vector["t"]) == vector["token"] == token_by_hand(vector)
    assert f"{vector['base_url']}/f/{vector['token']}" == vector["url"]


# --- opened ---------------------------------------------------------------------------------------------------


@named
@pytest.mark.parametrize("slug", [None, "acme"])
def test_opens_the_published_form(vector: dict[str, Any], slug: str | None, project: Project, key: SigningKey) -> None:
    link = open_query(query_of(vector), slug)
    assert (link.project, link.key, link.signed_at, link.turn_id) == (project, key, vector["t"], None)
    stored = [vector[name].replace("\x00", "\ufffd") for name in "qaus"]
    assert [link.question, link.response, link.user_id, link.session_id] == stored


@named
def test_opens_the_spelling_that_leaves_non_ascii_raw(vector: dict[str, Any], key: SigningKey) -> None:
    raw = json.dumps(json.loads(vector["canonical"]), ensure_ascii=False).encode()
    pairs = {name: vector[name] for name in "qaus"}
    signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    query = urlencode({**pairs, "t": vector["t"], "sig": signature})
    assert open_query(query).identity == open_query(query_of(vector)).identity


@short_named
@pytest.mark.parametrize("slug", [None, "acme"])
def test_opens_the_short_form(
    vector: dict[str, Any], slug: str | None, project: Project, clock: Callable[[float], None]
) -> None:
    clock(vector["t"] + 60)
    create_signing_key(project=project, actor=SYSTEM, secret=vector["secret"])
    link = open_token(vector["token"], slug)
    said = json.loads(vector["json"])
    turn = f"turn_{link.turn_id.hex}" if link.turn_id else ""
    assert turn == said.get("turn", "")
    texts = {"q": link.question, "a": link.response, "u": link.user_id, "s": link.session_id}
    for name, value in {**texts, "trace": link.trace_id, "goal": link.goal}.items():
        assert value == said.get(name, "").replace("\x00", "\ufffd")


def test_order_percent_spelling_and_what_stands_beside_are_not_signed(key: SigningKey) -> None:
    vector = PUBLISHED[1]
    pairs = dict(parse_qsl(query_of(vector), keep_blank_values=True))
    lower = {
        name: re.sub("%..", lambda found: found[0].lower(), quote(value, safe="")) for name, value in pairs.items()
    }
    reordered = "&".join(f"{name}={lower[name]}" for name in reversed(lower))
    same = open_query(query_of(vector)).identity
    assert open_query(reordered).identity == same
    assert open_query(f"utm_source=mail&{query_of(vector)}&rating=correct&rating=x").identity == same
    unescaped = "&".join(f"{name}={value.replace(' ', '+')}" for name, value in pairs.items())
    assert open_query(unescaped.encode().decode("latin-1")).identity == same


@given(st.text(), st.text(), st.text(max_size=40), st.text(max_size=40), st.integers(1, 2**40))
def test_any_text_goes_there_and_back(question: str, response: str, user: str, session: str, at: int) -> None:
    query = signing.make_feedback_query(
        SECRET, question=question, response=response, user_id=user, session_id=session, at=at
    )
    link = signing.read_query(query)
    assert (link.signed, link.at) == ({"q": question, "a": response, "u": user, "s": session}, at)
    assert link.is_signed_with(SECRET)
    assert not link.is_signed_with(SECRET + "x")
    payload = {"k": "0" * 12, "q": question or "?", "a": response, "u": user, "s": session}
    token = signing.make_token(SECRET, payload, at)
    read, signed_at = signing.read_token(token)
    assert (read, signed_at) == ({name: value for name, value in payload.items() if value}, at)
    assert signing.is_signed_token(SECRET, token, read, signed_at)
    assert not signing.is_signed_token(SECRET + "x", token, read, signed_at)


# --- refused --------------------------------------------------------------------------------------------------

ALPHABET = "abcXYZ0189-_.+%&=;/ é\u0660\uff11\x00"


def mutated(text: str, chance: random.Random) -> str:
    """One to three small changes: a character put in, taken out, changed, swapped or doubled, or a part moved."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text))
        change = chance.randrange(6)
        other = chance.choice(ALPHABET)
        if change == 0:
            text = text[:at] + other + text[at:]
        elif change == 1 and len(text) > 1:
            text = text[:at] + text[at + 1 :]
        elif change == 2:
            text = text[:at] + other + text[at + 1 :]
        elif change == 3:
            text = text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
        elif change == 4:
            text = text[:at] + text[at] + text[at:]
        else:
            to = chance.randrange(len(text))
            text = text[min(at, to) : max(at, to)] + text[: min(at, to)] + text[max(at, to) :]
    return text


def meaning(query: str) -> list[tuple[str, str]] | None:
    """What a query says whatever its order and spelling."""
    try:
        return sorted(parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict"))
    except ValueError:
        return None


def test_ten_thousand_mutations_of_a_token_and_none_is_accepted(key: SigningKey) -> None:
    chance = random.Random(4)
    tokens = [vector["token"] for vector in SHORT if vector["secret"] == SECRET and vector["t"] == PUBLISHED[0]["t"]]
    tried = 0
    while tried < 10_000:
        token = chance.choice(tokens)
        change = mutated(token, chance)
        if change == token:
            continue
        tried += 1
        with pytest.raises(Refused):
            open_token(change)


def test_ten_thousand_mutations_of_a_query_and_none_is_accepted(key: SigningKey) -> None:
    chance = random.Random(5)
    tried = 0
    while tried < 10_000:
        query = query_of(chance.choice(PUBLISHED))
        change = mutated(query, chance)
        # %2c for %2C, or an unsigned parameter more, is the same link.
        if is_same_link(query, change):
            continue
        tried += 1
        with pytest.raises(Refused):
            open_query(change.encode().decode("latin-1"), "acme")


def is_same_link(query: str, change: str) -> bool:
    said = meaning(change)
    return said is not None and [pair for pair in said if pair[0] in ("q", "a", "u", "s", "t", "sig")] == meaning(query)


@pytest.mark.parametrize("vector", [SHORT[0], SHORT[2]], ids=lambda vector: vector["name"])
def test_every_single_changed_character_of_a_token_is_refused(vector: dict[str, Any], key: SigningKey) -> None:
    token = vector["token"]
    for at in range(len(token)):
        for other in "AQgw9_-.":
            if token[at] != other:
                with pytest.raises(LinkForged):
                    open_token(token[:at] + other + token[at + 1 :])


@pytest.mark.parametrize("name", ["q", "a", "u", "s", "t", "sig"])
def test_each_key_stands_exactly_once(name: str, key: SigningKey) -> None:
    pairs = parse_qsl(query_of(PUBLISHED[3]), keep_blank_values=True)
    for wrong in (
        [pair for pair in pairs if pair[0] != name],
        [*pairs, (name, dict(pairs)[name])],
        [(f"{key}2" if key == name else key, value) for key, value in pairs],
        [(key.upper() if key == name else key, value) for key, value in pairs],
    ):
        with pytest.raises(LinkForged):
            open_query(urlencode(wrong))


def test_values_that_changed_places_are_refused(key: SigningKey) -> None:
    pairs = dict(parse_qsl(query_of(PUBLISHED[0]), keep_blank_values=True))
    for one, other in (("q", "a"), ("u", "s"), ("q", "u")):
        with pytest.raises(LinkForged):
            open_query(urlencode({**pairs, one: pairs[other], other: pairs[one]}))


@pytest.mark.parametrize(
    "spelling", ["+{t}", "-{t}", "0{t}", "{t}.0", " {t}", "{t} ", "{t}\n", "1_767225600", "", "1e9"]
)
def test_other_spellings_of_the_time_are_refused(spelling: str, key: SigningKey) -> None:
    vector = PUBLISHED[0]
    pairs = dict(parse_qsl(query_of(vector), keep_blank_values=True))
    with pytest.raises(LinkForged):
        open_query(urlencode({**pairs, "t": spelling.format(t=vector["t"])}))


@pytest.mark.parametrize("zero", ["\uff10", "\u0660"])
def test_digits_of_other_scripts_are_refused(zero: str, key: SigningKey) -> None:
    pairs = dict(parse_qsl(query_of(PUBLISHED[0]), keep_blank_values=True))
    digits = "".join(chr(ord(zero) + int(digit)) for digit in pairs["t"])
    with pytest.raises(LinkForged):
        open_query(urlencode({**pairs, "t": digits}))


def test_a_signature_has_one_spelling(key: SigningKey) -> None:
    pairs = dict(parse_qsl(query_of(PUBLISHED[0]), keep_blank_values=True))
    for wrong in (pairs["sig"].upper(), pairs["sig"] + "\n", "\uff10" + pairs["sig"][1:], ""):
        with pytest.raises(LinkForged):
            open_query(urlencode({**pairs, "sig": wrong}))


@pytest.mark.parametrize(
    "text",
    [
        '{"k": "K","turn":"T"}',
        '{"turn":"T","k":"K"}',
        '{"k":"K","turn":"T","turn":"T"}',
        '{"k":"K","turn":"T","u":""}',
        '{"k":"K","turn":"\\u0054"}',
        '{"k":"K","turn":"T","x":"1"}',
        '{"k":"K","turn":"T","q":"both"}',
        '{"k":"K","turn":1}',
        '{"k":"K","turn":null}',
        '{"k":"K","turn":"turn_nothing"}',
        '{"k":"K"}',
        '["k","turn"]',
        "[" * 5000,
        '"turn"',
        "",
    ],
)
def test_a_payload_has_one_spelling(text: str, key: SigningKey) -> None:
    """Signed with the right key, and still not what a maker of links writes."""
    text = text.replace("K", signing_key_id(SECRET)).replace('"T"', f'"{TURN}"')
    token = token_by_hand({"secret": SECRET, "t": PUBLISHED[0]["t"], "json": text})
    with pytest.raises(LinkForged):
        open_token(token)


def test_base64_has_one_spelling(key: SigningKey) -> None:
    """The last character of a group has bits that a lenient reader drops."""
    payload, at, signature = SHORT[0]["token"].split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in alphabet:
        for token in (
            f"{payload[:-1]}{other}.{at}.{signature}",
            f"{payload}.{at[:-1]}{other}.{signature}",
            f"{payload}.{at}.{signature[:-1]}{other}",
            f"{payload}=.{at}.{signature}",
            f"{payload}.AA{at}.{signature}",
        ):
            if token != SHORT[0]["token"]:
                with pytest.raises(LinkForged):
                    open_token(token)


def test_another_projects_keys_open_nothing_below_the_prefix(key: SigningKey) -> None:
    other = make_project("other")
    create_signing_key(project=other, actor=SYSTEM)
    for slug in ("other", "nobody"):
        with pytest.raises(LinkForged):
            open_query(query_of(PUBLISHED[0]), slug)
        with pytest.raises(LinkForged):
            open_token(SHORT[0]["token"], slug)


def test_a_key_id_that_names_another_key_opens_nothing(key: SigningKey, project: Project) -> None:
    create_signing_key(project=project, actor=SYSTEM, secret="another secret of the project")
    payload = {"k": signing_key_id("another secret of the project"), "turn": TURN}
    with pytest.raises(LinkForged):
        open_token(signing.make_token(SECRET, payload, PUBLISHED[0]["t"]))


@pytest.mark.parametrize("open_it", [lambda: open_query(query_of(PUBLISHED[0])), lambda: open_token(SHORT[0]["token"])])
class TestTimeAndKeys:
    def test_age(
        self, open_it: Callable[[], Any], key: SigningKey, project: Project, clock: Callable[[float], None]
    ) -> None:
        made = PUBLISHED[0]["t"]
        for at, refused in (
            (made + 30 * 86400, None),
            (made + 30 * 86400 + 1, LinkExpired),
            (made - 300, None),
            (made - 301, LinkFromFuture),
        ):
            clock(at)
            if refused:
                with pytest.raises(refused):
                    open_it()
            else:
                assert open_it()

    def test_an_owner_sets_the_age(
        self, open_it: Callable[[], Any], key: SigningKey, project: Project, clock: Callable[[float], None]
    ) -> None:
        clock(PUBLISHED[0]["t"] + 5 * 86400)
        change_settings(project=project, actor=SYSTEM, changes={"feedback_link_days": 4})
        with pytest.raises(LinkExpired):
            open_it()
        change_settings(project=project, actor=SYSTEM, changes={"feedback_link_days": None, "ttl_days": 6})
        assert open_it()

    def test_an_earlier_key_still_opens_and_a_revoked_one_does_not(
        self, open_it: Callable[[], Any], key: SigningKey, project: Project
    ) -> None:
        create_signing_key(project=project, actor=SYSTEM)
        assert open_it().key == key
        revoke_signing_key(key=key, actor=SYSTEM)
        with pytest.raises(LinkRevoked):
            open_it()

    def test_an_active_key_with_a_revoked_ones_secret_opens(
        self, open_it: Callable[[], Any], key: SigningKey, project: Project
    ) -> None:
        create_signing_key(project=project, actor=SYSTEM)
        revoke_signing_key(key=key, actor=SYSTEM)
        moved = create_signing_key(project=make_project("moved"), actor=SYSTEM, secret=SECRET)[0]
        assert open_it().key == moved

    def test_one_query(self, open_it: Callable[[], Any], key: SigningKey) -> None:
        open_it()
        with CaptureQueriesContext(connection) as queries:
            open_it()
        assert len(queries) == 1


def test_too_long(key: SigningKey) -> None:
    with pytest.raises(LinkTooLong):
        open_token("x" * (signing.LONGEST_LINK + 1))
    with pytest.raises(LinkTooLong):
        open_query("q=" + "x" * signing.LONGEST_LINK)


def test_a_link_of_fourteen_kilobytes_opens(key: SigningKey) -> None:
    texts = {"question": "é" * 1000, "response": "x" * 8000}
    query = signing.make_feedback_query(SECRET, **texts, at=NOW)
    assert len(query) > 14_000
    assert open_query(query).response == texts["response"]


def test_a_key_made_after_the_first_look_is_found(key: SigningKey) -> None:
    assert open_query(query_of(PUBLISHED[0]))
    create_signing_key(project=make_project("later"), actor=SYSTEM, secret="a later secret of another project")
    query = signing.make_feedback_query("a later secret of another project", question="q", response="a", at=NOW)
    assert open_query(query).project.slug == "later"


def test_ten_thousand_keys_at_the_root(key: SigningKey) -> None:
    """Tried in milliseconds once they are unsealed, and the link's own is first the next time."""
    projects = [Project(slug=f"p{number}", name="p") for number in range(10)]
    Project.objects.bulk_create(projects)
    made = timezone.now() - timedelta(hours=1)
    SigningKey.objects.bulk_create(
        SigningKey(
            project=projects[n % 10], key_id=f"{n:012x}", encrypted_secret=seal(f"secret number {n}"), created_at=made
        )
        for n in range(10_000)
    )
    query = signing.make_feedback_query("secret number 7", question="q", response="a", at=NOW)
    assert open_query(query).key.key_id == f"{7:012x}"
    began = time.process_time()
    assert open_query(query_of(PUBLISHED[0])).key == key
    with pytest.raises(LinkForged):
        open_query(query.replace("q=q", "q=x"))
    assert time.process_time() - began < 1


def test_a_secret_sealed_with_a_lost_key_spoils_no_other(key: SigningKey, project: Project) -> None:
    SigningKey.objects.create(project=project, key_id="0" * 12, encrypted_secret=b"not sealed by us")
    assert open_query(query_of(PUBLISHED[0])).key == key
    assert open_query(query_of(PUBLISHED[0]), "acme").key == key
