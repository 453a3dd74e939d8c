"""GET /v1/stats."""

from agentloop.models import Project
from agentloop.refusals import flush
from review.models import Turn
from review.removal import sweep_expired
from tests.review.support import Caller, caller_for, settle_index


def test_tells_how_the_queue_is_doing(call: Caller, project: Project) -> None:
    ids = [
        call.log(str(n), goal="g" if n else "", signals={"thumbs_down": True, "seen": n > 2}).body["turn_id"]
        for n in range(6)
    ]
    call("POST", "/v1/turns", {})
    call("POST", "/v1/queue/claim", {"turn_id": ids[1]})
    call("POST", f"/v1/turns/{ids[2]}/escalate", {})
    call("POST", f"/v1/turns/{ids[3]}/dismiss", {})
    call("POST", f"/v1/turns/{ids[4]}/verdict", {"rating": "correct"})
    Turn.objects.filter(question="5").update(expires_at="2026-01-01T00:00Z")
    sweep_expired(project)
    settle_index()
    flush()
    stats = call("GET", "/v1/stats").body
    oldest = Turn.objects.order_by("id")[0]
    assert stats == {
        "pending": 3,
        "oldest_logged_at": oldest.logged_at.isoformat().replace("+00:00", "Z"),
        "next_expires_at": oldest.expires_at.isoformat().replace("+00:00", "Z"),
        "claimed": 1,
        "escalated": 1,
        "reviewed_today": 1,
        "dismissed_today": 1,
        "expired_unseen": stats["expired_unseen"],
        "refused": [{"reason": "missing_text", "count": 1}],
        "top_signals": [{"signal": "thumbs_down", "count": 3}],
        "goals": [{"goal": "g", "count": 2}],
    }


def test_an_empty_project_has_figures_too(call: Caller, stranger: Caller) -> None:
    stranger.log()
    assert call("GET", "/v1/stats").body == {
        "pending": 0,
        "oldest_logged_at": None,
        "next_expires_at": None,
        "claimed": 0,
        "escalated": 0,
        "reviewed_today": 0,
        "dismissed_today": 0,
        "expired_unseen": [],
        "refused": [],
        "top_signals": [],
        "goals": [],
    }


def test_scopes_and_methods(call: Caller, project: Project) -> None:
    assert caller_for(project, "ingest", "review")("GET", "/v1/stats").status == 403
    assert call("POST", "/v1/stats", {}).status == 405
