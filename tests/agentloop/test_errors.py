"""Every error has one shape, of the framework too; a page for people; and nothing of the content in a log."""

import logging
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, OperationalError
from django.http import Http404, HttpRequest, UnreadablePostError
from django.test import Client
from django.urls import path

from agentloop import urls
from agentloop.errors import TooManyRequests
from agentloop.logs import Line
from tests.review.support import Caller

BROWSER = {"accept": "text/html,application/xhtml+xml"}


class Away(OperationalError):
    __cause__ = psycopg.OperationalError("connection refused to secret-host")


class Locked(OperationalError):
    __cause__ = psycopg.errors.LockNotAvailable("row of a secret question")


KINDS: dict[str, tuple[Callable[[], Exception], int, str]] = {
    "missing": (Http404, 404, "not_found"),
    "denied": (PermissionDenied, 403, "not_allowed"),
    "large": (RequestDataTooBig, 413, "too_large"),
    "cut": (UnreadablePostError, 400, "unreadable"),
    "away": (Away, 503, "database_away"),
    "locked": (Locked, 503, "database_busy"),
    "range": (lambda: DataError("integer out of range: secret"), 422, "unstorable"),
    "surrogate": (lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "secret"), 422, "unstorable"),
    "fast": (lambda: TooManyRequests(retry_after=2.2), 429, "rate_limited"),
    "defect": (lambda: ValueError("a secret question"), 500, "server_error"),
}


def _raising(name: str) -> Callable[..., Any]:
    def view(request: HttpRequest) -> Any:
        raise KINDS[name][0]()

    return view


def _suspicious(request: HttpRequest) -> Any:
    raise SuspiciousOperation("odd")


class Routes:
    """The site's own routes and one for each kind of error, at an API's path and at a page's."""

    handler400, handler403 = urls.handler400, urls.handler403
    handler404, handler500 = urls.handler404, urls.handler500
    urlpatterns = [
        *urls.urlpatterns,
        *(path(f"v1/raise/{name}", _raising(name)) for name in KINDS),
        *(path(f"raise/{name}", _raising(name)) for name in KINDS),
        path("v1/raise/suspicious", _suspicious),
    ]


@pytest.fixture
def client(settings: Any, db: None) -> Client:
    settings.ROOT_URLCONF = Routes
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("name", KINDS)
def test_at_an_apis_path_an_error_is_json(client: Client, name: str) -> None:
    _, status, code = KINDS[name]
    answer = client.get(f"/v1/raise/{name}", headers=BROWSER)
    body = answer.json()
    assert (answer.status_code, body["code"], sorted(body)) == (status, code, ["code", "error", "fields"])
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", KINDS)
def test_a_person_gets_a_page(client: Client, name: str) -> None:
    answer = client.get(f"/raise/{name}", headers=BROWSER)
    assert (answer.status_code, answer["Content-Type"]) == (KINDS[name][1], "text/html; charset=utf-8")
    assert "<h1>" in answer.text
    assert "secret" not in answer.text


def test_a_program_gets_json_at_a_pages_path_too(client: Client) -> None:
    assert client.get("/raise/missing", headers={"accept": "*/*"}).json()["code"] == "not_found"


def test_retry_after_is_rounded_up(client: Client) -> None:
    assert client.get("/v1/raise/fast")["Retry-After"] == "3"
    assert client.get("/v1/raise/away")["Retry-After"] == "5"


def test_the_database_away_is_said_clearly(client: Client) -> None:
    assert client.get("/v1/raise/away").json()["error"] == (
        "The database cannot be reached just now: try again in a few seconds."
    )


def test_a_suspicious_request_is_a_bad_one(client: Client) -> None:
    assert client.get("/v1/raise/suspicious").status_code == 400


@pytest.mark.parametrize("given", ["/v1/nope", "/p/acme/v1/nope", "/api/v1/nope", "/api/nope"])
def test_an_unknown_path_of_the_api(client: Client, given: str) -> None:
    answer = client.get(given, headers=BROWSER)
    assert answer.json() == {"error": "There is nothing at this address.", "code": "not_found", "fields": {}}


