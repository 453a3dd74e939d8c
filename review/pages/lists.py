"""What is done with a whole list: kept as a view by name, or acted on in bulk."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST
from rest_framework.serializers import ValidationError

from agentloop.errors import AppError, Conflict, Invalid, NotFound, as_app_error
from agentloop.ids import read, shown
from agentloop.models import Scope
from agentloop.pages import MemberRequest, member_page, render_page
from agentloop.parsing import clean_text
from review import bulk
from review.models import BulkAct, BulkJob, FailureCategory, Rating, SavedView, Status, Turn, TurnQuerySet
from review.pages.listing import COUNTED, PREVIEW, Asked
from review.pages.verdict_form import ROOT_CAUSES
from review.serializers import VerdictIn

SAMPLE = 5


class ViewNotFound(NotFound):
    """There is no such view, or it is somebody else's."""


class BulkNotFound(NotFound):
    """There is no such bulk act in this project."""


# --- views that are kept --------------------------------------------------------------------------------------


@member_page(Scope.READ)
@require_POST
def queue_views(request: MemberRequest) -> HttpResponse:
    """Keeps the list that one looks at. A reader may keep one too: it is theirs alone unless they may review."""
    asked = Asked.of(request.GET)
    name = " ".join(clean_text(request.POST.get("name", "")).split())[:60]
    if not name:
        raise Invalid("A view needs a name.", fields={"name": "is empty"})
    is_shared = request.POST.get("is_shared") == "true" and request.actor.may(Scope.REVIEW)
    try:
        with transaction.atomic():
            SavedView.objects.create(
                project=request.project, owner=request.actor.ref, name=name, query=asked.query, is_shared=is_shared
            )
    except IntegrityError as error:
        raise Conflict(f"You have a view called {name} already: choose another name.") from error
    messages.success(request, f"Kept as {name}.")
    return redirect(reverse("queue", kwargs={"project": request.project.slug}) + asked.query)


@member_page(Scope.READ)
@require_POST
def queue_view_delete(request: MemberRequest, view_id: str) -> HttpResponse:
    own = SavedView.objects.of(request.project).filter(owner=request.actor.ref)
    deleted, _ = own.filter(id=_uuid(view_id, ViewNotFound)).delete()
    if not deleted:
        raise ViewNotFound
    return redirect(reverse("queue", kwargs={"project": request.project.slug}) + Asked.of(request.GET).query)


def _uuid(text: str, error: type[AppError]) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError as problem:
        raise error from problem


# --- bulk acts ------------------------------------------------------------------------------------------------


def _chosen(request: MemberRequest, asked: Asked) -> TurnQuerySet:
    """The turns that the form names, or all that the list's address matches. Only those that wait."""
    if request.POST.get("all") == "true":
        return asked.turns(request.project, request.actor).filter(status=Status.PENDING)
    ids = [found for text in request.POST.getlist("turn") if (found := read("turn", text))]
    return bulk.chosen_turns(Turn.objects.seen_by(request.project, request.actor.ref).pending(), ids)


def _act_of(request: MemberRequest) -> BulkAct:
    act = request.POST.get("act", "")
    if act not in BulkAct.values:
        raise Invalid(f"act takes one of {', '.join(BulkAct.values)}.", fields={"act": "is not an act"})
    return BulkAct(act)


@member_page(Scope.REVIEW)
@require_POST
def queue_bulk(request: MemberRequest) -> HttpResponse:
    """Shows what a bulk act would do, and asks for what it needs. Nothing is changed here."""
    asked, act = Asked.of(request.GET), _act_of(request)
    turns = _chosen(request, asked)
    count = turns[: COUNTED + 1].count()
    if not count:
        raise bulk.NothingChosen
    sample: Any = turns.only("id", "question", "goal").order_by("-rank", "-id")[:SAMPLE]
    known = {
        "asked": asked,
        "act": act,
        "count": min(count, COUNTED),
        "is_more_than_count": count > COUNTED,
        "held": turns.exclude(pk__in=turns.unclaimed()[: COUNTED + 1].values("pk"))
        .exclude(claimed_by=request.actor.ref)[:COUNTED]
        .count(),
        "most": bulk.MOST,
        "sample": [turn.question[:PREVIEW] for turn in sample],
        "is_all": request.POST.get("all") == "true",
        "chosen": [text for text in request.POST.getlist("turn") if read("turn", text)],
        "ratings": Rating.choices,
        "root_causes": list(ROOT_CAUSES.items()),
        "failure_categories": FailureCategory.choices,
    }
    return render_page(request, "review/queue/bulk.html", known)


@member_page(Scope.REVIEW)
@require_POST
def queue_bulk_run(request: MemberRequest) -> HttpResponse:
    asked, act = Asked.of(request.GET), _act_of(request)
    job = bulk.begin(request.project, request.actor, act, _params(request, act), _chosen(request, asked))
    return redirect(_job_address(request, job) + asked.query)


def _params(request: MemberRequest, act: BulkAct) -> dict[str, Any]:
    tags = [tag.strip()[:100] for tag in clean_text(request.POST.get("tags", "")).split(",")]
    tags = list(dict.fromkeys(tag for tag in tags if tag))[:32]
    if act == BulkAct.DISMISS:
        return {"reason": clean_text(request.POST.get("reason", ""))[:500]}
    if act == BulkAct.TAG:
        if not tags:
            raise Invalid("Name at least one tag.", fields={"tags": "is empty"})
        return {"tags": tags}
    names = ("rating", "root_cause", "failure_category", "comment")
    given = VerdictIn(data={**{name: clean_text(request.POST.get(name, "")) for name in names}, "tags": tags})
    try:
        given.is_valid(raise_exception=True)
    except ValidationError as error:
        raise as_app_error(error) or AppError() from error
    return {name: given.validated_data[name] for name in (*names, "tags")}


def _job_address(request: MemberRequest, job: BulkJob) -> str:
    return reverse("queue_bulk_job", kwargs={"project": request.project.slug, "bulk_id": shown("bulk", job.id)})


def _job(request: MemberRequest, bulk_id: str) -> BulkJob:
    wanted = read("bulk", bulk_id)
    job = (
        BulkJob.objects.select_related("project").filter(project=request.project, id=wanted).first() if wanted else None
    )
    if job is None:
        raise BulkNotFound
    return job


@member_page(Scope.REVIEW)
def queue_bulk_job(request: MemberRequest, bulk_id: str) -> HttpResponse:
    job = _job(request, bulk_id)
    known = {
        "job": job,
        "progress": bulk.progress_of(job),
        "asked": Asked.of(request.GET),
        "may_undo": job.actor == request.actor.ref or request.actor.is_owner,
    }
    return render_page(request, "review/queue/bulk_job.html", known, partial="review/queue/_bulk_job.html")


@member_page(Scope.REVIEW)
@require_POST
def queue_bulk_undo(request: MemberRequest, bulk_id: str) -> HttpResponse:
    job = _job(request, bulk_id)
    bulk.take_back(request.project, request.actor, job)
    return redirect(_job_address(request, job) + Asked.of(request.GET).query)
