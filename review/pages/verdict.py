"""One verdict that was given: of what, in which versions, and, for whoever may change it, in its form."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from agentloop.errors import AppError, NotAllowed
from agentloop.ids import read, shown
from agentloop.models import Project, Scope
from agentloop.pages import MemberRequest, member_page, render_page
from agentloop.parsing import clean_text
from agentloop.tenancy import names_of_members
from review import annotations, errors, queue, rubrics, verdicts
from review.around import known_tags
from review.effects import Shift, watching
from review.markdown import rendered
from review.models import Annotation, AnnotationVersion, Rubric, Turn
from review.pages.rubric_form import answers_told, asked_questions
from review.pages.verdict_form import CHOICES, FIELDS, fields_in, form_of, plain, verdict_in
from review.pages.work import FOLD_FROM
from review.verdicts import Judged

VERSIONS = 50
WORDS = {name: name.replace("_", " ") for name in (*FIELDS, "scores", "metadata")}


@member_page(Scope.READ)
@require_http_methods(["GET", "HEAD", "POST"])
def annotations_page_verdict(request: MemberRequest, annotation_id: str) -> HttpResponse:
    key = read("ann", annotation_id)
    verdict = annotations.of_team(request.project, key) if key else None
    if verdict is None:
        raise errors.AnnotationNotFound
    if request.method == "POST":
        return _save(request, verdict)
    if not _stands(verdict):
        raise errors.AnnotationNotFound
    return _page(request, verdict, form_of(_body(verdict), verdict.response), verdict.rubric)


def _stands(verdict: Annotation) -> bool:
    return verdict.retracted_at is None and verdict.outlived_at is None


def _body(verdict: Annotation) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in FIELDS}


def _save(request: MemberRequest, verdict: Annotation) -> HttpResponse:
    """Keeps what was changed as a version. What is refused stands in the form again as it was written."""
    if not request.actor.may(Scope.REVIEW):
        raise NotAllowed
    if not verdicts.may_change(request.actor, verdict.author):
        raise errors.NotYourVerdict if _stands(verdict) else errors.AnnotationNotFound
    if not _stands(verdict):
        return _taken_back(request, verdict)
    before = verdict.rating
    try:
        changes = _changes(request, verdict)
        if not changes:
            messages.info(request, "Nothing was changed.")
            return redirect(_back(request))
        judged, shifts = watching(
            request.project,
            verdict.goal,
            lambda: verdicts.edit_annotation(
                request.project, request.actor, verdict.id, changes, after=_version_seen(request)
            ),
        )
    except errors.AnnotationNotFound:
        return _taken_back(request, verdict)
    except AppError as refused:
        if refused.http_status not in (409, 422):
            raise
        return _refused(request, verdict, refused)
    undo = reverse("queue_undo", kwargs={"project": request.project.slug, "act_id": shown("act", judged.act.id)})
    messages.success(request, _what_it_did(judged, before, changes, shifts), extra_tags=undo)
    return redirect(_back(request))


def _changes(request: HttpRequest, verdict: Annotation) -> dict[str, Any]:
    """What the form says anew. A field that says what it was filled with is left as it stands, however it was spelt."""
    stood, says = form_of(_body(verdict), verdict.response), verdict_in(request, verdict.response)
    changed = [name for name in FIELDS if name in request.POST and _typed(request, name) != plain(stood[name]).strip()]
    if says.rubric != verdict.rubric:
        changed.append("rubric")
    return {name: getattr(says, name) for name in changed}


def _typed(request: HttpRequest, name: str) -> str:
    return plain(clean_text(request.POST[name])).strip()


def _version_seen(request: HttpRequest) -> int:
    """0, which stands nowhere, where the form doesn't say."""
    text = request.POST.get("after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _what_it_did(judged: Judged, before: str, changes: dict[str, Any], shifts: list[Shift]) -> str:
    after = judged.annotation.rating
    parts = [f"The verdict is changed from {before} to {after}." if after != before else "The verdict is changed."]
    parts += [f"{shift}." for shift in shifts]
    if "correction" in changes:
        parts.append("Agents get the new correction." if judged.memory else "Agents get no correction of it any more.")
    return " ".join(parts)


def _back(request: MemberRequest) -> str:
    """Where one came from, as far as that is a page of this project."""
    asked = request.POST.get("back") or request.GET.get("back") or ""
    if len(asked) < 2_000 and asked.startswith(f"/p/{request.project.slug}/"):
        return asked
    return reverse("annotations_page", kwargs={"project": request.project.slug})


# --- what came in between -------------------------------------------------------------------------------------


def _refused(request: MemberRequest, verdict: Annotation, refused: AppError) -> HttpResponse:
    stands = annotations.of_team(request.project, verdict.id) or verdict
    said = fields_in(request, verdict.response)
    form = {**form_of(said, verdict.response), "tags": clean_text(request.POST.get("tags", ""))}
    moved = stands if isinstance(refused, errors.VerdictMoved) else None
    known = {"problem": refused.sentence, "moved": moved}
    response = _page(request, stands, form, said["rubric"] or stands.rubric, known)
    response.status_code = refused.http_status
    return response


def _taken_back(request: MemberRequest, verdict: Annotation) -> HttpResponse:
    """Somebody has undone the verdict: what was written is shown, and is the draft of its turn if that waits again."""
    said = fields_in(request, verdict.response)
    pending = Turn.objects.of(request.project).pending().only("id")
    turn = pending.filter(id=verdict.turn_id).first() if verdict.turn_id else None
    if turn is not None:
        queue.save_draft(request.project, request.actor, turn.id, said)
    known = {"said": said, "turn": turn, "back": _back(request)}
    response = render_page(request, "review/records/taken_back.html", known)
    response.status_code = errors.VerdictMoved.http_status
    return response


# --- the page -------------------------------------------------------------------------------------------------


def _page(
    request: MemberRequest,
    verdict: Annotation,
    form: dict[str, Any],
    answers: dict[str, Any],
    known: dict[str, Any] | None = None,
) -> HttpResponse:
    """At most twelve queries, of which this one makes five, and one where the rubric has changed since."""
    rubric, is_older = rubrics.asked_in(request.project, answers)
    asked = {"version": rubric.version, "questions": rubric.questions} if rubric else None
    people = names_of_members(request.project)
    shown_known = {
        "verdict": verdict,
        "may_edit": request.actor.may(Scope.REVIEW) and verdicts.may_change(request.actor, verdict.author),
        "author": verdict.author_label or people.get(verdict.author, verdict.author),
        "back": _back(request),
        "form": form,
        "rubric": asked,
        "rubric_is_older": is_older,
        "questions": asked_questions(asked, {"body": {"rubric": answers}}),
        "answers": answers_told({"rubric": answers, "questions": asked["questions"] if asked else []}),
        "known_tags": known_tags(request.project),
        "versions": _versions(request.project, verdict, people),
        "question_html": rendered(verdict.question),
        "response_html": rendered(verdict.response),
        "folds_question": len(verdict.question) > FOLD_FROM,
        "folds_response": len(verdict.response) > FOLD_FROM,
        **CHOICES,
    }
    return render_page(request, "review/records/verdict.html", {**shown_known, **(known or {})})


@dataclass(frozen=True, slots=True)
class Told:
    """One version as the history shows it, with what it changed of the one before."""

    version: int
    said: dict[str, Any]
    answers: list[tuple[str, str]]
    who: str
    at: datetime
    changed: str


def _versions(project: Project, verdict: Annotation, people: dict[str, str]) -> list[Told]:
    """What it said over time, the newest first. Two queries."""
    kept = list(AnnotationVersion.objects.filter(annotation_id=verdict.id).order_by("-version")[: VERSIONS + 1])
    asked = {one.body["rubric"].get("version") for one in kept if one.body.get("rubric")}
    rubrics_of = Rubric.objects.filter(project=project, version__in=asked)
    questions: dict[Any, Any] = dict(rubrics_of.values_list("version", "questions"))
    names = {verdict.author: verdict.author_label, **people}
    told = []
    for one, before in zip(kept, [*kept[1:], None], strict=False):
        answers = one.body.get("rubric") or {}
        said = {"rubric": answers, "questions": questions.get(answers.get("version"))}
        changed = ", ".join(WORDS[name] for name in WORDS if before and one.body.get(name) != before.body.get(name))
        who = names.get(one.author) or one.author
        told.append(Told(one.version, one.body, answers_told(said), who, one.at, changed))
    return told[:VERSIONS]
