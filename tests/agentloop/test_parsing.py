"""Reading JSON: it refuses nothing but what is not JSON, and what it reads can always be stored."""

import json
import math
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import RequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentloop.errors import BadJSON, Invalid
from agentloop.parsing import MAX_DEPTH, clean_text, read_json, read_object

texts = st.text(st.characters(), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))


def storable(value: Any) -> Any:
    """What comes back from PostgreSQL's JSONB."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()])
        [text] = cursor.fetchone()
    return json.loads(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_are_bad_json(body: bytes) -> None:
    try:
        orjson.dumps(read_json(body))
    except BadJSON as error:
        # The one refusal: anything else fails the test by itself.
        assert error.sentence.startswith("The body is not JSON")  # noqa: PT017


@pytest.mark.django_db
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values, st.booleans())
def test_what_is_read_comes_back_from_the_database(value: Any, escaped: bool) -> None:
    body = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    read = read_json(body)
    assert same(storable(read), read)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-12)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    return bool(left == right)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": NaN, "b": [Infinity, -Infinity]}', {"a": None, "b": [None, None]}),
        (b'"\\ud800"', "\ufffd"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\u0000"', "\ufffd"),
        (b'{"\\u0000": {"\\udfff": 1}}', {"\ufffd": {"\ufffd": 1}}),
        (b'"\xff"', "\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b"\xef\xbb\xbf[1]", [1]),
        (b'"line\nbreak"', "line\nbreak"),
        (b"1e999", None),
        (str(10**30).encode(), 1e30),
        (("1" + "0" * 400).encode(), None),
        (b"1" * 5000, None),
    ],
)
def test_what_older_clients_send_is_mended(body: bytes, value: Any) -> None:
    assert read_json(body) == value


@pytest.mark.parametrize("opened", [b"[", b'{"a":'])
def test_deep_nesting_is_cut_or_refused_and_never_breaks(opened: bytes) -> None:
    closing = b"]" if opened == b"[" else b"}"
    depth = MAX_DEPTH + 5
    assert "nested too deep" in str(read_json(opened * depth + b"1" + closing * depth))
    with pytest.raises(BadJSON):
        read_json(opened * 100_000)


@given(texts)
def test_clean_text_is_valid_utf_8_without_nul(text: str) -> None:
    assert "\x00" not in clean_text(text).encode().decode()


def test_an_object_is_asked_for_by_name() -> None:
    with pytest.raises(Invalid, match="The body is a JSON list: send an object"):
        read_object(RequestFactory().post("/", b"[1]", content_type="application/json"))
    assert read_object(RequestFactory().post("/", b"  ", content_type="application/json")) == {}
