import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine.identity import canonical, canonical_path, path_identity

VECTORS = json.loads((Path(__file__).parent / "path_identity_vectors.json").read_text())

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
params = st.dictionaries(st.text(max_size=5), json_values, max_size=4)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_written_vectors(vector):
    path = vector["model"], vector["tools"], vector["params"]
    assert canonical_path(*path) == vector["canonical"]
    assert path_identity(*path) == vector["identity"]


@settings(deadline=None)
@given(params, st.lists(st.text(max_size=4), max_size=4))
def test_order_and_repetition_make_no_other_path(given_params, tools):
    turned = dict(reversed(given_params.items()))
    assert path_identity("m", tools, given_params) == path_identity("m", [*reversed(tools), *tools], turned)


@settings(deadline=None)
@given(params)
def test_an_identity_is_fit_for_a_url(given_params):
    assert re.fullmatch(r"[0-9a-f]{32}", path_identity("m", [], given_params))


@settings(deadline=None)
@given(params)
def test_a_trip_through_json_makes_no_other_path(given_params):
    told = json.loads(json.dumps(given_params))
    assert path_identity("m", [], told) == path_identity("m", [], given_params)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.0, -0.0), (10**22, 1e22), ((1, 2), [1, 2.0])])
def test_numbers_go_by_value(one, other):
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), (1, "1"), (2**53, 2**53 + 1), (math.nan, "NaN"), (None, {})]
)
def test_what_is_not_equal_stays_apart(one, other):
    assert canonical(one) != canonical(other)


def test_nan_is_one_name_whatever_its_bits():
    assert canonical(math.nan) == canonical(-math.nan) == "NaN"
    assert [canonical(x) for x in (math.inf, -math.inf)] == ["Infinity", "-Infinity"]


def test_what_json_lacks_is_refused():
    with pytest.raises(TypeError, match="no JSON value"):
        canonical({1, 2})
