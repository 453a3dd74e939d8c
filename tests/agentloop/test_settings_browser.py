"""The settings and lists in a browser: for everyone, in both themes, at both widths, and without a script."""

from typing import Any

import pytest

from agentloop import invitations, keys, outbox
from agentloop.actors import SYSTEM
from agentloop.ids import shown
from agentloop.models import ApiKey, Project
from tests.agentloop.test_pages import sign_in
from tests.looks import SIZES, problems_of
from tests.review.support import caller_for, make_project, member


@pytest.fixture
def filled(transactional_db: None) -> list[str]:
    """A project with a row of each kind; answers the paths of the pages that show them."""
    project = make_project("acme")
    member(project, "alice", "owner")
    call = caller_for(project)
    turn_id = call.log("When do you open?", "At noon.", signals={"thumbs_down": True}, goal="hours").body["turn_id"]
    judged = {"rating": "incorrect", "correction": "At nine.", "root_cause": "context", "tags": ["hours"]}
    memory_id = call("POST", f"/v1/turns/{turn_id}/verdict", judged).body["memory_id"]
    call.log("And when do you close?", "At six.", signals={"rephrase": True})
    old, _ = keys.create_key(project=project, actor=SYSTEM, name="old")
    keys.revoke_key(key=old, actor=SYSTEM)
    for _ in range(2):
        keys.create_signing_key(project=project, actor=SYSTEM)
    invitations.invite(project=project, actor=SYSTEM, email="eve@example.com", role="viewer")
    hook = outbox.add_webhook(project, SYSTEM, url="https://hooks.example/a", secret="a-secret-of-sixteen")
    outbox.tell(Project.objects.get(), "rollback", [{"message": "A path was rolled back."}])
    settings = (
        "",
        "weights/",
        "keys/",
        "signing-keys/",
        "members/",
        "webhooks/",
        "notices/",
        "audit/",
        "rubric/",
        "widget/",
    )
    lists = ("annotations/", "memories/", f"memories/{memory_id}/edit/", "exports/", "notices/", "annotations/?tag=no")
    own = [f"/p/acme/settings/{part}" for part in (*settings, f"webhooks/{shown('hook', hook.id)}/")]
    return own + [f"/p/acme/{part}" for part in lists]


@pytest.mark.parametrize("size", SIZES)
def test_everyone_can_use_every_page(browser: Any, live_server: Any, filled: list[str], size: str) -> None:
    width, height = SIZES[size]
    # Axe is put in by the test itself, which the pages' policy would refuse.
    context = browser.new_context(
        viewport={"width": width, "height": height}, bypass_csp=True, base_url=live_server.url
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto("/accounts/login/?next=/p/acme/settings/")
    sign_in(page)
    page.get_by_role("heading", name="Project", exact=True).wait_for()
    found = {}
    for path in filled:
        page.goto(path)
        found[path] = problems_of(page)
    context.close()
    assert found == {path: [] for path in found}
    assert said == []


def test_an_owner_does_without_a_script(browser: Any, live_server: Any, filled: list[str]) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=live_server.url)
    page = context.new_page()
    page.goto("/accounts/login/?next=/p/acme/settings/")
    sign_in(page)
    page.get_by_label("Days until an unseen turn expires").fill("0")
    page.locator("#keeping").get_by_role("button").click()
    page.get_by_text("Takes a whole number from 1 to 3650.").wait_for()
    page.get_by_label("Days until an unseen turn expires").fill("14")
    page.locator("#keeping").get_by_role("button").click()
    page.get_by_text("How long things are kept: saved.").wait_for()
    assert Project.objects.get().setting("ttl_days") == 14
    page.get_by_role("link", name="API keys").click()
    page.get_by_label("What it is for").fill("agent")
    page.get_by_role("button", name="Make the key").click()
    assert page.locator("#secret").inner_text().startswith("al_")
    page.get_by_text("Revoke agent").click()
    page.get_by_role("button", name="Revoke this key").first.click()
    page.get_by_text("agent is revoked").wait_for()
    assert ApiKey.objects.get(name="agent").revoked_at
    page.goto("/p/acme/settings/weights/")
    page.get_by_label("Weight of rephrase").fill("9")
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("would move").wait_for()
    page.goto("/p/acme/annotations/")
    page.get_by_label("Rating").select_option("correct")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("Nothing matches").wait_for()
    context.close()


def test_a_key_is_copied_and_gone_after_the_next_load(browser: Any, live_server: Any, filled: list[str]) -> None:
    context = browser.new_context(base_url=live_server.url, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto("/accounts/login/?next=/p/acme/settings/keys/")
    sign_in(page)
    page.get_by_label("What it is for").fill("agent")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret").inner_text()
    assert page.evaluate("document.activeElement.id") == "reveal-title"
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    assert secret not in page.url
    page.reload()
    page.get_by_text("agent").first.wait_for()
    assert secret not in page.content()
    assert said == []
    context.close()


def test_weights_show_their_effect_while_one_types(browser: Any, live_server: Any, filled: list[str]) -> None:
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    page.goto("/accounts/login/?next=/p/acme/settings/weights/")
    sign_in(page)
    page.get_by_text("The last 2 turns, as they come now").wait_for()
    page.get_by_label("Weight of rephrase").fill("9")
    page.get_by_text("2 of the last 2 turns would move").wait_for()
    page.get_by_label("Weight of rephrase").fill("much")
    page.get_by_text("Look at the weights in red.").wait_for()
    assert Project.objects.get().setting("signal_weights") == {}
    context.close()


def test_what_was_done_is_said_aloud_and_covers_nothing_on_a_phone(
    browser: Any, live_server: Any, filled: list[str]
) -> None:
    context = browser.new_context(base_url=live_server.url, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto("/accounts/login/?next=/p/acme/settings/widget/")
    sign_in(page)
    page.get_by_role("heading", name="Feedback form").wait_for()
    assert page.locator("[data-notice]").count() == 0
    page.locator("#look").get_by_role("button", name="Save").click()
    page.locator("[data-notice]").wait_for()
    page.wait_for_function("() => document.getElementById('live').textContent.includes('The feedback form is saved')")
    box = page.locator("[data-notice]").bounding_box()
    assert box["x"] >= 8
    assert box["x"] + box["width"] <= 390 - 8
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    button = page.locator("#access").get_by_role("button", name="Save").bounding_box()
    assert button["y"] + button["height"] <= page.locator("[data-notice]").bounding_box()["y"]
    context.close()
