"""Second steps, passkeys, sessions and an identity provider, each as a person goes through it."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.usersessions.models import UserSession
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client

from agentloop.models import Project
from tests.looks import problems_of
from tests.review.support import make_project, member

PASSWORD = "a-long-password"
pytestmark = pytest.mark.django_db


@pytest.fixture
def bob(project: Project) -> Client:
    member(project, "bob", "reviewer")
    return signed_in()


def signed_in(email: str = "bob@example.com") -> Client:
    client = Client()
    assert client.post("/accounts/login/", {"login": email, "password": PASSWORD}).status_code == 302
    # What guards the account itself asks once more, and then not for five minutes.
    assert client.post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 302
    return client


def digits(secret: str) -> str:
    """What an authenticator app shows now."""
    return format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))


def set_up_app(client: Client) -> tuple[str, list[str]]:
    """An authenticator app; answers its secret and the recovery codes that were shown."""
    form = client.get("/accounts/app/add/")
    found = re.search(r'<code class="wrap">(\w+)</code>', form.text)
    assert found, form.text
    answer = client.post("/accounts/app/add/", {"code": digits(found[1])})
    assert answer["Location"] == "/accounts/recovery-codes/"
    shown = re.search(r'<pre class="codes" id="secret">([^<]+)</pre>', client.get("/accounts/recovery-codes/").text)
    assert shown
    return found[1], shown[1].split()


def begin(client: Client) -> Any:
    return client.post("/accounts/login/", {"login": "bob@example.com", "password": PASSWORD})


# --- the authenticator app ------------------------------------------------------------------------------------


def test_a_password_alone_no_longer_signs_in(bob: Client) -> None:
    secret, _ = set_up_app(bob)
    client = Client()
    assert begin(client)["Location"] == "/accounts/second-step/"
    assert client.get("/p/acme/").status_code == 302
    wrong = client.post("/accounts/second-step/", {"code": "000000"})
    assert "Incorrect code." in wrong.text
    # A code works once, and the one of this half minute has set the app up: what remembers it is the cache.
    cache.clear()
    assert client.post("/accounts/second-step/", {"code": digits(secret)}).status_code == 302
    assert client.get("/p/acme/").status_code == 200


def test_a_recovery_code_signs_in_once_and_is_shown_once(bob: Client) -> None:
    _, codes = set_up_app(bob)
    assert len(codes) == 10
    again = bob.get("/accounts/recovery-codes/").text
    assert not [code for code in codes if code in again]
    client = Client()
    begin(client)
    assert client.post("/accounts/second-step/", {"code": codes[0]}).status_code == 302
    assert client.get("/p/acme/").status_code == 200
    assert "9 left" in client.get("/accounts/").text
    other = Client()
    begin(other)
    assert "Incorrect code." in other.post("/accounts/second-step/", {"code": codes[0]}).text


def test_the_secret_lies_sealed(bob: Client) -> None:
    secret, codes = set_up_app(bob)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(data::text, ' ') FROM mfa_authenticator")
        (kept,) = cursor.fetchone()
    assert secret not in kept
    assert not [code for code in codes if code in kept]


def test_turning_it_off_asks_who_one_is(bob: Client) -> None:
    set_up_app(bob)
    client = Client()
    client.force_login(User.objects.get(username="bob@example.com"))
    assert client.get("/accounts/app/remove/")["Location"].startswith("/accounts/reauthenticate/")
    assert bob.post("/accounts/app/remove/").status_code == 302
    assert begin(Client())["Location"] == "/"


# --- sessions, password ---------------------------------------------------------------------------------------


def test_sessions_are_listed_and_ended_elsewhere(bob: Client) -> None:
    other = signed_in()
    assert bob.get("/accounts/sessions/").text.count('<th scope="row">') == 2
    assert bob.post("/accounts/sessions/").status_code == 302
    assert other.get("/p/acme/").status_code == 302
    assert bob.get("/p/acme/").status_code == 200
    assert UserSession.objects.count() == 1


def test_what_a_browser_calls_itself_is_text(bob: Client) -> None:
    UserSession.objects.update(user_agent="<script>alert(1)</script>")
    assert "<script>alert" not in bob.get("/accounts/sessions/").text


# --- passkeys -------------------------------------------------------------------------------------------------


def test_a_passkey_of_somebody_else_is_not_there(bob: Client, charlie: Client) -> None:
    user = User.objects.get(username="charlie@example.com")
    theirs = Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "theirs"})
    for act in ("remove", "edit"):
        assert bob.get(f"/accounts/passkeys/{theirs.pk}/{act}/").status_code == 404
        assert bob.post(f"/accounts/passkeys/{theirs.pk}/{act}/", {"name": "mine"}).status_code == 404
    assert Authenticator.objects.filter(pk=theirs.pk).exists()


def test_a_passkey_is_added_and_signs_in(page: Any, live_server: Any, transactional_db: None) -> None:
    member(make_project("acme"), "bob", "reviewer")
    keys = page.context.new_cdp_session(page)
    keys.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    keys.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"{live_server.url}/accounts/login/?next=/accounts/passkeys/add/")
    page.get_by_label("Email").fill("bob@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Is it you?").wait_for()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("My laptop")
    page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add it").click()
    page.get_by_role("heading", name="Keep these where you find them").wait_for()
    page.goto(f"{live_server.url}/accounts/passkeys/")
    page.get_by_text("signs in alone").wait_for()
    page.context.clear_cookies()
    page.goto(f"{live_server.url}/accounts/login/?next=/p/acme/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/p/acme/")
    assert refused == []


# --- an identity provider -------------------------------------------------------------------------------------


class Provider(BaseHTTPRequestHandler):
    """An OpenID Connect provider that lets in whoever `claims` names."""

    claims: dict[str, Any] = {}

    def do_GET(self) -> None:
        base = f"http://{self.headers['Host']}"
        answers: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": base,
                "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token",
                "userinfo_endpoint": f"{base}/userinfo",
                "jwks_uri": f"{base}/jwks",
            },
            "/userinfo": self.claims,
        }
        self._say(answers.get(urlsplit(self.path).path, {}))

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        is_right = body.get("code") == ["a-code"] and len(body.get("code_verifier", [""])[0]) > 40
        self._say({"access_token": "a-token", "token_type": "Bearer"} if is_right else {"error": "invalid_grant"})

    def _say(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """The tests' output is for failures."""