def test_an_unknown_page(client: Client) -> None:
    assert "There is nothing here" in client.get("/nope", headers=BROWSER).text


def test_a_method_that_a_plain_view_refuses(client: Client) -> None:
    answer = client.post("/healthz")
    assert (answer.status_code, answer.json()["code"], answer["Allow"]) == (405, "method_not_allowed", "GET, HEAD")


def test_a_body_that_is_not_json_says_where(admin: Caller) -> None:
    answer = admin("POST", "/v1/keys", b'{"name": }')
    assert (answer.status, answer.body) == (
        400,
        {
            "error": "The body is not JSON at line 1, column 10: send one JSON value, in UTF-8.",
            "code": "bad_json",
            "fields": {},
        },
    )


def test_a_body_that_is_too_large(admin: Caller) -> None:
    answer = admin("POST", "/v1/keys", b'{"name": "' + b"x" * (5 * 1024 * 1024) + b'"}')
    assert (answer.status, answer.body["code"]) == (413, "too_large")


def test_a_form_of_another_kind_is_read_as_json_and_refused(admin: Caller) -> None:
    answer = admin.client.post("/v1/keys", {"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


ODD = [
    "/v1/keys/%00",
    "/v1/turns/%ED%A0%80",
    "/v1/turns?q=%00",
    "/v1/turns?goal=%ED%A0%80",
    "/v1/audit?cursor=%00",
    "/p/%00/v1/keys",
    "/%ff",
    "/v1/turns?limit=" + "9" * 5000,
    "/accounts/login/?next=%00",
]


@pytest.mark.parametrize("given", ODD)
def test_odd_bytes_in_an_address_break_nothing(admin: Caller, given: str) -> None:
    assert admin.client.get(given).status_code < 500


@pytest.mark.parametrize(
    "header", ["X-Tenant-ID", "X-Request-ID", "Idempotency-Key", "Accept", "Cookie", "X-Forwarded-For"]
)
@pytest.mark.parametrize("value", ["\x00", "\xff\xfe", 'sessionid="\\000"', "x" * 5000])
def test_odd_bytes_in_a_header_break_nothing(db: None, header: str, value: str) -> None:
    assert Client().get("/p/acme/", headers={header: value}).status_code < 500
    assert Client().get("/v1/turns", headers={header: value}).status_code < 500


def test_a_session_that_cannot_be_looked_up_is_no_defect(db: None) -> None:
    answer = Client().get("/", headers={"Cookie": 'sessionid="abcdefgh\\000"'})
    assert answer.status_code < 500


def test_a_page_refuses_a_form_without_its_token(alice: Client) -> None:
    alice.handler.enforce_csrf_checks = True
    answer = alice.post("/accounts/logout/", headers=BROWSER)
    assert (answer.status_code, "too old or came from elsewhere" in answer.text) == (403, True)


def test_every_answer_carries_a_request_id(client: Client) -> None:
    assert len(client.get("/v1/nope")["X-Request-ID"]) == 32
    assert client.get("/healthz", headers={"X-Request-ID": "mine-12345"})["X-Request-ID"] == "mine-12345"
    assert client.get("/healthz", headers={"X-Request-ID": "a b"})["X-Request-ID"] != "a b"


def test_a_defect_is_logged_with_its_place_and_without_its_message(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        client.get("/v1/raise/defect?q=secret", headers={"X-Request-ID": "find-me-again"})
    [record] = [record for record in caplog.records if record.name == "agentloop.errors"]
    line = Line().format(record)
    assert "kind=ValueError" in line
    assert "test_errors.py" in line
    assert "secret" not in line


def test_a_traceback_in_the_log_has_no_message() -> None:
    try:
        raise ValueError("a secret question")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "event", (), info)
    assert "ValueError" in Line().format(record)
    assert "ValueError: a secret" not in Line().format(record)
