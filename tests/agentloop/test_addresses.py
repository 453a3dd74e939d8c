"""Whose address a request counts by, behind none, one and two proxies."""

import pytest
from django.test import RequestFactory, override_settings

from agentloop.addresses import client_address, hashed_address
from agentloop.models import Project


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "address"),
    [
        (0, "203.0.113.7", "198.51.100.1", "203.0.113.7"),
        (1, "10.0.0.1", "203.0.113.7", "203.0.113.7"),
        (1, "10.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "10.0.0.1", "forged, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (2, "10.0.0.1", "203.0.113.7", "203.0.113.7"),
        (1, "10.0.0.1", "", "10.0.0.1"),
        (1, "10.0.0.1", "nonsense", "unknown"),
        (0, "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        (0, "::ffff:203.0.113.7", "", "203.0.113.7"),
    ],
)
def test_client_address(proxies: int, peer: str, forwarded: str, address: str) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)
    with override_settings(TRUSTED_PROXIES=proxies):
        assert client_address(request) == address


def test_a_hash_tells_nobody_where_they_are() -> None:
    one, other = Project(), Project()
    assert hashed_address(one, "203.0.113.7") == hashed_address(one, "203.0.113.7")
    assert hashed_address(one, "203.0.113.7") != hashed_address(one, "203.0.113.8")
    assert hashed_address(one, "203.0.113.7") != hashed_address(other, "203.0.113.7")