@pytest.fixture
def provider(settings: LazySettings) -> Iterator[type[Provider]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    app = {
        "provider_id": "sso",
        "name": "sso",
        "client_id": "agentloop",
        "secret": "hidden",
        "settings": {"server_url": f"http://127.0.0.1:{server.server_port}", "oauth_pkce_enabled": True},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    yield Provider
    server.shutdown()
    server.server_close()


def come_back(client: Client) -> Any:
    """Off to the provider, and back with its code."""
    away = client.get("/accounts/oidc/sso/login/?next=/p/acme/")["Location"]
    asked = parse_qs(urlsplit(away).query)
    assert asked["redirect_uri"] == ["http://testserver/accounts/oidc/sso/login/callback/"]
    assert asked["code_challenge_method"] == ["S256"]
    return client.get("/accounts/oidc/sso/login/callback/", {"code": "a-code", "state": asked["state"][0]})


def test_who_the_provider_knows_is_signed_in(bob: Client, provider: type[Provider]) -> None:
    provider.claims = {"sub": "bob-1", "email": "Bob@example.com", "email_verified": True}
    client = Client()
    assert come_back(client)["Location"] == "/p/acme/"
    assert client.get("/p/acme/").status_code == 200
    # From now on the provider's own name for them is enough.
    provider.claims = {"sub": "bob-1", "email": "renamed@example.com", "email_verified": True}
    assert come_back(Client())["Location"] == "/p/acme/"
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "eve-1", "email": "eve@example.com", "email_verified": True},
        {"sub": "eve-2", "email": "bob@example.com", "email_verified": False},
        {"sub": "eve-3"},
    ],
)
def test_whom_we_do_not_know_is_turned_away(bob: Client, provider: type[Provider], claims: dict[str, Any]) -> None:
    provider.claims = claims
    client = Client()
    answer = come_back(client)
    assert (answer.status_code, "There is no account for you yet" in answer.text) == (200, True)
    assert client.get("/p/acme/").status_code == 302
    assert User.objects.count() == 1


def test_the_second_step_holds_after_the_provider_too(bob: Client, provider: type[Provider]) -> None:
    set_up_app(bob)
    provider.claims = {"sub": "bob-1", "email": "bob@example.com", "email_verified": True}
    client = Client()
    assert come_back(client)["Location"] == "/accounts/second-step/"
    assert client.get("/p/acme/").status_code == 302


def test_without_a_provider_there_is_no_button(client: Client) -> None:
    page = client.get("/accounts/login/").text
    assert "Use a passkey" in page
    assert "/oidc/" not in page
    assert client.get("/accounts/oidc/sso/login/").status_code == 404


# --- all of them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_use_the_pages_of_an_account(
    browser: Any, live_server: Any, transactional_db: None, size: tuple[int, int], scheme: str
) -> None:
    member(make_project("acme"), "bob", "reviewer")
    user = User.objects.get(username="bob@example.com")
    Authenticator.objects.create(user=user, type=Authenticator.Type.RECOVERY_CODES, data={"migrated_codes": []})
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        bypass_csp=True,
        base_url=live_server.url,
    )
    page = context.new_page()
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill("bob@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/p/acme/")
    page.goto("/accounts/reauthenticate/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/p/acme/")
    paths = ("", "password/change/", "app/add/", "passkeys/", "passkeys/add/", "sessions/", "oidc/cancelled/")
    found = {}
    for path in paths:
        page.goto(f"/accounts/{path}")
        found[path] = problems_of(page)
    context.close()
    assert found == {path: [] for path in paths}
