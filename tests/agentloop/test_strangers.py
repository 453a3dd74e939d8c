"""Every route, tried by everyone who has no business there: a stranger's key, a stranger's session, and nobody.

The routes are read from the URL configuration, so that a new one is tried without anybody remembering it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from agentloop.actors import SYSTEM
from agentloop.ids import shown
from agentloop.keys import create_signing_key
from agentloop.models import Invitation, OutboxMessage, Project, Webhook
from review import bulk
from review.models import BulkAct, SavedView, Turn
from routing.models import goal_id
from tests.review.support import Caller, caller_for, make_project, member, settle_index

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SECRET = "acme-secret-word"

# Whoever asks may read these. Each line is a decision: add one only with a reason.
PUBLIC = {
    # Says which account may come in, and lets it out.
    *("account_login", "account_logout", "account_inactive", "account_signup", "account_email"),
    *("account_email_verification_sent", "account_reset_password", "account_reset_password_done"),
    *("account_reset_password_from_key", "account_reset_password_from_key_done"),
    # The second step, a passkey and an identity provider: for whoever is not in yet.
    *("mfa_authenticate", "mfa_login_webauthn", "openid_connect_login", "openid_connect_callback"),
    *("socialaccount_login_cancelled", "socialaccount_login_error", "socialaccount_signup"),
    "socialaccount_connections",
    # Describes the API; nothing of any project.
    *("schema", "reference"),
    # Keeps light or dark in the visitor's own cookie.
    "theme",
    # A signed link is its own door: it names one address, and works once.
    "invitation",
    # For load balancers and for clients that look whether the server is there.
    *("healthz", "readyz", "routing_health", "intelligence_health"),
    # Opened by whoever holds a signed link: tests/feedback_widget.
    *("feedback_short", "feedback"),
    # Has a rule of its own: see test_metrics.
    "metrics",
}
# Pages of a person without a project in the path: they show what is theirs.
PERSONAL = {
    *(
        "overview",
        "own_widget_demo",
        "account_change_password",
        "account_set_password",
        "account_reauthenticate",
        "usersessions_list",
    ),
    *("mfa_index", "mfa_reauthenticate", "mfa_activate_totp", "mfa_deactivate_totp", "mfa_view_recovery_codes"),
    *("mfa_generate_recovery_codes", "mfa_list_webauthn", "mfa_add_webauthn", "mfa_reauthenticate_webauthn"),
    # They name a passkey, which must be one's own: see test_account.
    *("mfa_remove_webauthn", "mfa_edit_webauthn"),
}

# Valid for every route at once, so that a request is refused for who asks, not for what.
ANYTHING = {
    "question": "a question",
    "agent_response": "a response",
    "rating": "correct",
    "role": "viewer",
    "until": f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}",
    "body": {"rating": "correct"},
    "user_id": "someone",
    "name": "renamed",
    "goal": "a-goal",
    "success": True,
    "trace_id": "a-trace",
    "model_id": "a-model",
    "model": "a-model",
    "note": "a note",
    "turns": [],
}
BODIES: dict[str, dict[str, Any]] = {
    "member": {"role": "viewer"},
    "members": {"email": "eve@example.com", "role": "owner"},
    "keys": {"name": "eve"},
    "project": {"name": "renamed"},
    "signing_keys": {},
    "turn_heartbeat": {"claim_token": 1},
}


@dataclass(frozen=True)
class Route:
    name: str
    template: str

    def path(self, ids: dict[str, str]) -> str:
        names = set(re.findall(r"<(?:\w+:)?(\w+)>", self.template))
        assert names <= set(ids), f"{self.template}: add a row that {names - set(ids)} names to the fixture `acme`."
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ids[found[1]], self.template)

    @property
    def is_page(self) -> bool:
        """For people: whoever is not signed in is sent to do so."""
        return not re.sub("^/p/<slug:project>", "", self.template).startswith(("/v1/", "/api/"))

    @property
    def names_an_object(self) -> bool:
        return bool(re.search(r"<(?:\w+:)?(?!project|form)\w+>", self.template))


def routes_of(patterns: list[URLPattern | URLResolver], before: str = "/") -> Iterator[Route]:
    for pattern in patterns:
        part = before + str(pattern.pattern).removeprefix("^").removesuffix("$")
        if isinstance(pattern, URLResolver):
            yield from routes_of(pattern.url_patterns, part)
        else:
            yield Route(pattern.name or "", re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", part))


ROUTES = [route for route in routes_of(get_resolver().url_patterns) if route.name not in PUBLIC]
BELOW_A_PROJECT = [route for route in ROUTES if route.template.startswith("/p/<slug:project>/")]
AT_THE_ROOT = [route for route in ROUTES if route not in BELOW_A_PROJECT and route.name not in PERSONAL]


@pytest.fixture
def acme(db: None) -> dict[str, str]:
    """A project with a row of every kind that a path can name."""
    project = make_project("acme")
    admin = caller_for(project)
    judged = admin.log(f"{SECRET} judged", "An answer.", trace_id="acme-trace", goal="acme-goal").body["turn_id"]
    verdict = admin("POST", f"/v1/turns/{judged}/verdict", {"rating": "incorrect", "correction": SECRET}).body
    waiting = admin.log(f"{SECRET} waiting", user_id="someone", signals={SECRET: True}).body["turn_id"]
    route = admin("POST", "/api/v1/routing/paths", {"goal": "acme-goal", "model_id": SECRET, "risk_level": "low"}).body
    decided = admin("POST", "/api/v1/routing/decide", {"goal": "acme-goal", "task_risk_level": "low"}).body
    history = admin("GET", f"/v1/turns/{judged}/history").body
    hook = Webhook.objects.create(project=project, url="https://hooks.example", encrypted_secret=b"sealed")
    told = OutboxMessage.objects.create(project=project, webhook=hook, event="rollback", body={})
    alice = member(project, "alice", "owner")
    view = SavedView.objects.create(project=project, owner=alice.ref, name=SECRET, is_shared=True)
    tagged = bulk.begin(project, alice, BulkAct.TAG, {"tags": [SECRET]}, Turn.objects.of(project).pending())
    signing, _ = create_signing_key(project=project, actor=SYSTEM)
    invited = Invitation.objects.create(
        project=project, email="eve@example.com", role="viewer", expires_at=timezone.now()
    )
    settle_index()
    gold = admin("POST", "/v1/gold", {"turn_id": judged}).body["gold_id"]
    return {
        "project": "acme",
        "gold_id": gold,
        "turn_id": waiting,
        "annotation_id": verdict["annotation_id"],
        "memory_id": verdict["memory_id"],
        "act_id": history["acts"][0]["act_id"],
        "key_id": admin("GET", "/v1/keys").body["keys"][0]["id"],
        "signing_key_id": signing.key_id,
        "invitation_id": invited.shown_id,
        "member_id": str(project.members.get().pk),
        "path_id": route["path_id"],
        "goal": "acme-goal",
        "goal_key": shown("goal", goal_id(project.id, "acme-goal")),
        "trace_id": decided["trace_id"],
        "webhook_id": shown("hook", hook.id),
        "delivery_id": shown("delivery", told.id),
        "view_id": view.id.hex,
        "bulk_id": tagged.shown_id,
        "form": "jsonl",
    }


def kept(slug: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of a project, in every table that has one."""
    project = Project.objects.get(slug=slug)
    tables = [model for model in apps.get_models() if "project_id" in {f.attname for f in model._meta.concrete_fields}]
    rows: dict[str, list[dict[str, Any]]] = {
        model.__name__: sorted(model._base_manager.filter(project_id=project.pk).values(), key=str) for model in tables
    }
    rows["Project"] = list(Project.objects.filter(pk=project.pk).values())
    # A refusal that is counted and a use that is noted are no change that a stranger made.
    for row in rows["ApiKey"]:
        row.pop("last_used_at")
    return rows


