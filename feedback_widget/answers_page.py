"""What end users said, for owners: spam is found by its user, its time or the address it came from, and removed."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models.functions import Left
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from agentloop.ids import read
from agentloop.models import Scope
from agentloop.page_forms import id_of, in_a_bar
from agentloop.pages import MemberRequest, member_page
from agentloop.settings_pages import render_settings
from feedback_widget import spam
from review import annotations
from review.models import Rating

PAGE = 50
SHOWN = 300
ROWS = "feedback_widget/_answers.html"


class AnswersForm(forms.Form):
    user_id = forms.CharField(label="User", required=False, max_length=300)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        # An answer: what came from the same address. It is chosen in the list.
        self.sender = data.get("sender", "")
        in_a_bar(self)

    def which(self, annotation_ids: tuple[UUID, ...] = ()) -> spam.Which:
        """What is meant. The last day counts whole."""
        said = self.cleaned_data
        return spam.Which(
            annotation_ids=annotation_ids,
            same_sender_as=id_of("ann", self.sender) if self.sender else None,
            user_id=said["user_id"],
            since=_midnight(said["since"]),
            until=_midnight(said["until"], days=1),
        )

    def kept(self) -> dict[str, str]:
        """As the address says it."""
        given = {name: self.data.get(name, "") for name in ("user_id", "since", "until", "sender")}
        return {name: value for name, value in given.items() if value}


def _midnight(day: Any, days: int = 0) -> datetime | None:
    return datetime.combine(day + timedelta(days=days), time(), UTC) if day else None


@member_page(Scope.ADMIN)
@require_GET
def answers(request: MemberRequest) -> HttpResponse:
    form = AnswersForm(request.GET)
    known: dict[str, Any] = {"form": form, "rows": []}
    if form.is_valid():
        known |= {"kept": form.kept(), "is_filtered": bool(form.kept()), **_page(request, form)}
    return render_settings(request, "feedback_widget/answers.html", known, partial=ROWS)


def _page(request: MemberRequest, form: AnswersForm) -> dict[str, Any]:
    found = spam.answers(request.project, form.which()).order_by("-id")
    found = found.defer("question", "response", "correction", "comment", "metadata", "scores").annotate(
        asked=Left("question", SHOWN), corrected=Left("correction", SHOWN), commented=Left("comment", SHOWN)
    )
    before = read("ann", request.GET.get("before", ""))
    rows, has_more = annotations.page_of(found, limit=PAGE, before=before)
    sent = spam.sent_by_senders_of(request.project, [row.id for row in rows])
    return {
        "rows": [(row, sent.get(row.id, 0)) for row in rows],
        "further": urlencode({**form.kept(), "before": rows[-1].shown_id}) if has_more else "",
        "first": urlencode(form.kept()),
        "is_further": before is not None,
        "most": spam.MOST_COUNTED,
    }


@member_page(Scope.ADMIN)
@require_POST
def remove(request: MemberRequest) -> HttpResponse:
    """First tells what would go; removes it when that was confirmed. What was chosen comes again with the yes."""
    form = AnswersForm(request.POST)
    back = reverse("settings_widget_answers", kwargs={"project": request.project.slug})
    is_all = request.POST.get("choice") == "all"
    chosen = () if is_all else tuple(id_of("ann", text) for text in request.POST.getlist("annotation")[:PAGE])
    if not form.is_valid() or (not chosen and not (is_all and form.kept())):
        messages.error(request, "Choose the answers first.")
        return HttpResponseRedirect(back)
    which = form.which(chosen)
    if request.POST.get("sure") == "yes":
        removed, left = spam.remove(request.project, request.actor, which)
        more = f" {left:,} more match: remove them in the same way." if left else ""
        messages.success(request, f"{removed:,} answer{'' if removed == 1 else 's'} removed.{more}")
        return HttpResponseRedirect(f"{back}?{urlencode(form.kept())}" if left else back)
    ratings = Counter(spam.answers(request.project, which).values_list("rating", flat=True))
    known = {
        "count": ratings.total(),
        "ratings": [(label, ratings[value]) for value, label in Rating.choices if ratings[value]],
        "kept": form.kept(),
        "chosen": request.POST.getlist("annotation")[:PAGE] if chosen else [],
        "is_all": is_all,
        "at_once": spam.MOST_AT_ONCE,
    }
    return render_settings(request, "feedback_widget/remove.html", known)
