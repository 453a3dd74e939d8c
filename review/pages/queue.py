"""The reviewers' pages: each view reads the request, calls one function of the queue's, and shows what came of it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.text import Truncator
from django.views.decorators.http import require_POST

from agentloop.errors import AppError
from agentloop.ids import read, shown
from agentloop.models import Scope
from agentloop.pages import MemberRequest, member_page, render_page
from agentloop.parsing import clean_text
from agentloop.tenancy import names_of_members
from review import errors, queue, verdicts
from review.effects import Shift, watching
from review.models import AnnotationSource, GoldTurn, QueueAct, Status, Turn
from review.pages import listing
from review.pages.listing import Asked
from review.pages.verdict_form import fields_in, verdict_in
from review.pages.work import work
from review.verdicts import Judged

PIECES = {
    "turn": "review/queue/_turn.html",
    "work": "review/queue/_work.html",
    "list": "review/queue/_list.html",
    "more": "review/queue/_rows.html",
}


def id_of(prefix: str, text: str, error: type[AppError]) -> UUID:
    found = read(prefix, text)
    if found is None:
        raise error
    return found


# --- looking --------------------------------------------------------------------------------------------------


@member_page(Scope.READ)
def queue_page(request: MemberRequest) -> HttpResponse:
    return _page(request, None)


@member_page(Scope.READ)
def queue_turn(request: MemberRequest, turn_id: str) -> HttpResponse:
    return _page(request, queue.find_turn(request.project, id_of("turn", turn_id, errors.TurnNotFound)))


def _page(request: MemberRequest, turn: Turn | None) -> HttpResponse:
    """The three panes, or the one that is asked for. At most twelve queries."""
    asked = Asked.of(request.GET)
    piece = request.htmx.target if request.htmx and request.htmx.target in PIECES else None
    people = names_of_members(request.project)
    known: dict[str, Any] = {"asked": asked, "turn": turn, "can_review": request.actor.may(Scope.REVIEW)}
    if piece not in ("work", "turn"):
        known["shown"] = listing.shown(request.project, request.actor, asked, people)
    if piece in (None, "list"):
        known["facets"] = listing.facets(request.project, asked, people)
        known["chips"] = asked.chips(people)
        known["views"] = listing.saved_views(request.project, request.actor)
        known["statuses"] = [
            (label, asked.of_status(value).query, value == asked.status) for value, label in _STATUS_LABELS.items()
        ]
    if piece in (None, "work", "turn") and turn is not None:
        known |= work(request.project, request.actor, turn, people, is_raw="raw" in request.GET)
    response = render_page(request, "review/queue/page.html", known, partial=PIECES.get(piece or ""))
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


_STATUS_LABELS = {Status.PENDING: "Waiting", Status.REVIEWED: "Reviewed", Status.DISMISSED: "Dismissed"}


def _desk(request: MemberRequest, turn: Turn | None, asked: Asked) -> HttpResponse:
    """The piece with the turn and its verdict alone: for what asked with a script."""
    known: dict[str, Any] = {
        "project": request.project,
        "actor": request.actor,
        "asked": asked,
        "turn": turn,
        "can_review": True,
        "is_over": turn is None,
    }
    if turn is not None:
        known |= work(request.project, request.actor, turn, names_of_members(request.project))
    return render(request, "review/queue/_work.html", known)


# --- claims ---------------------------------------------------------------------------------------------------


def _claim_next(request: MemberRequest, asked: Asked) -> Turn | None:
    """The next turn of the list that one works through; None when nothing waits in it."""
    try:
        if asked.is_plain:
            return queue.claim_next(request.project, request.actor).turn
        wanted = asked.filter(request.project)
        return queue.claim_matching(request.project, request.actor, wanted, asked.sort).turn
    except errors.QueueEmpty:
        return None


@member_page(Scope.REVIEW)
@require_POST
def queue_next(request: MemberRequest) -> HttpResponse:
    """Claims the next turn and opens it."""
    asked = Asked.of(request.GET)
    turn = _claim_next(request, asked)
    if request.htmx:
        return _desk(request, turn, asked)
    return redirect(_address(request, turn, asked))


def _address(request: MemberRequest, turn: Turn | None, asked: Asked) -> str:
    if turn is None:
        return reverse("queue", kwargs={"project": request.project.slug}) + asked.query
    path = reverse("queue_turn", kwargs={"project": request.project.slug, "turn_id": turn.shown_id})
    return path + asked.query


@member_page(Scope.REVIEW)
@require_POST
def queue_claim(request: MemberRequest, turn_id: str) -> HttpResponse:
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    turn = queue.claim_given(request.project, request.actor, wanted).turn
    if request.htmx:
        return _claim_piece(request, turn)
    return redirect(_address(request, turn, Asked.of(request.GET)))


@member_page(Scope.REVIEW)
@require_POST
def queue_heartbeat(request: MemberRequest, turn_id: str) -> HttpResponse:
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    token = _token(request)
    if token is None:
        raise errors.ClaimLost
    return _claim_piece(request, queue.heartbeat(request.project, request.actor, wanted, token))


def _claim_piece(request: MemberRequest, turn: Turn) -> HttpResponse:
    return render(
        request, "review/queue/_claim.html", {"turn": turn, "token": turn.claim_token, "project": request.project}
    )


def _token(request: HttpRequest) -> int | None:
    text = request.POST.get("claim_token", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


@member_page(Scope.REVIEW)
@require_POST
def queue_release(request: MemberRequest, turn_id: str) -> HttpResponse:
    """Gives the turn back. A page that is being left says so without waiting for an answer."""
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    queue.release(request.project, request.actor, wanted, _token(request))
    if "leaving" in request.POST:
        return HttpResponse(status=204)
    return redirect(_address(request, None, Asked.of(request.GET)))


@member_page(Scope.REVIEW)
@require_POST
def queue_draft(request: MemberRequest, turn_id: str) -> HttpResponse:
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    response = Turn.objects.with_gold(request.project).filter(id=wanted).values_list("response", flat=True).first()
    draft = queue.save_draft(request.project, request.actor, wanted, fields_in(request, response or ""))
    return render(request, "review/queue/_draft.html", {"saved_at": draft.saved_at})


# --- acts -----------------------------------------------------------------------------------------------------


def _acted(request: MemberRequest, text: str, act: QueueAct, *, kind: str = "success") -> HttpResponse:
    """Says what was done, with its undo, and goes on: to the next turn, unless the page has that already."""
    asked = Asked.of(request.GET)
    undo_url = _undo_url(request, act)
    if request.htmx:
        notice = render(
            request, "agentloop/_notice.html", {"kind": kind, "text": text, "undo_url": undo_url}
        ).content.decode()
        if request.headers.get("X-Has-Next"):
            return HttpResponse(notice)
        return HttpResponse(notice + _desk(request, _claim_next(request, asked), asked).content.decode())
    messages.add_message(request, messages.SUCCESS, text, extra_tags=undo_url)
    return redirect(_address(request, _claim_next(request, asked), asked))


def _undo_url(request: MemberRequest, act: QueueAct) -> str:
    return reverse("queue_undo", kwargs={"project": request.project.slug, "act_id": shown("act", act.id)})


@member_page(Scope.REVIEW)
@require_POST
def queue_verdict(request: MemberRequest, turn_id: str) -> HttpResponse:
    turn = queue.find_turn(request.project, id_of("turn", turn_id, errors.TurnNotFound))
    verdict = verdict_in(request, turn.response)

    def judge() -> Judged:
        return verdicts.judge_turn(
            request.project,
            request.actor,
            turn.id,
            verdict,
            source=AnnotationSource.REVIEWER,
            token=_token(request),
        )

    with verdicts.keeping_text(request.project, request.actor, turn.id, verdict):
        judged, shifts = watching(request.project, turn.goal, judge)
    return _acted(request, _what_it_did(judged, shifts), judged.act)


def _what_it_did(judged: Judged, shifts: list[Shift]) -> str:
    parts = [f"Judged {judged.annotation.get_rating_display().lower()}."]
    if judged.gold:
        parts.append(_what_was_known(judged.gold, judged.annotation.rating))
    if judged.is_waiting:
        parts.append("It counts once the verdicts on this turn agree, or an owner has decided.")
    parts += [f"{shift}." for shift in shifts]
    if judged.memory is not None:
        parts.append("Correction saved as memory." if judged.memory.is_new else "Correction joined a like memory.")
    return " ".join(parts)


def _what_was_known(known: GoldTurn, said: str) -> str:
    agrees = "says the same" if known.rating == said else f"says {known.get_rating_display().lower()}"
    why = f" {Truncator(known.explanation).chars(200)}" if known.explanation else ""
    return f"This was a gold turn, to see how well verdicts hold. Your team {agrees}.{why}"


@member_page(Scope.REVIEW)
@require_POST
def queue_skip(request: MemberRequest, turn_id: str) -> HttpResponse:
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    done = queue.skip(request.project, request.actor, wanted, _token(request))
    return _acted(request, "Skipped: it comes after all others for you.", done.act)


_SNOOZES = {"1h": 1, "4h": 4, "1d": 24, "7d": 168}


@member_page(Scope.REVIEW)
@require_POST
def queue_snooze(request: MemberRequest, turn_id: str) -> HttpResponse:
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    hours = _SNOOZES.get(request.POST.get("snooze_for", ""), 24)
    until = timezone.now() + timedelta(hours=hours)
    done = queue.snooze(request.project, request.actor, wanted, until, _token(request))
    return _acted(request, f"Snoozed until {until:%-d %B, %H:%M} UTC.", done.act)


@member_page(Scope.REVIEW)
@require_POST
def queue_escalate(request: MemberRequest, turn_id: str) -> HttpResponse:
    """Flags the turn for the owners. What stands in the comment goes along as the note."""
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    note = clean_text(request.POST.get("comment", ""))
    done = queue.escalate(request.project, request.actor, wanted, note, _token(request))
    return _acted(request, "Flagged for the owners.", done.act)


@member_page(Scope.REVIEW)
@require_POST
def queue_dismiss(request: MemberRequest, turn_id: str) -> HttpResponse:
    """Closes the turn without a verdict. What stands in the comment is the reason."""
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    reason = clean_text(request.POST.get("comment", ""))
    done = queue.dismiss(request.project, request.actor, wanted, reason, _token(request))
    return _acted(request, "Dismissed.", done.act)


@member_page(Scope.REVIEW)
@require_POST
def queue_reopen(request: MemberRequest, turn_id: str) -> HttpResponse:
    wanted = id_of("turn", turn_id, errors.TurnNotFound)
    done = queue.reopen(request.project, request.actor, wanted)
    messages.success(request, "Back in the queue.", extra_tags=_undo_url(request, done.act))
    return redirect(_address(request, done.turn, Asked()))


@member_page(Scope.REVIEW)
@require_POST
def queue_undo(request: MemberRequest, act_id: str) -> HttpResponse:
    """Takes back an act, says what that changed, and opens its turn again."""
    wanted = id_of("act", act_id, errors.ActNotFound)
    turn = (
        Turn.objects.with_gold(request.project).filter(id__in=_subject_of(request, wanted)).only("id", "goal").first()
    )
    act, shifts = watching(
        request.project, turn.goal if turn else "", lambda: verdicts.undo(request.project, request.actor, wanted)
    )
    text = " ".join([f"Undone: {act.act}.", *(f"{shift}." for shift in shifts)])
    url = _address(request, turn, Asked.of(request.GET))
    if request.htmx:
        return render(request, "agentloop/_notice.html", {"kind": "info", "text": text, "open_url": url})
    messages.info(request, text)
    return redirect(url if turn else _verdict_address(request, act) or url)


def _verdict_address(request: MemberRequest, act: QueueAct) -> str | None:
    """The page of what an undone edit was of, where there is no turn to open."""
    if act.act != "edit":
        return None
    key = shown("ann", UUID(hex=act.details["annotation"]))
    return reverse("annotations_page_verdict", kwargs={"project": request.project.slug, "annotation_id": key})


def _subject_of(request: MemberRequest, act_id: UUID) -> Any:
    return QueueAct.objects.filter(project=request.project, id=act_id).values("subject_id")