def attempts(client: Client, routes: list[Route], ids: dict[str, str]) -> Iterator[tuple[str, Route, HttpResponse]]:
    for route in routes:
        body = json.dumps(BODIES.get(route.name, ANYTHING))
        for method in METHODS:
            path = route.path(ids)
            answer = client.generic(method, path, body, content_type="application/json")
            yield f"{method} {route.template}", route, answer


def text_of(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode() if answer.streaming else answer.content.decode()


def test_the_walk_finds_the_routes() -> None:
    assert {"turn", "keys", "member", "project_overview", "path"} <= {route.name for route in BELOW_A_PROJECT}
    assert len(AT_THE_ROOT) >= 40
    assert not [route for route in ROUTES if not route.name], "every route needs a name"


def test_what_is_public_and_personal_is_there() -> None:
    known = {route.name for route in routes_of(get_resolver().url_patterns)}
    assert known >= PUBLIC | PERSONAL


def test_a_strangers_key_finds_nothing_below_the_prefix(acme: dict[str, str], stranger: Caller) -> None:
    before = kept("acme")
    wrong = {
        label: answer.status_code
        for label, route, answer in attempts(stranger.client, BELOW_A_PROJECT, acme)
        if answer.status_code not in ((302, 405) if route.is_page else (404,))
    }
    assert not wrong
    assert kept("acme") == before


def test_a_strangers_session_finds_nothing_below_the_prefix(acme: dict[str, str], charlie: Client) -> None:
    before = kept("acme")
    wrong = {
        label: answer.status_code
        for label, _, answer in attempts(charlie, BELOW_A_PROJECT, acme)
        if answer.status_code != 404
    }
    assert not wrong
    assert kept("acme") == before


def test_nobody_gets_past_the_door(acme: dict[str, str]) -> None:
    before = kept("acme")
    wrong = {
        label: answer.status_code
        for label, route, answer in attempts(Client(), BELOW_A_PROJECT + AT_THE_ROOT, acme)
        if answer.status_code != (302 if route.is_page else 401)
    }
    assert not wrong
    assert kept("acme") == before


def test_a_strangers_key_reaches_no_row_by_its_id(acme: dict[str, str], stranger: Caller) -> None:
    """At the root the stranger is in their own project: naming a row of another one must find nothing."""
    before = kept("acme")
    wrong = {}
    for label, route, answer in attempts(stranger.client, AT_THE_ROOT, acme):
        leaks = SECRET in text_of(answer)
        reaches = route.names_an_object and answer.status_code not in (403, 404, 405)
        if leaks or reaches:
            wrong[label] = (answer.status_code, "leaks" if leaks else "reaches")
    assert not wrong
    assert kept("acme") == before


def test_a_key_of_the_project_without_scopes_for_it_is_refused(acme: dict[str, str]) -> None:
    """A key for logging turns alone: it may do that, and nothing that reads, judges, routes or administers."""
    narrow = caller_for(Project.objects.get(slug="acme"), "ingest", name="narrow")
    before = kept("acme")
    allowed = {"POST /v1/turns", "POST /v1/turns/batch", "POST /v1/feedback-urls"}
    allowed |= {"POST /api/ingest", "POST /api/v1/traces"}
    wrong = {
        label: answer.status_code
        for label, _, answer in attempts(narrow.client, AT_THE_ROOT, acme)
        if label not in allowed and answer.status_code not in (403, 405)
    }
    assert not wrong
    after = kept("acme")
    assert {name for name in after if after[name] != before[name]} <= {"Turn", "StaleTurn", "EventSpan"}


def test_every_table_with_a_project_is_watched(acme: dict[str, str]) -> None:
    filled = {name for name, rows in kept("acme").items() if rows}
    assert {"Turn", "Annotation", "Memory", "Member", "ApiKey", "AuditEntry", "Path", "Webhook"} <= filled
