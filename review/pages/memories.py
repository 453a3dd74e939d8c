"""Memories: looked through, edited and taken away; where each comes from, and how often agents got it."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agentloop.models import Scope
from agentloop.page_forms import attempt, id_of, in_a_bar
from agentloop.pages import MemberRequest, member_page, render_page
from agentloop.settings_pages import REFUSED
from review import errors, memories, verdicts
from review.models import Memory
from review.serializers import TEXT_LIMIT

PAGE = 50


class SearchForm(forms.Form):
    q = forms.CharField(label="Words", required=False, max_length=500)
    user = forms.CharField(label="About user", required=False, max_length=200)
    tag = forms.CharField(label="Tag", required=False, max_length=100)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        in_a_bar(self)


class EditForm(forms.Form):
    fact = forms.CharField(
        label="What agents are told",
        max_length=TEXT_LIMIT,
        strip=False,
        help_text="What it said before stays as a version of its verdict.",
        widget=forms.Textarea(attrs={"rows": 6}),
    )


@member_page(Scope.READ)
@require_GET
def memories_page(request: MemberRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    known: dict[str, Any] = {"form": form, "rows": []}
    if form.is_valid():
        said = form.cleaned_data
        found = memories.listed(request.project, text=said["q"], user_id=said["user"], tag=said["tag"])
        known |= {"is_filtered": any(said.values()), **_page(request, found)}
    return render_page(request, "review/records/memories.html", known, partial="review/records/_memories.html")


def _page(request: MemberRequest, found: QuerySet[Memory]) -> dict[str, Any]:
    before = _read_place(request.GET.get("before", ""))
    page = list((found.filter(before) if before else found).defer("metadata", "document")[: PAGE + 1])
    rows, more = page[:PAGE], len(page) > PAGE
    origins = memories.origins_of(request.project, rows)
    kept = {name: value for name, value in request.GET.items() if name != "before" and value}
    return {
        "rows": [(memory, origins[memory.id], _may_edit(request, origins[memory.id])) for memory in rows],
        "further": urlencode({**kept, "before": _place(rows[-1])}) if more else "",
        "is_further": before is not None,
        "first": urlencode(kept),
        "may_revoke": request.actor.may(Scope.REVIEW),
    }


def _may_edit(request: MemberRequest, origin: memories.Origin) -> bool:
    """As `verdicts.edit_memory` decides."""
    source = origin.source
    if source is None or source.outlived_at is not None or not request.actor.may(Scope.REVIEW):
        return False
    return verdicts.may_change(request.actor, source.author)


def _place(memory: Memory) -> str:
    return f"{memory.updated_at.isoformat()}~{memory.id.hex}"


def _read_place(text: str) -> Q | None:
    """Whatever comes after a row in the list. A place that is spelled wrong is the top."""
    moment, _, key = text.partition("~")
    try:
        at, after = datetime.fromisoformat(moment), id_of("mem", f"mem_{key}")
    except (ValueError, errors.NotFound):
        return None
    return Q(updated_at__lt=at) | Q(updated_at=at, id__lt=after) if at.tzinfo else None


@member_page(Scope.REVIEW)
@require_http_methods(["GET", "POST"])
def edit_memory(request: MemberRequest, memory_id: str) -> HttpResponse:
    key = id_of("mem", memory_id)
    memory = Memory.objects.filter(project=request.project, id=key).first()
    if memory is None:
        raise errors.MemoryNotFound
    origin = memories.origins_of(request.project, [memory])[memory.id]
    said = origin.source.correction if origin.source else memory.fact
    form = EditForm(request.POST if request.method == "POST" else None, initial={"fact": said})
    if request.method == "POST":
        edited = attempt(
            form, lambda: verdicts.edit_memory(request.project, request.actor, key, form.cleaned_data["fact"])
        )
        if edited is not None:
            messages.success(request, "The memory is changed: agents get it as it is now.")
            return redirect("memories_page", project=request.project.slug)
    known = {"form": form, "memory": memory, "origin": origin}
    response = render_page(request, "review/records/memory.html", known)
    response.status_code = REFUSED if form.errors else 200
    return response


@member_page(Scope.REVIEW)
@require_POST
def revoke_memory(request: MemberRequest, memory_id: str) -> HttpResponse:
    memories.revoke(request.project, request.actor, id_of("mem", memory_id))
    messages.success(request, "The memory is taken away from agents. Its verdicts stay.")
    return redirect("memories_page", project=request.project.slug)
