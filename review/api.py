"""The review side of the JSON API: each view reads the request, calls one function, and answers."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpRequest
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from agentloop.actors import Actor
from agentloop.api import ApiView, HotView
from agentloop.errors import AppError, Invalid, as_app_error
from agentloop.idempotency import header_key, once
from agentloop.ids import read, shown
from agentloop.models import Project, Scope
from agentloop.parsing import as_json_text, clean_text, read_object
from agentloop.refusals import count_refusal
from agentloop.signing import NoSigningKey, feedback_urls
from agentloop.tenancy import Reach
from review import (
    annotations,
    errors,
    figures,
    filters,
    gold_turns,
    intake,
    memories,
    queue,
    removal,
    rubrics,
    verdicts,
)
from review import serializers as s
from review.gold import GoldNotFound
from review.models import (
    AnnotationSource,
    AnnotationVersion,
    Draft,
    Occurrence,
    QueueAct,
    Rubric,
    Status,
    Turn,
)
from review.shapes import (
    accuracy_shape,
    annotation_shape,
    gold_shape,
    judged_shape,
    occurrence_shape,
    reasons_shape,
    turn_shape,
)

PAGE, MAX_PAGE = 50, 200
OCCURRENCES_SHOWN = 200
IDEMPOTENCY_HEADER = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="A repeat within 24 hours gets the first answer."
)


def id_of(prefix: str, text: Any, error: type[AppError]) -> UUID:
    found = read(prefix, text) if isinstance(text, str) else None
    if found is None:
        raise error
    return found


def _own(method: Any) -> Any:
    """A copy of an inherited method: `extend_schema` marks the function itself, so every heir would bear its name."""
    return FunctionType(method.__code__, method.__globals__, method.__name__, method.__defaults__)


class ReviewView(ApiView):
    def read(self, shape: type[Serializer[Any]], *, partial: bool = False) -> dict[str, Any]:
        given = shape(data=self.body(), partial=partial)
        given.is_valid(raise_exception=True)
        return given.validated_data

    def speaker(self, given: Mapping[str, Any]) -> Actor:
        return self.actor.speaking_for(given.get("reviewer") or "")

    def idempotency_key(self, kind: str) -> str:
        key = header_key(self.request._request)
        return f"{kind}:{key}" if key else ""

    def limit(self) -> int:
        text = self.request.query_params.get("limit", str(PAGE))
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= MAX_PAGE:
            raise errors.BadValue("limit", f"takes a whole number from 1 to {MAX_PAGE}.")
        return int(text)

    def filters(self, *own: str) -> filters.TurnFilter:
        params = self.request.query_params
        given = {clean_text(name): [clean_text(v) for v in params.getlist(name)] for name in params if name not in own}
        return filters.read_filter(self.project.id, given)


# --- logging turns --------------------------------------------------------------------------------------------


class IntakeView(ReviewView, HotView):
    """What is refused is counted: clients swallow the error, so its owner must be able to see it."""

    def post(self, request: Request) -> Response:
        status, answer = self.work(self.reach, request._request)
        return Response(answer, status=status)

    def handle_exception(self, exc: Exception) -> Response:
        reach = self.reach if getattr(self.request, "_auth", None) else None
        if self.request.method == "POST":
            self.refused(reach, as_app_error(exc) or AppError())
        return super().handle_exception(exc)

    def refused(self, reach: Reach | None, error: AppError) -> None:
        if reach is not None:
            count_refusal(reach.project, error.code)


def _links_wanted(project: Project, stored: Iterable[tuple[intake.Logged, intake.NewTurn]]) -> dict[UUID, str]:
    """The feedback links that clients asked for. One query, none where nobody asked.

    The turns are stored by now: without a key to sign with, their links alone are left out.
    """
    wanted = [logged.turn_id for logged, turn in stored if turn.want_feedback_url]
    with suppress(NoSigningKey):
        return feedback_urls(project, wanted) if wanted else {}
    return {}


def _logged_shape(logged: intake.Logged, turn: intake.NewTurn, links: Mapping[UUID, str]) -> dict[str, Any]:
    answer = logged.as_answer()
    if turn.want_feedback_url and logged.turn_id in links:
        answer["feedback_url"] = links[logged.turn_id]
    return answer


class TurnsView(IntakeView):
    scopes: ClassVar = {"POST": Scope.INGEST, "GET": Scope.READ}

    post = extend_schema(
        operation_id="log_turn",
        summary="Log a turn",
        description="Stores a turn for review, or counts it into the pending turn with the same question and "
        "response. Read leniently: odd types are kept as JSON, and what is too long is cut and marked.",
        request=s.TurnIn,
        parameters=[IDEMPOTENCY_HEADER],
        responses={201: s.TurnLogged, 200: s.TurnLogged},
    )(_own(IntakeView.post))

    def work(self, reach: Reach, request: HttpRequest) -> tuple[int, dict[str, Any]]:
        logged, turn = intake.log_turn(reach.project, read_object(request), header_key(request))
        links = _links_wanted(reach.project, [(logged, turn)])
        return (200 if logged.was_duplicate else 201), _logged_shape(logged, turn, links)

    @extend_schema(
        operation_id="list_turns",
        summary="List turns",
        description="Turns by filter, in pages by keyset. All statuses unless filtered; `priority` and `expiring` "
        "order the pending ones.",
        parameters=[
            OpenApiParameter("limit", int, description=f"1 to {MAX_PAGE}, {PAGE} unless given."),
            OpenApiParameter("cursor", str, description="`next_cursor` of the page before."),
            OpenApiParameter("sort", str, enum=list(filters.SORTS)),
            OpenApiParameter("status", str, enum=Status.values),
            OpenApiParameter("signal", str, many=True, description="`thumbs_down`, `confidence<0.5`, `kind=refund`."),
            OpenApiParameter("tag", str, many=True),
            OpenApiParameter("q", str, description="Words that all occur; found within seconds of logging."),
            *(OpenApiParameter(name, str) for name in filters.FILTERS if name not in ("status", "signal", "tag", "q")),
        ],
        responses=s.TurnPage,
    )
    def get(self, request: Request) -> Response:
        wanted = self.filters("limit", "cursor", "sort", "format")
        sort = request.query_params.get("sort", "newest")
        if sort not in filters.SORTS:
            raise errors.BadValue("sort", f"takes one of {', '.join(filters.SORTS)}.")
        turns = Turn.objects.seen_by(self.project, self.actor.ref)
        # These two orders are of the queue, and only its indexes serve them.
        turns = turns.pending() if sort in ("priority", "expiring") or wanted.status == "pending" else turns.visible()
        page = filters.page_of(
            wanted.apply(turns), sort=sort, limit=self.limit(), cursor=request.query_params.get("cursor")
        )
        return Response(
            {
                "turns": [turn_shape(turn) for turn in page.turns],
                "next_cursor": page.next_cursor,
                "pending": figures.pending_count(self.project, self.actor.ref),
            }
        )


class TurnBatchView(IntakeView):
    scopes: ClassVar = {"POST": Scope.INGEST}

    post = extend_schema(
        operation_id="log_turns",
        summary="Log up to 500 turns",
        description="Each turn has its own result, in order; one that is refused spoils no other. The header's key "
        "is that of the whole batch: it holds for each turn, by its place, that has no `idempotency_key` of its own.",
        request=s.BatchIn,
        parameters=[IDEMPOTENCY_HEADER],
        responses=s.BatchLogged,
    )(_own(IntakeView.post))

    def work(self, reach: Reach, request: HttpRequest) -> tuple[int, dict[str, Any]]:
        items = read_object(request).get("turns")
        if not isinstance(items, list) or len(items) > intake.MAX_BATCH:
            raise Invalid(f"`turns` takes a list of up to {intake.MAX_BATCH} turns.", fields={"turns": "takes a list"})
        done = intake.log_turns(reach.project, items, header_key(request))
        links = _links_wanted(reach.project, [one for one in done if not isinstance(one, AppError)])
        results = [_result_shape(reach.project, one, links) for one in done]
        refused = sum(result["status"] == "refused" for result in results)
        return 200, {"accepted": len(results) - refused, "refused": refused, "results": results}


def _result_shape(project: Project, result: Any, links: Mapping[UUID, str]) -> dict[str, Any]:
    if isinstance(result, AppError):
        count_refusal(project, result.code)
        return {"status": "refused", "error": result.sentence, "code": result.code}
    logged, turn = result
    return _logged_shape(logged, turn, links)


class TurnView(ReviewView):
    scopes: ClassVar = {"GET": Scope.READ, "DELETE": Scope.ADMIN}

    @extend_schema(operation_id="get_turn", summary="Read a turn", responses=s.TurnDetail)
    def get(self, request: Request, turn_id: str) -> Response:
        turn = queue.find_turn(self.project, id_of("turn", turn_id, errors.TurnNotFound))
        occurrences = Occurrence.objects.filter(turn_id=turn.id).order_by("id")[:OCCURRENCES_SHOWN]
        draft = Draft.objects.filter(turn_id=turn.id, actor=self.actor.ref).first()
        return Response(
            {
                **turn_shape(turn),
                "reasons": reasons_shape(turn),
                "merged_occurrences": [occurrence_shape(occurrence) for occurrence in occurrences],
                "draft": draft.body if draft else None,
            }
        )

    @extend_schema(
        operation_id="delete_turn",
        summary="Delete a turn",
        description="With its annotations; what they said leaves the memories.",
        request=None,
        responses={204: None},
    )
    def delete(self, request: Request, turn_id: str) -> Response:
        removal.delete_turn(self.project, self.actor, id_of("turn", turn_id, errors.TurnNotFound))
        return Response(status=204)


# --- the queue ------------------------------------------------------------------------------------------------


def done_shape(done: queue.Done) -> dict[str, Any]:
    return {"act_id": shown("act", done.act.id), "turn": turn_shape(done.turn)}


class ClaimView(ReviewView):
    scopes: ClassVar = {"POST": Scope.REVIEW}

    @extend_schema(
        operation_id="claim_turn",
        summary="Claim the next turn, a given one, or the next that matches",
        description="A claim is a lease with a fencing token: keep it alive with `heartbeat`, and send the token "
        "with every act. A fixed share of plain claims is drawn at random. 404 with `queue_empty` when none waits.",
        request=s.ClaimIn,
        responses=s.ClaimDone,
    )
    def post(self, request: Request) -> Response:
        given = self.read(s.ClaimIn)
        done = self._claim(given, self.speaker(given))
        draft = Draft.objects.filter(turn_id=done.turn.id, actor=self.speaker(given).ref).first()
        return Response(
            {
                **done_shape(done),
                "claim_token": done.turn.claim_token,
                "claimed_until": done.turn.claimed_until,
                "draw": done.turn.draw,
                "draw_probability": done.turn.draw_probability,
                "draft": draft.body if draft else None,
            }
        )

    def _claim(self, given: Mapping[str, Any], actor: Actor) -> queue.Done:
        if given["turn_id"]:
            return queue.claim_given(self.project, actor, id_of("turn", given["turn_id"], errors.TurnNotFound))
        if given["filters"]:
            lists = {
                name: [as_json_text(part) for part in (value if isinstance(value, list) else [value])]
                for name, value in given["filters"].items()
            }
            return queue.claim_matching(self.project, actor, filters.read_filter(self.project.id, lists))
        return queue.claim_next(self.project, actor)


class ActView(ReviewView):
    """An act on one turn: `shape` reads the body, `act` does it."""

    scopes: ClassVar = {"POST": Scope.REVIEW}
    shape: ClassVar[type[Serializer[Any]]] = s.ActIn

    def post(self, request: Request, turn_id: str) -> Response:
        given = self.read(self.shape)
        done = self.act(self.speaker(given), id_of("turn", turn_id, errors.TurnNotFound), given)
        return Response(done_shape(done))

    def act(self, actor: Actor, turn_id: UUID, given: Mapping[str, Any]) -> queue.Done:
        raise NotImplementedError


def _act_schema(name: str, summary: str, shape: type[Serializer[Any]] = s.ActIn) -> Any:
    describe = extend_schema(operation_id=name, summary=summary, request=shape, responses=s.ActDone)
    return lambda method: describe(_own(method))


class ReleaseView(ActView):
    post = _act_schema("release_turn", "Give a claimed turn back")(ActView.post)

    def act(self, actor: Actor, turn_id: UUID, given: Mapping[str, Any]) -> queue.Done:
        return queue.release(self.project, actor, turn_id, given["claim_token"])


class SkipView(ActView):
    post = _act_schema("skip_turn", "Put a turn behind all others, for this reviewer")(ActView.post)

    def act(self, actor: Actor, turn_id: UUID, given: Mapping[str, Any]) -> queue.Done:
        return queue.skip(self.project, actor, turn_id, given["claim_token"])


class SnoozeView(ActView):
    shape = s.SnoozeIn
    post = _act_schema("snooze_turn", "Hide a turn until a time", s.SnoozeIn)(ActView.post)

    def act(self, actor: Actor, turn_id: UUID, given: Mapping[str, Any]) -> queue.Done:
        return queue.snooze(self.project, actor, turn_id, given["until"], given["claim_token"])


class EscalateView(ActView):
    shape = s.EscalateIn
    post = _act_schema("escalate_turn", "Hand a turn to the owners", s.EscalateIn)(ActView.post)

    def act(self, actor: Actor, turn_id: UUID, given: Mapping[str, Any]) -> queue.Done:
        return queue.escalate(self.project, actor, turn_id, given["note"], given["claim_token"])


class DismissView(ActView):
    shape = s.DismissIn
    post = _act_schema("dismiss_turn", "Close a turn as not worth a verdict", s.DismissIn)(ActView.post)

    def act(self, actor: Actor, turn_id: UUID, given: Mapping[str, Any]) -> queue.Done:
        return queue.dismiss(self.project, actor, turn_id, given["reason"], given["claim_token"])


class ReopenView(ActView):
    post = _act_schema("reopen_turn", "Put a closed turn back into the queue")(ActView.post)

    def act(self, actor: Actor, turn_id: UUID, given: Mapping[str, Any]) -> queue.Done:
        return queue.reopen(self.project, actor, turn_id)


class HeartbeatView(ReviewView):
    scopes: ClassVar = {"POST": Scope.REVIEW}

    @extend_schema(
        operation_id="keep_claim", summary="Keep a claim alive", request=s.HeartbeatIn, responses=s.HeartbeatDone
    )
    def post(self, request: Request, turn_id: str) -> Response:
        given = self.read(s.HeartbeatIn)
        wanted = id_of("turn", turn_id, errors.TurnNotFound)
        turn = queue.heartbeat(self.project, self.speaker(given), wanted, given["claim_token"])
        return Response({"claimed_until": turn.claimed_until})


class DraftView(ReviewView):
    scopes: ClassVar = {"PUT": Scope.REVIEW}

    @extend_schema(
        operation_id="save_draft",
        summary="Keep what a reviewer is writing",
        description="A pending turn with a draft lives at least seven days more.",
        request=s.DraftIn,
        responses=s.DraftOut,
    )
    def put(self, request: Request, turn_id: str) -> Response:
        given = self.read(s.DraftIn)
        wanted = id_of("turn", turn_id, errors.TurnNotFound)
        draft = queue.save_draft(self.project, self.speaker(given), wanted, given["body"])
        return Response({"turn_id": shown("turn", draft.turn_id), "body": draft.body, "saved_at": draft.saved_at})


class HistoryView(ReviewView):
    scopes: ClassVar = {"GET": Scope.READ}

    @extend_schema(operation_id="turn_history", summary="What was done to a turn", responses=s.History)
    def get(self, request: Request, turn_id: str) -> Response:
        turn = queue.find_turn(self.project, id_of("turn", turn_id, errors.TurnNotFound))
        acts = QueueAct.objects.filter(subject_id=turn.id).order_by("-id")[:MAX_PAGE]
        return Response({"acts": [act_shape(act) for act in acts]})


def act_shape(act: QueueAct) -> dict[str, Any]:
    return {
        "act_id": shown("act", act.id),
        "act": act.act,
        "actor": act.actor,
        "at": act.at,
        "undone_at": act.undone_at,
    }


class UndoView(ReviewView):
    scopes: ClassVar = {"POST": Scope.REVIEW}

    @extend_schema(
        operation_id="undo_act",
        summary="Take back the latest act on a turn",
        description="Restores the turn, its claim, priority, counts and memory. Acts are undone in order, the latest "
        "first, by whoever did them or by an owner.",
        request=s.ActIn,
        responses=s.ActOut,
    )
    def post(self, request: Request, act_id: str) -> Response:
        given = self.read(s.ActIn)
        wanted = id_of("act", act_id, errors.ActNotFound)
        return Response(act_shape(verdicts.undo(self.project, self.speaker(given), wanted)))


# --- verdicts -------------------------------------------------------------------------------------------------


def _verdict(given: Mapping[str, Any]) -> verdicts.Verdict:
    names = verdicts.Verdict.__slots__
    return verdicts.Verdict(**{name: given[name] for name in names if name in given})


class JudgingView(ReviewView):
    scopes: ClassVar = {"POST": Scope.REVIEW, "GET": Scope.READ}

    @property
    def source(self) -> AnnotationSource:
        return AnnotationSource.REVIEWER if self.actor.is_member else AnnotationSource.API


class VerdictView(JudgingView):
    @extend_schema(
        operation_id="judge_turn",
        summary="Give a verdict on a pending turn",
        description="Closes the turn. With a `claim_token` only while that claim lasts; without one only while nobody "
        "else holds the turn. When a claim is lost nothing changes, and the text is kept as a draft.",
        request=s.VerdictIn,
        parameters=[IDEMPOTENCY_HEADER],
        responses={201: s.AnnotationDone},
    )
    def post(self, request: Request, turn_id: str) -> Response:
        given = self.read(s.VerdictIn)
        actor, verdict = self.speaker(given), _verdict(given)
        wanted = id_of("turn", turn_id, errors.TurnNotFound)

        def judge() -> dict[str, Any]:
            return judged_shape(
                verdicts.judge_turn(
                    self.project, actor, wanted, verdict, source=self.source, token=given["claim_token"]
                )
            )

        with verdicts.keeping_text(self.project, actor, wanted, verdict):
            answer, _ = once(self.project, self.idempotency_key("verdict"), judge)
        return Response(answer, status=201)


class AnnotationsView(JudgingView):
    @extend_schema(
        operation_id="annotate",
        summary="Annotate a question and response",
        description="Closes the pending turn that has both, if there is one, and makes a memory of the correction.",
        request=s.AnnotationIn,
        parameters=[IDEMPOTENCY_HEADER],
        responses={201: s.AnnotationDone},
    )
    def post(self, request: Request) -> Response:
        given = self.read(s.AnnotationIn)

        def annotate() -> dict[str, Any]:
            return judged_shape(
                verdicts.annotate(
                    self.project,
                    self.speaker(given),
                    given["question"],
                    given["agent_response"],
                    _verdict(given),
                    source=self.source,
                )
            )

        answer, _ = once(self.project, self.idempotency_key("annotation"), annotate)
        return Response(answer, status=201)

    @extend_schema(
        operation_id="list_annotations",
        summary="List annotations, the newest first",
        parameters=[
            OpenApiParameter("limit", int),
            OpenApiParameter("cursor", str, description="`next_cursor` of the page before."),
            *(OpenApiParameter(name, str) for name in annotations.FILTERS),
        ],
        responses=s.AnnotationPage,
    )
    def get(self, request: Request) -> Response:
        params, limit = request.query_params, self.limit()
        if params.get("turn_id"):
            id_of("turn", params["turn_id"], errors.TurnNotFound)
        wanted = annotations.conditions({name: [params[name]] for name in annotations.FILTERS if params.get(name)})
        before = id_of("ann", params["cursor"], _BadCursor) if params.get("cursor") else None
        page, has_more = annotations.page_of(annotations.standing(self.project, wanted), limit=limit, before=before)
        more = shown("ann", page[-1].id) if has_more else None
        return Response({"annotations": [annotation_shape(one) for one in page], "next_cursor": more})


class _BadCursor(Invalid):
    """cursor is not one that this list gave: take `next_cursor` of the page before, as it is."""


class AnnotationView(ReviewView):
    scopes: ClassVar = {"GET": Scope.READ, "PATCH": Scope.REVIEW}

    @extend_schema(operation_id="get_annotation", summary="Read an annotation", responses=s.AnnotationDetail)
    def get(self, request: Request, annotation_id: str) -> Response:
        wanted = id_of("ann", annotation_id, errors.AnnotationNotFound)
        annotation = verdicts.find_annotation(self.project, wanted)
        versions = AnnotationVersion.objects.filter(annotation_id=annotation.id).order_by("version")
        shapes = list(versions.values("version", "body", "author", "at"))
        return Response({**annotation_shape(annotation), "versions": shapes})

    @extend_schema(
        operation_id="edit_annotation",
        summary="Change an annotation",
        description="Only what is sent is changed; what was said before stays as a version. Evidence and memory "
        "follow. For whoever gave it, and for owners. 409 with `verdict_moved` where `after` is not the version that "
        "stands.",
        request=s.AnnotationEdit(partial=True),
        responses=s.AnnotationDone,
    )
    def patch(self, request: Request, annotation_id: str) -> Response:
        given = self.read(s.AnnotationEdit, partial=True)
        changes = {name: value for name, value in given.items() if name in verdicts.EDITABLE}
        if not changes:
            raise Invalid(f"Nothing to change: send one or more of {', '.join(verdicts.EDITABLE)}.")
        wanted = id_of("ann", annotation_id, errors.AnnotationNotFound)
        after = given.get("after")
        judged = verdicts.edit_annotation(self.project, self.speaker(given), wanted, changes, after=after)
        return Response(judged_shape(judged))


# --- the rubric -----------------------------------------------------------------------------------------------


class RubricView(ReviewView):
    scopes: ClassVar = {"GET": Scope.READ, "PUT": Scope.ADMIN}

    @extend_schema(operation_id="get_rubric", summary="The questions that verdicts answer", responses=s.RubricOut)
    def get(self, request: Request) -> Response:
        return Response(_rubric_shape(rubrics.current(self.project)))

    @extend_schema(
        operation_id="change_rubric",
        summary="Change the questions",
        description="Makes the next version. Answers that were given keep the version they were given under.",
        request=s.RubricIn,
        responses=s.RubricOut,
    )
    def put(self, request: Request) -> Response:
        body = self.body()
        after = body.get("after")
        if after is not None and (isinstance(after, bool) or not isinstance(after, int)):
            raise errors.BadValue("after", "takes the number of a version.")
        return Response(_rubric_shape(rubrics.save(self.project, self.actor, body.get("questions"), after=after)))


def _rubric_shape(rubric: Rubric | None) -> dict[str, Any]:
    return {"version": rubric.version if rubric else 0, "questions": rubric.questions if rubric else []}


# --- gold turns -----------------------------------------------------------------------------------------------


class GoldTurnsView(ReviewView):
    scopes: ClassVar = {"GET": Scope.ADMIN, "POST": Scope.ADMIN}

    @extend_schema(operation_id="list_gold_turns", summary="Turns whose right verdict is known", responses=s.GoldList)
    def get(self, request: Request) -> Response:
        return Response({"gold": [gold_shape(one) for one in gold_turns.listed(self.project)]})

    @extend_schema(
        operation_id="make_gold_turn",
        summary="Make a gold turn",
        description="Of a judged turn, whose newest verdict is then the known answer, or by hand. Reviewers are given "
        "copies of it for the share `gold_share` of their claims, and can't tell them from other turns.",
        request=s.GoldIn,
        responses={201: s.GoldOut},
    )
    def post(self, request: Request) -> Response:
        given = self.read(s.GoldIn)
        if given.get("turn_id"):
            wanted = id_of("turn", given["turn_id"], errors.TurnNotFound)
            gold = gold_turns.make(self.project, self.actor, wanted)
        else:
            known = gold_turns.KnownAnswer(**{name: given[name] for name in gold_turns.KnownAnswer.__slots__})
            texts = (given["question"], given["agent_response"])
            gold = gold_turns.write(self.project, self.actor, *texts, known, goal=given["goal"])
        return Response(gold_shape(gold_turns.Standing(gold)), status=201)


class GoldAccuracyView(ReviewView):
    scopes: ClassVar = {"GET": Scope.REVIEW}

    @extend_schema(
        operation_id="gold_accuracy",
        summary="How often reviewers are right on gold turns",
        description="By their first answer to each, with the interval that holds the true share in 95 of 100 cases "
        "(Wilson's). Owners and keys with the scope `admin` see everybody; others see themselves, and a key the "
        "reviewers that it names.",
        responses=s.GoldAccuracy,
    )
    def get(self, request: Request) -> Response:
        only = None if self.actor.is_owner else self.actor.ref
        return Response({"reviewers": [accuracy_shape(one) for one in gold_turns.accuracy(self.project, only)]})


class GoldTurnView(ReviewView):
    scopes: ClassVar = {"DELETE": Scope.ADMIN}

    @extend_schema(
        operation_id="remove_gold_turn",
        summary="Remove a gold turn with its answers",
        description="For one whose known answer was wrong: what was answered counts for nobody any more.",
        request=None,
        responses={204: None},
    )
    def delete(self, request: Request, gold_id: str) -> Response:
        gold_turns.remove(self.project, self.actor, id_of("gold", gold_id, GoldNotFound))
        return Response(status=204)


class RetireGoldView(ReviewView):
    scopes: ClassVar = {"POST": Scope.ADMIN}

    @extend_schema(
        operation_id="retire_gold_turn",
        summary="Give a gold turn to nobody any more",
        description="What was answered counts on.",
        request=None,
        responses={204: None},
    )
    def post(self, request: Request, gold_id: str) -> Response:
        gold_turns.retire(self.project, self.actor, id_of("gold", gold_id, GoldNotFound))
        return Response(status=204)


# --- memories, figures, erasure -------------------------------------------------------------------------------


class MemorySearchView(ReviewView):
    scopes: ClassVar = {"POST": Scope.READ}

    @extend_schema(
        operation_id="search_memories",
        summary="Look up corrections",
        description="Any word of the query may match; the score is the share of the query's weight that does.",
        request=s.SearchIn,
        responses=s.MemoriesFound,
    )
    def post(self, request: Request) -> Response:
        body = self.body()
        limit, tags, user_id = body.get("limit"), body.get("tags"), body.get("user_id")
        found = memories.search(
            self.project,
            as_json_text(body.get("query") or ""),
            limit=int(limit) if isinstance(limit, int | float) else 3,
            user_id="" if user_id is None else as_json_text(user_id),
            tags=[str(tag) for tag in tags] if isinstance(tags, list) else [],
        )
        return Response({"memories": found})


class MemoryView(ReviewView):
    scopes: ClassVar = {"DELETE": Scope.REVIEW}

    @extend_schema(
        operation_id="revoke_memory",
        summary="Take a memory away from agents",
        description="Its annotations stay.",
        request=None,
        responses={204: None},
    )
    def delete(self, request: Request, memory_id: str) -> Response:
        memories.revoke(self.project, self.actor, id_of("mem", memory_id, errors.MemoryNotFound))
        return Response(status=204)


class ErasureView(ReviewView):
    scopes: ClassVar = {"POST": Scope.ADMIN}

    @extend_schema(
        operation_id="erase_user",
        summary="Erase all content of a user",
        description="Every turn they took part in, what they said, and memories about them.",
        request=s.ErasureIn,
        responses=s.ErasureDone,
    )
    def post(self, request: Request) -> Response:
        given = self.read(s.ErasureIn)
        return Response(removal.erase_user(self.project, self.actor, given["user_id"]))


class StatsView(ReviewView):
    scopes: ClassVar = {"GET": Scope.READ}

    @extend_schema(operation_id="get_stats", summary="How the queue is doing", responses=s.Stats)
    def get(self, request: Request) -> Response:
        return Response(figures.overview(self.project))
