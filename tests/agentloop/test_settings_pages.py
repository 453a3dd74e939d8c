"""The settings as owners use them: keys, members and the project itself, with the API's own rules behind each form."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentloop import audit, invitations, keys, outbox, tenancy
from agentloop.actors import SYSTEM, key_actor
from agentloop.ids import shown
from agentloop.models import (
    ApiKey,
    AuditEntry,
    Invitation,
    MemberNotices,
    OutboxMessage,
    Project,
    SigningKey,
    Webhook,
)
from agentloop.project_settings import SETTINGS
from agentloop.secrets_box import unseal
from agentloop.settings_forms import ELSEWHERE, SettingsForm, groups
from tests.agentloop.test_strangers import BELOW_A_PROJECT, METHODS, acme, kept
from tests.review.support import Caller, in_threads, make_project, member

__all__ = ["acme"]
MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
PASSWORD = "a-long-password"


def secret_in(text: str) -> str:
    found = re.search(r'<code id="secret">([^<]+)</code>', text)
    assert found, text
    return found[1]


def count_queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


# --- roles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["reviewer", "viewer"])
def test_whoever_is_no_owner_reaches_no_settings(
    acme: dict[str, str], role: str, signed_in: Callable[[str], Client]
) -> None:
    member(Project.objects.get(slug="acme"), "bob", role)
    client, before = signed_in("bob"), kept("acme")
    routes = [route for route in BELOW_A_PROJECT if route.name.partition("_")[0] == "settings"]
    assert len(routes) > 5
    answers = {
        f"{method} {route.template}": client.generic(method, route.path(acme)).status_code
        for route in routes
        for method in METHODS
    }
    assert set(answers.values()) == {403}
    assert kept("acme") == before


def test_the_way_to_the_settings_is_shown_to_owners_alone(alice: Client, bob: Client) -> None:
    assert "/p/acme/settings/" in alice.get("/p/acme/").text
    assert "/p/acme/settings/" not in bob.get("/p/acme/").text


# --- the project ----------------------------------------------------------------------------------------------


def save(client: Client, group: str, **said: Any) -> Any:
    form = SettingsForm(next(one for one in groups() if one.slug == group), Project.objects.get(slug="acme"))
    whole = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    data = {name: "" if value is None else value for name, value in {**whole, **said}.items()}
    return client.post("/p/acme/settings/", {"group": group, **data})


def test_every_setting_has_a_field() -> None:
    shown = {name for group in groups() for name in group.names}
    assert shown | set(ELSEWHERE) == set(SETTINGS)


def test_a_group_is_saved_and_only_what_differs_is_kept(alice: Client, project: Project) -> None:
    answer = save(alice, "keeping", ttl_days="14", retention_days="90")
    assert answer["Location"] == "/p/acme/settings/#keeping"
    project.refresh_from_db()
    assert project.settings == {"random_share": 0, "ttl_days": 14, "retention_days": 90}
    assert "How long things are kept: saved." in alice.get("/p/acme/settings/").text
    save(alice, "keeping", ttl_days="", retention_days="")
    project.refresh_from_db()
    assert project.settings == {"random_share": 0}
    assert AuditEntry.objects.filter(project=project, act="project.settings").count() == 2


def test_a_refused_value_stands_beside_its_field_and_nothing_is_saved(alice: Client, project: Project) -> None:
    answer = save(alice, "keeping", ttl_days="0", decision_days="7")
    assert answer.status_code == 422
    assert "Takes a whole number from 1 to 3650." in answer.text
    assert 'value="7"' in answer.text
    project.refresh_from_db()
    assert project.settings == {"random_share": 0}


@pytest.mark.parametrize(
    ("group", "said", "stored"),
    [
        ("queue", {"random_share": "0.25"}, {"random_share": 0.25}),
        ("memories", {"memory_threshold": "0.8"}, {"memory_threshold": 0.8}),
        ("privacy", {"mask": ["email", "ip"]}, {"mask": ["email", "ip"]}),
        ("privacy", {"mask_patterns": "A-\\d+\n\n B-\\d+ "}, {"mask_patterns": ["A-\\d+", "B-\\d+"]}),
        ("blame", {"blame.prompt": "0.9"}, {"blame": {"context": 0.0, "prompt": 0.9, "model": 1.0, "tool": 1.0}}),
        (
            "authority",
            {"authority.1": "inferred", "authority.2": "provider"},
            {"authority": ["inferred", "provider", "user", "action", "review"]},
        ),
    ],
)
def test_each_kind_of_setting_is_read(
    alice: Client, project: Project, group: str, said: dict[str, Any], stored: dict[str, Any]
) -> None:
    answer = save(alice, group, **said)
    assert answer.status_code == 302, answer.text
    project.refresh_from_db()
    assert {name: project.settings[name] for name in stored} == stored


@pytest.mark.parametrize(
    ("group", "said", "sentence"),
    [
        ("queue", {"random_share": "2"}, "Takes a number from 0 to 1."),
        ("queue", {"claim_minutes": "soon"}, "Enter a whole number."),
        ("privacy", {"mask_patterns": "("}, "Has a pattern that cannot be used: missing )"),
        ("blame", {"blame.model": "3"}, "Takes an object with numbers from 0 to 1"),
        ("authority", {"authority.1": "review"}, "Takes the five sources, weakest first"),
    ],
)
def test_each_kind_of_setting_is_refused_with_its_reason(
    alice: Client, project: Project, group: str, said: dict[str, Any], sentence: str
) -> None:
    answer = save(alice, group, **said)
    assert (answer.status_code, sentence in answer.text) == (422, True)


def test_the_name_is_changed_and_an_empty_one_refused(alice: Client, project: Project) -> None:
    assert alice.post("/p/acme/settings/", {"group": "name", "name": "Rocket skates"}).status_code == 302
    project.refresh_from_db()
    assert project.name == "Rocket skates"
    assert alice.post("/p/acme/settings/", {"group": "name", "name": "  "}).status_code == 422


# --- API keys -------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_works(alice: Client, project: Project) -> None:
    data = {"name": "agent", "scopes": ["ingest", "read"], "expires_at": "2199-12-31"}
    answer = alice.post("/p/acme/settings/keys/", data)
    secret = secret_in(answer.text)
    assert answer["Cache-Control"] == "no-store"
    key = ApiKey.objects.get()
    assert (key.scopes, key.expires_at) == (["ingest", "read"], datetime(2200, 1, 1, tzinfo=UTC))
    assert Caller(secret).log().status == 201
    again = alice.get("/p/acme/settings/keys/").text
    assert secret not in again
    assert key.prefix in again


def test_a_secret_is_kept_nowhere(alice: Client, project: Project) -> None:
    secret = secret_in(alice.post("/p/acme/settings/keys/", {"name": "agent", "scopes": "ingest"}).text)
    signing_secret = secret_in(alice.post("/p/acme/settings/signing-keys/", {"secret": ""}).text)
    link = secret_in(alice.post("/p/acme/settings/members/", {"email": "eve@example.com", "role": "viewer"}).text)
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT count(*) FROM "{table}" AS row WHERE row::text ~ %s', [re.escape(secret[12:])])
            assert cursor.fetchone() == (0,), table
            cursor.execute(f'SELECT count(*) FROM "{table}" AS row WHERE strpos(row::text, %s) > 0', [signing_secret])
            assert cursor.fetchone() == (0,), table
            cursor.execute(
                f'SELECT count(*) FROM "{table}" AS row WHERE strpos(row::text, %s) > 0', [link.rpartition(":")[2]]
            )
            assert cursor.fetchone() == (0,), table


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"name": "", "scopes": "ingest"}, "This field is required."),
        ({"name": "agent", "scopes": "everything"}, "Select a valid choice."),
        ({"name": "agent"}, "Choose one or more."),
        ({"name": "agent", "scopes": "ingest", "expires_at": "2001-01-01"}, "expires_at lies in the past."),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(alice: Client, data: dict[str, str], sentence: str) -> None:
    answer = alice.post("/p/acme/settings/keys/", data)
    assert (answer.status_code, sentence in answer.text, ApiKey.objects.exists()) == (422, True, False)


def test_htmx_gets_the_panel_alone(alice: Client) -> None:
    answer = alice.post("/p/acme/settings/keys/", {"name": "agent", "scopes": "ingest"}, headers={"HX-Request": "true"})
    assert secret_in(answer.text)
    assert "<html" not in answer.text


def test_a_key_is_revoked_and_stays_on_record(alice: Client, admin: Caller) -> None:
    key = ApiKey.objects.get()
    assert alice.post(f"/p/acme/settings/keys/{key.shown_id}/revoke/").status_code == 302
    assert admin("GET", "/v1/project").status == 401
    assert "revoked" in alice.get("/p/acme/settings/keys/").text
    assert alice.get(f"/p/acme/settings/keys/{key.shown_id}/revoke/").status_code == 405


# --- signing keys ---------------------------------------------------------------------------------------------


def test_rotation_signs_with_the_new_key_and_opens_with_the_old(alice: Client, project: Project) -> None:
    keys.create_signing_key(project=project, actor=SYSTEM, secret="the-first-secret-of-all")
    secret = secret_in(alice.post("/p/acme/settings/signing-keys/", {"secret": ""}).text)
    current = SigningKey.objects.get(is_current=True)
    assert current.key_id == keys.signing_key_id(secret)
    assert keys.current_signing_secret(project) == (current.key_id, secret)
    page = alice.get("/p/acme/settings/signing-keys/").text
    assert secret not in page
    assert "signs new links" in page


def test_the_current_signing_key_stays_and_an_earlier_one_goes(alice: Client, project: Project) -> None:
    first, _ = keys.create_signing_key(project=project, actor=SYSTEM)
    second, _ = keys.create_signing_key(project=project, actor=SYSTEM)
    refused = alice.post(f"/p/acme/settings/signing-keys/{second.key_id}/revoke/")
    assert (refused.status_code, "make a new signing key first" in refused.text) == (409, True)
    assert alice.post(f"/p/acme/settings/signing-keys/{first.key_id}/revoke/").status_code == 302
    first.refresh_from_db()
    assert first.revoked_at


def test_a_secret_of_ones_own_is_taken_and_not_shown(alice: Client, project: Project) -> None:
    secret = "  a secret with spaces  "
    answer = alice.post("/p/acme/settings/signing-keys/", {"secret": secret})
    assert (answer.status_code, secret.strip() in answer.text) == (200, False)
    assert keys.current_signing_secret(project) == (keys.signing_key_id(secret), secret)
    assert "already has" in alice.post("/p/acme/settings/signing-keys/", {"secret": secret}).text
    assert alice.post("/p/acme/settings/signing-keys/", {"secret": "short"}).status_code == 422


# --- members and invitations ----------------------------------------------------------------------------------


def invited(alice: Client, email: str = "eve@example.com", role: str = "reviewer") -> str:
    answer = alice.post("/p/acme/settings/members/", {"email": email, "role": role})
    assert answer["Cache-Control"] == "no-store"
    address = secret_in(answer.text)
    assert address.startswith("http://testserver/accounts/invitation/")
    return address.removeprefix("http://testserver")


def test_somebody_new_makes_an_account_and_is_in(alice: Client, project: Project) -> None:
    address, eve = invited(alice), Client()
    page = eve.get(address)
    assert "Make an account and join" in page.text
    assert page["Referrer-Policy"] == "no-referrer"
    answer = eve.post(address, {"name": "Eve Adams", "password": "correct horse battery"})
    assert answer["Location"] == "/p/acme/"
    assert "Welcome to Acme." in eve.get("/p/acme/").text
    joined = project.members.get(user__username="eve@example.com")
    assert (joined.role, joined.user.get_full_name()) == ("reviewer", "Eve Adams")
    assert Client().login(email="eve@example.com", password="correct horse battery")
    assert "Eve Adams" in alice.get("/p/acme/settings/members/").text


def test_an_invitation_works_once(alice: Client) -> None:
    address = invited(alice)
    assert Client().post(address, {"password": "correct horse battery"}).status_code == 302
    again = Client().post(address, {"password": "another long password"}, headers={"Accept": "text/html"})
    assert (again.status_code, "has been used" in again.text) == (410, True)
    assert Client().get(address).status_code == 410


@pytest.mark.django_db(transaction=True)
def test_two_who_open_it_at_once_make_one_account() -> None:
    project = make_project("acme")
    _, token = invitations.invite(project=project, actor=SYSTEM, email="eve@example.com", role="viewer")

    def join(password: str) -> Callable[[], int]:
        return lambda: Client().post(f"/accounts/invitation/{token}/", {"password": password}).status_code

    statuses = in_threads([join(f"a long password {number}") for number in range(4)])
    assert sorted(statuses) == [302, 410, 410, 410]
    assert project.members.count() == 1


def test_who_has_an_account_signs_in_and_joins(
    alice: Client, project: Project, charlie: Client, signed_in: Callable[[str], Client]
) -> None:
    address = invited(alice, "charlie@example.com", "viewer")
    assert f"/accounts/login/?next={address}".replace(":", "%3A") in Client().get(address).text
    assert "Join" in charlie.get(address).text
    assert charlie.post(address)["Location"] == "/p/acme/"
    assert project.members.get(user__username="charlie@example.com").role == "viewer"


def test_an_invitation_makes_no_way_into_an_account_that_exists(alice: Client, charlie: Client) -> None:
    address = invited(alice, "charlie@example.com")
    answer = Client().post(address, {"password": "a password of a thief"})
    assert (answer.status_code, "Sign in and join" in answer.text) == (422, True)
    assert User.objects.get(username="charlie@example.com").check_password(PASSWORD)


def test_an_invitation_is_for_one_person(alice: Client, charlie: Client, project: Project) -> None:
    address = invited(alice)
    assert "You are signed in as charlie@example.com" in charlie.get(address).text
    assert charlie.post(address).status_code == 403
    assert not project.members.filter(user__username="charlie@example.com").exists()


@pytest.mark.parametrize("change", ["expires_at", "revoked_at"])
def test_an_invitation_ends(alice: Client, change: str) -> None:
    address = invited(alice)
    Invitation.objects.update(**{change: timezone.now() - timedelta(seconds=1)})
    assert Client().get(address).status_code == 410
    assert Client().post(address, {"password": "correct horse battery"}).status_code == 410
    assert not User.objects.filter(username="eve@example.com").exists()


def test_an_owner_takes_an_invitation_back_and_a_new_one_ends_the_old(alice: Client) -> None:
    first, second = invited(alice), invited(alice)
    assert Client().get(first).status_code == 410
    assert Client().get(second).status_code == 200
    waiting = Invitation.objects.get(revoked_at=None)
    alice.post(f"/p/acme/settings/invitations/{waiting.shown_id}/revoke/")
    assert Client().get(second).status_code == 410


def test_a_link_that_we_did_not_sign_opens_nothing(alice: Client) -> None:
    address = invited(alice)
    other = Invitation.objects.get().id.hex
    for forged in (address[:-3] + "xx/", f"/accounts/invitation/{other}/", "/accounts/invitation/x:y/"):
        assert Client().get(forged).status_code == 404


def test_a_weak_password_makes_no_account(alice: Client) -> None:
    address = invited(alice)
    answer = Client().post(address, {"password": "short"})
    assert (answer.status_code, "at least 10 characters" in answer.text) == (422, True)
    assert not User.objects.filter(username="eve@example.com").exists()


def test_a_member_is_not_invited_again_and_no_nonsense_is(alice: Client, bob: Client) -> None:
    for email, sentence in (("bob@example.com", "They are a member already."), ("bob", "Enter a valid email address.")):
        answer = alice.post("/p/acme/settings/members/", {"email": email, "role": "viewer"})
        assert (answer.status_code, sentence in answer.text) == (422, True)


def test_the_link_goes_out_by_mail_where_there_is_a_server(alice: Client, settings: LazySettings) -> None:
    settings.SENDS_MAIL, settings.BASE_URL = True, "https://loop.acme.example"
    address = invited(alice)
    [letter] = mail.outbox
    assert letter.to == ["eve@example.com"]
    assert f"https://loop.acme.example{address}" in str(letter.body)
    # Where the page was asked for is the browser's word, and no letter's.
    assert "testserver" not in str(letter.body)


def test_roles_change_and_members_go(alice: Client, bob: Client, project: Project) -> None:
    row = project.members.get(user__username="bob@example.com")
    assert alice.post(f"/p/acme/settings/members/{row.pk}/role/", {"role": "viewer"}).status_code == 302
    row.refresh_from_db()
    assert row.role == "viewer"
    assert alice.post(f"/p/acme/settings/members/{row.pk}/remove/").status_code == 302
    assert bob.get("/p/acme/").status_code == 404


def test_the_last_owner_stays(alice: Client, project: Project) -> None:
    row = project.members.get()
    for path, data in (("role", {"role": "viewer"}), ("remove", {})):
        answer = alice.post(f"/p/acme/settings/members/{row.pk}/{path}/", data)
        assert (answer.status_code, "A project needs an owner" in answer.text) == (422, True)
    assert project.members.get().role == "owner"


def test_who_leaves_or_steps_down_lands_where_they_may_be(
    alice: Client, project: Project, signed_in: Callable[[str], Client]
) -> None:
    member(project, "dana", "owner")
    dana = signed_in("dana")
    own = project.members.get(user__username="dana@example.com")
    assert dana.post(f"/p/acme/settings/members/{own.pk}/role/", {"role": "viewer"})["Location"] == "/p/acme/"
    row = project.members.get(user__username="alice@example.com")
    member(project, "dana", "owner")
    assert alice.post(f"/p/acme/settings/members/{row.pk}/remove/")["Location"] == "/"


# --- all of them ----------------------------------------------------------------------------------------------


def test_queries_do_not_grow_with_rows(alice: Client, project: Project) -> None:
    paths = [f"/p/acme/settings/{part}" for part in ("", "keys/", "signing-keys/", "members/")]

    def fill(count: int) -> None:
        start = ApiKey.objects.count()
        for number in range(start, start + count):
            keys.create_key(project=project, actor=SYSTEM, name=f"key {number}")
            keys.create_signing_key(project=project, actor=SYSTEM)
            member(project, f"person-{number}", "viewer")
            invitations.invite(project=project, actor=SYSTEM, email=f"guest-{number}@example.com", role="viewer")

    fill(2)
    before = {path: count_queries(alice, path) for path in paths}
    fill(30)
    assert {path: count_queries(alice, path) for path in paths} == before
    assert max(before.values()) <= 12


def test_what_somebody_wrote_is_text_everywhere(alice: Client, project: Project) -> None:
    keys.create_key(project=project, actor=SYSTEM, name=MARKUP[:100])
    member(project, "mallory", "viewer")
    User.objects.filter(username="mallory@example.com").update(first_name=MARKUP)
    address = invited(alice)
    Invitation.objects.update(invited_by=MARKUP[:120], email=MARKUP)
    project.name = MARKUP[:100]
    project.settings = {"mask_patterns": [MARKUP], "widget_origins": [MARKUP]}
    project.save()
    pages = ["/p/acme/settings/", "/p/acme/settings/keys/", "/p/acme/settings/members/", address]
    for path in pages:
        text = alice.get(path).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;" in text


# --- webhooks and letters -------------------------------------------------------------------------------------


def test_a_webhook_is_added_with_a_secret_that_is_shown_once(alice: Client, project: Project) -> None:
    data = {"url": "https://hooks.example/a", "events": ["rollback", "turn.escalated"], "secret": ""}
    answer = alice.post("/p/acme/settings/webhooks/", data)
    secret = secret_in(answer.text)
    hook = Webhook.objects.get()
    assert (hook.url, hook.events) == ("https://hooks.example/a", ["rollback", "turn.escalated"])
    assert unseal(bytes(hook.encrypted_secret)) == secret
    page = alice.get("/p/acme/settings/webhooks/").text
    assert (secret in page, hook.url in page) == (False, True)
    project.refresh_from_db()
    assert project.told_events == ["rollback", "turn.escalated"]


def test_a_webhook_that_leads_nowhere_is_refused(alice: Client) -> None:
    for data, sentence in (
        ({"url": "ftp://hooks.example"}, "url takes an http or https address."),
        ({"url": "https://hooks.example", "events": "dinner"}, "Select a valid choice."),
        ({"url": "https://hooks.example", "secret": "short"}, "at least 16 characters"),
    ):
        answer = alice.post("/p/acme/settings/webhooks/", data)
        assert (answer.status_code, sentence in answer.text) == (422, True)
    assert not Webhook.objects.exists()


@pytest.fixture
def hook(project: Project) -> Webhook:
    return outbox.add_webhook(project, SYSTEM, url="https://hooks.example/a", secret="a-secret-of-sixteen")


def test_deliveries_are_shown_and_sent_again(alice: Client, project: Project, hook: Webhook) -> None:
    outbox.tell(project, "rollback", [{"message": "A path of book_meeting was rolled back."}])
    OutboxMessage.objects.update(parked_at=timezone.now(), tries=9, last_error="answered 500")
    page = alice.get(f"/p/acme/settings/webhooks/{shown('hook', hook.id)}/").text
    for text in ("given up", "answered 500", "A path of book_meeting was rolled back."):
        assert text in page
    assert "1 given up" in alice.get("/p/acme/settings/webhooks/").text
    message = OutboxMessage.objects.get()
    answer = alice.post(f"/p/acme/settings/deliveries/{shown('delivery', message.id)}/retry/")
    assert answer["Location"] == f"/p/acme/settings/webhooks/{shown('hook', hook.id)}/"
    message.refresh_from_db()
    assert message.parked_at is None


def test_deliveries_are_paged(alice: Client, project: Project, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentloop.outbox.DELIVERIES_SHOWN", 2)
    outbox.tell(project, "rollback", [{"message": f"number {number}"} for number in range(3)])
    path = f"/p/acme/settings/webhooks/{shown('hook', hook.id)}/"
    first = alice.get(path)
    assert "number 2" in first.text
    assert "number 0" not in first.text
    assert "number 0" in alice.get(f"{path}?{first.context['further']}").text


def test_a_webhook_ends(alice: Client, hook: Webhook) -> None:
    assert alice.post(f"/p/acme/settings/webhooks/{shown('hook', hook.id)}/remove/").status_code == 302
    assert not Webhook.objects.exists()


def test_every_member_chooses_their_own_letters(bob: Client, alice: Client, settings: LazySettings) -> None:
    settings.SENDS_MAIL = True
    data = {"events": ["turn.escalated", "rollback"], "every_minutes": "240"}
    assert bob.post("/p/acme/notices/", data).status_code == 302
    chosen = MemberNotices.objects.get()
    assert (chosen.member.user.email, chosen.events, chosen.every_minutes) == ("bob@example.com", data["events"], 240)
    assert 'value="240" selected' in bob.get("/p/acme/notices/").text
    assert "A turn was escalated to owners" in alice.get("/p/acme/settings/notices/").text
    bob.post("/p/acme/notices/", {"every_minutes": "60"})
    chosen.refresh_from_db()
    assert chosen.events == []


def test_without_a_mail_server_the_form_says_so(bob: Client) -> None:
    assert "sends no e-mail" in bob.get("/p/acme/notices/").text
    answer = bob.post("/p/acme/notices/", {"events": "rollback", "every_minutes": "60"})
    assert (answer.status_code, "AGENTLOOP_EMAIL_URL" in answer.text) == (422, True)


# --- the audit log --------------------------------------------------------------------------------------------


@pytest.fixture
def acts(project: Project, alice: Client) -> None:
    owner = tenancy.reach_of_member(User.objects.get(username="alice@example.com"), "acme").actor
    audit.note(project, owner, "key.create", "al_1234", name="agent")
    audit.note(project, SYSTEM, "key.revoke", "al_1234")
    audit.note(project, SYSTEM, "keyring.polish", "all")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("act=key", {"key.create", "key.revoke"}),
        ("act=key.create", {"key.create"}),
        ("actor=Alice@example.com", {"key.create"}),
        ("act=key&actor=system", {"key.revoke"}),
        ("act=key&until=2020-01-01", set()),
        ("act=key&since=2020-01-01", {"key.create", "key.revoke"}),
    ],
)
def test_acts_are_found_and_downloaded_with_the_same_filters(
    alice: Client, acts: None, query: str, found: set[str]
) -> None:
    answer = alice.get(f"/p/acme/settings/audit/?{query}")
    assert {entry.act for entry, _, _ in answer.context["rows"]} == found
    lines = alice.get(dict(answer.context["files"])["jsonl"]).getvalue().decode().splitlines()
    assert {json.loads(line)["act"] for line in lines} == found


def test_the_log_is_paged_and_names_people(alice: Client, acts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentloop.audit_pages.PAGE", 2)
    first = alice.get("/p/acme/settings/audit/?act=key")
    assert [label for _, label, _ in first.context["rows"]] == ["AgentLoop", "alice@example.com"]
    whole, path = [], "/p/acme/settings/audit/"
    while path:
        answer = alice.get(path)
        whole += [entry.pk for entry, _, _ in answer.context["rows"]]
        path = f"/p/acme/settings/audit/?{answer.context['further']}" if answer.context["further"] else ""
    assert whole == list(AuditEntry.objects.order_by("-id").values_list("pk", flat=True))


def test_the_log_is_exported_to_owners_alone(admin: Caller, plain: Caller, bob: Client) -> None:
    assert admin.client.get("/v1/export/audit.csv").getvalue().startswith(b"id,at,actor,act,")
    assert plain("GET", "/v1/export/audit.jsonl").status == 403
    assert bob.get("/p/acme/v1/export/audit.jsonl").status_code == 403
    assert admin("GET", "/v1/export/audit.jsonl?who=alice").body["fields"] == {
        "who": "is not a filter; there are act, actor, since, until."
    }


def test_queries_of_lists_do_not_grow_with_rows(alice: Client, project: Project, hook: Webhook) -> None:
    detail = f"webhooks/{shown('hook', hook.id)}/"
    paths = [f"/p/acme/settings/{part}" for part in ("webhooks/", detail, "notices/", "audit/")] + ["/p/acme/notices/"]

    def fill(start: int, count: int) -> None:
        for number in range(start, start + count):
            key, _ = keys.create_key(project=project, actor=SYSTEM, name=f"key {number}")
            audit.note(project, key_actor(key), "turn.delete", "turn_1")
            outbox.add_webhook(project, SYSTEM, url="https://hooks.example/b", secret="a-secret-of-sixteen")
            outbox.tell(project, "rollback", [{"message": "x"}])
            member(project, f"person-{number}", "viewer")

    fill(0, 2)
    before = {path: count_queries(alice, path) for path in paths}
    fill(2, 20)
    assert {path: count_queries(alice, path) for path in paths} == before
    assert max(before.values()) <= 12


def test_what_webhooks_and_the_log_hold_is_text(alice: Client, project: Project) -> None:
    hook = outbox.add_webhook(project, SYSTEM, url=f"https://x.example/{MARKUP}", secret="a-secret-of-sixteen")
    outbox.tell(project, "rollback", [{"message": MARKUP, MARKUP: MARKUP}])
    OutboxMessage.objects.update(last_error=MARKUP)
    audit.note(project, SYSTEM, MARKUP[:60], MARKUP, **{MARKUP: MARKUP})
    for path in ("webhooks/", f"webhooks/{shown('hook', hook.id)}/", "audit/"):
        text = alice.get(f"/p/acme/settings/{path}").text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;" in text
