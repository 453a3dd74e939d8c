"""Signing in and out, passwords, and what stands in the way of guessing them."""

import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from agentloop.models import Project
from tests.review.support import member

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-password"


@pytest.fixture
def bob(project: Project) -> None:
    member(project, "bob", "reviewer")


def sign_in(client: Client, password: str = PASSWORD, email: str = "bob@example.com", **more: str) -> Any:
    return client.post("/accounts/login/", {"login": email, "password": password, **more})


@pytest.mark.parametrize("email", ["bob@example.com", "Bob@Example.com"])
def test_signing_in_leads_to_the_overview(bob: None, client: Client, email: str) -> None:
    answer = sign_in(client, email=email)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/")["Location"] == "/p/acme/"


def test_signing_in_leads_back_to_where_one_was_going(bob: None, client: Client) -> None:
    asked = client.get("/p/acme/")
    assert asked["Location"] == "/accounts/login/?next=/p/acme/"
    assert sign_in(client, next="/p/acme/")["Location"] == "/p/acme/"
    assert sign_in(Client(), next="https://evil.example/")["Location"] == "/"


def test_a_wrong_password_says_so_without_saying_who_exists(bob: None, client: Client) -> None:
    known = sign_in(client, password="wrong")
    unknown = sign_in(client, password="wrong", email="nobody@example.com")
    sentence = "The email address and/or password you specified are not correct."
    assert (known.status_code, sentence in known.text) == (200, True)
    assert (unknown.status_code, sentence in unknown.text) == (200, True)


def test_guessing_is_stopped_and_the_right_password_does_not_help_then(bob: None) -> None:
    answers = [sign_in(Client(), password=f"wrong-{number}") for number in range(12)]
    assert "Too many failed login attempts" in answers[-1].text
    assert "Too many failed login attempts" in sign_in(Client()).text


def test_guessing_is_counted_together_whatever_host_the_guesses_name(bob: None) -> None:
    answers = [
        Client(headers={"Host": f"{number}.example"}, REMOTE_ADDR=f"203.0.113.{number}").post(
            "/accounts/login/", {"login": "bob@example.com", "password": "wrong"}
        )
        for number in range(7)
    ]
    assert "Too many failed login attempts" in answers[-1].text


def test_signing_out_needs_a_form(bob: None, client: Client) -> None:
    sign_in(client)
    assert client.get("/accounts/logout/").status_code == 200
    assert client.get("/p/acme/").status_code == 200
    assert client.post("/accounts/logout/")["Location"] == "/accounts/login/"
    assert client.get("/p/acme/").status_code == 302


def test_nobody_makes_an_account_alone(client: Client) -> None:
    assert client.get("/accounts/signup/").status_code == 404
    data = {"email": "eve@example.com", "password1": PASSWORD}
    assert client.post("/accounts/signup/", data).status_code == 404
    assert User.objects.count() == 0


def test_changing_the_password(bob: None, client: Client) -> None:
    sign_in(client)
    data = {"oldpassword": PASSWORD, "password1": "another-long-one", "password2": "another-long-one"}
    assert client.post("/accounts/password/change/", data).status_code == 302
    assert Client().login(email="bob@example.com", password="another-long-one")


def test_a_weak_password_is_refused_with_the_reason(bob: None, client: Client) -> None:
    sign_in(client)
    data = {"oldpassword": PASSWORD, "password1": "short", "password2": "short"}
    assert "at least 10 characters" in client.post("/accounts/password/change/", data).text


def test_a_forgotten_password_is_reset_by_letter(bob: None, client: Client) -> None:
    assert client.post("/accounts/password/reset/", {"email": "bob@example.com"}).status_code == 302
    [letter] = mail.outbox
    found = re.search(r"/accounts/password/reset/key/\S+", str(letter.body))
    assert found
    form = client.get(client.get(found[0])["Location"])
    assert "Set a new password" in form.text
    data = {"password1": "another-long-one", "password2": "another-long-one"}
    assert client.post(form.request["PATH_INFO"], data).status_code == 302
    assert Client().login(email="bob@example.com", password="another-long-one")
    assert "too old or has been used" in Client().get(found[0]).text


def test_the_letters_link_is_the_operators_word_not_the_requests(bob: None, settings: LazySettings) -> None:
    settings.BASE_URL = "https://loop.acme.example"
    asking = Client(headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert asking.post("/accounts/password/reset/", {"email": "bob@example.com"}).status_code == 302
    [letter] = mail.outbox
    assert "evil.example" not in letter.message().as_string()
    assert "\nhttps://loop.acme.example/accounts/password/reset/key/" in str(letter.body)
    assert letter.subject.startswith("[AgentLoop] ")
    assert "Hello from AgentLoop!" in str(letter.body)


def test_a_letter_goes_to_nobody_unknown_and_the_page_does_not_tell(bob: None, client: Client) -> None:
    answers = [
        client.post("/accounts/password/reset/", {"email": email}, follow=True)
        for email in ("bob@example.com", "nobody@example.com")
    ]
    assert [letter.to for letter in mail.outbox] == [["bob@example.com"]]
    assert [answer.request["PATH_INFO"] for answer in answers] == ["/accounts/password/reset/done/"] * 2


def test_without_a_mail_server_the_page_says_what_to_do(client: Client) -> None:
    page = client.get("/accounts/password/reset/")
    assert "This installation sends no e-mail" in page.text
    assert "member add" in page.text


def test_behind_a_proxy_with_a_password_of_its_own_people_still_sign_in(bob: None) -> None:
    client = Client(headers={"Authorization": "Basic b3BlcmF0b3I6c2VjcmV0"})
    assert sign_in(client).status_code == 302
    assert client.get("/p/acme/").status_code == 200
    assert client.get("/p/acme/v1/project").status_code == 200


def test_cookies_are_kept_from_scripts_and_other_sites(bob: None, client: Client) -> None:
    cookie = sign_in(client).cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
