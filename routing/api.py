"""The routing side of the JSON API: each view reads the request, calls one function, and answers 200."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db import connection
from django.http import HttpRequest
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from agentloop import valkey
from agentloop.api import ApiView, HotView
from agentloop.idempotency import header_key
from agentloop.models import Project, Scope
from agentloop.parsing import clean_text, read_object
from agentloop.tenancy import Reach
from routing import advice, decisions, events, paths, prices, reports
from routing import serializers as s
from routing.engine.choice import Risk
from routing.errors import BadField, TraceNotFound
from routing.evidence import MAX_BATCH
from routing.models import NAME_LIMIT, TRACE_LIMIT, Cause, Goal, Path, PathChange, PathStatus, Regime
from routing.quota import SET_ASIDE, is_within_quota
from routing.reports import flag_of, goal_of, number_of, object_of, seconds_of, snake, text_of
from routing.standings import WINDOW_HOURS

GOAL = OpenApiParameter("goal", str)
PIPELINE = OpenApiParameter("pipeline_id", str)
WINDOW = OpenApiParameter("window_hours", float)
CHANGES_SHOWN = 200


def window_of(value: Any) -> float:
    hours = number_of(value)
    return WINDOW_HOURS if hours is None or hours <= 0 else min(hours, advice.MOST_WINDOW_HOURS)


def items_of(given: Mapping[str, Any], name: str) -> list[Any]:
    items = given.get(name)
    if not isinstance(items, list) or len(items) > MAX_BATCH:
        raise BadField(name, f"takes a list of up to {MAX_BATCH} objects.")
    return items


def batch_answer(results: list[dict[str, Any]]) -> dict[str, Any]:
    rejected = sum(result["status"] == "refused" for result in results)
    return {"accepted": len(results) - rejected, "rejected": rejected, "results": results}


def asked_of(given: Mapping[str, Any]) -> decisions.Asked:
    risk = text_of(given.get("task_risk_level")).lower()
    models = given.get("candidate_model_ids")
    named = dict.fromkeys(text_of(model) for model in models) if isinstance(models, list) else {}
    return decisions.Asked(
        goal=goal_of(given),
        risk=Risk(risk) if risk in set(Risk) else Risk.MEDIUM,
        pipeline=text_of(given.get("pipeline_id")),
        models=tuple(model for model in named if model)[: decisions.MAX_CANDIDATES] or None,
        constraints=decisions.constraints_of(object_of(given.get("constraints"))),
        window_hours=window_of(given.get("window_hours")),
    )


def path_shape(path: Path, goal: str) -> dict[str, Any]:
    return {
        "path_id": path.shown_id,
        "goal": goal,
        "model_id": path.model,
        "tool_id": path.tool,
        "tools": path.tools,
        "params": path.params,
        "risk_level": path.risk_level,
        "status": path.status,
        "disabled_by": path.disabled_by,
        "origin": path.origin,
        "probe_at": path.probe_at,
        "created_at": path.created_at,
    }


def goal_shape(goal: Goal) -> dict[str, Any]:
    pinned = Path(id=goal.pinned_path_id).shown_id if goal.pinned_path_id else None
    names = (
        "description",
        "mode",
        "half_life_hours",
        "constraints",
        "auto_explore",
        "max_untested",
        "bounds",
        *paths.CONFIG,
    )
    return {
        "goal": goal.name,
        **{name: getattr(goal, name) for name in names},
        "pinned_path_id": pinned,
        "created_at": goal.created_at,
    }


class RoutingView(ApiView):
    def given(self) -> dict[str, Any]:
        return snake(self.body())

    def asked(self, name: str, limit: int = NAME_LIMIT) -> str:
        return clean_text(self.request.query_params.get(name, "")).strip()[:limit]


# --- choosing -------------------------------------------------------------------------------------------------


class DecideView(HotView):
    scopes: ClassVar = {"POST": Scope.ROUTE}

    @extend_schema(
        operation_id="decide",
        summary="Choose a path",
        description="Draws from each eligible path's posterior and takes the largest draw. Candidates that are not "
        "registered are registered on the fly.",
        request=s.DecideIn,
        responses=s.DecideOut,
    )
    def post(self, request: Request) -> Response:
        return Response(self.work(Reach(self.project, self.actor), request._request)[1])

    def work(self, reach: Reach, request: HttpRequest) -> tuple[int, dict[str, Any]]:
        given = snake(read_object(request))
        decided = decisions.decide(reach.project, asked_of(given), dry_run=flag_of(given.get("dry_run")) is True)
        return 200, decided.as_answer()


class DecisionsView(RoutingView):
    scopes: ClassVar = {"POST": Scope.ROUTE}
    rate_limited = False

    @extend_schema(
        operation_id="report_decisions",
        summary="Report decisions that a client made from a snapshot",
        request=s.DecisionsIn,
        responses=s.BatchOut,
    )
    def post(self, request: Request) -> Response:
        items = [snake(item) if isinstance(item, dict) else {} for item in items_of(self.given(), "decisions")]
        fit = decisions.record_decisions(self.project, [self._reported(item) for item in items])
        return Response(batch_answer([{"status": "accepted" if fits else "refused"} for fits in fit]))

    def _reported(self, item: Mapping[str, Any]) -> decisions.Reported:
        return decisions.Reported(
            goal=text_of(item.get("goal")),
            trace_id=text_of(item.get("trace_id"), TRACE_LIMIT),
            path_id=text_of(item.get("path_id")),
            pipeline=text_of(item.get("pipeline_id")),
            risk=text_of(item.get("task_risk_level")) or "medium",
            exploration=flag_of(item.get("exploration")) is True,
            probability=number_of(item.get("probability")),
            confidence=number_of(item.get("confidence")),
            decided_at=seconds_of(item.get("decided_at")),
        )


class StateView(RoutingView):
    scopes: ClassVar = {"GET": Scope.ROUTE}

    @extend_schema(
        operation_id="get_routing_state",
        summary="A snapshot of a goal to sample from locally",
        description="Carries an ETag: send it as If-None-Match to hear 304 while nothing changed.",
        parameters=[OpenApiParameter("goal", str, required=True), PIPELINE],
        responses={200: s.StateOut, 304: None},
    )
    def get(self, request: Request) -> Response:
        goal = goal_of({"goal": self.asked("goal")})
        snapshot = advice.state_snapshot(self.project, goal, pipeline=self.asked("pipeline_id"))
        etag = f'"{snapshot["version"]}"'
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}
        if etag in known:
            return Response(status=304, headers={"ETag": etag})
        return Response(snapshot, headers={"ETag": etag, "Cache-Control": "private, no-cache"})


class PathsView(RoutingView):
    scopes: ClassVar = {"GET": Scope.ROUTE, "POST": Scope.ROUTE}

    @extend_schema(operation_id="register_path", summary="Register a path", request=s.PathIn, responses=s.PathOut)
    def post(self, request: Request) -> Response:
        given = self.given()
        goal, model = goal_of(given), goal_of(given, "model_id")
        tool, tools = text_of(given.get("tool_id")), given.get("tools")
        named = [text_of(one) for one in tools] if isinstance(tools, list) else [tool]
        new = paths.NewPath(
            model,
            tuple(one for one in named if one),
            object_of(given.get("params")),
            text_of(given.get("risk_level")) or "low",
        )
        return Response(path_shape(paths.register_path(self.project, self.actor, goal, new), goal))

    @extend_schema(
        operation_id="list_paths",
        summary="List paths",
        parameters=[GOAL, OpenApiParameter("include_disabled", bool)],
        responses=s.PathsOut,
    )
    def get(self, request: Request) -> Response:
        goal = self.asked("goal")
        found = Path.objects.of(self.project).select_related("goal").order_by("created_at", "id")
        if goal:
            found = found.filter(goal__name=goal)
        if self.asked("include_disabled").lower() not in ("true", "1"):
            found = found.enabled()
        return Response({"paths": [path_shape(path, path.goal.name) for path in found[: paths.MAX_PATHS]]})


class PathView(RoutingView):
    scopes: ClassVar = {"DELETE": Scope.ROUTE}

    @extend_schema(
        operation_id="disable_path",
        summary="Take a path out of choosing",
        description="Its data stay. Registering it again enables it.",
        request=None,
        responses={200: s.PathDisabled},
    )
    def delete(self, request: Request, path_id: str) -> Response:
        path = paths.disable_path(self.project, self.actor, path_id)
        return Response({"status": PathStatus.DISABLED.value, "path_id": path.shown_id})


class ConfigView(RoutingView):
    scopes: ClassVar = {"GET": Scope.ROUTE, "POST": Scope.ROUTE}

    @extend_schema(
        operation_id="get_config", summary="A goal's six settings", parameters=[GOAL], responses=s.ConfigShape
    )
    def get(self, request: Request) -> Response:
        return Response(paths.config_of(self.project, self.asked("goal") or "*"))

    @extend_schema(
        operation_id="set_config",
        summary="Replace a goal's six settings",
        request=s.ConfigShape,
        responses=s.ConfigShape,
    )
    def post(self, request: Request) -> Response:
        given = self.given()
        return Response(paths.set_config(self.project, text_of(given.get("goal")) or "*", given))


class GoalsView(RoutingView):
    scopes: ClassVar = {"GET": Scope.READ, "POST": Scope.ROUTE}

    @extend_schema(operation_id="list_goals", summary="List goals", responses=s.GoalsOut)
    def get(self, request: Request) -> Response:
        goals = Goal.objects.of(self.project).shown().order_by("name")[: paths.MAX_PATHS]
        return Response({"goals": [goal_shape(goal) for goal in goals]})

    @extend_schema(
        operation_id="set_goal",
        summary="Make a goal, or change the settings that are given",
        request=s.GoalIn,
        responses=s.GoalOut,
    )
    def post(self, request: Request) -> Response:
        given = self.given()
        return Response(goal_shape(paths.change_goal(self.project, goal_of(given), given)))


class GoalView(RoutingView):
    scopes: ClassVar = {"GET": Scope.READ}

    @extend_schema(operation_id="get_goal", summary="A goal's settings", responses=s.GoalOut)
    def get(self, request: Request, goal: str) -> Response:
        return Response(goal_shape(paths.find_goal(self.project, goal)))


# --- what happened --------------------------------------------------------------------------------------------


class ReportsView(RoutingView):
    """What happened is never refused for its rate: beyond the project's quota it is answered and set aside."""

    rate_limited = False

    def taken(self, project: Project, take: Callable[[], Any], **counts: Any) -> dict[str, Any]:
        """`counts`: what clients read of a batch's answer, whatever became of it."""
        return take() if is_within_quota(project) else {**SET_ASIDE, **counts}

    def batch_taken(self, items: list[Any], report: Callable[[Project, list[Any]], Any]) -> dict[str, Any]:
        aside = [{"status": SET_ASIDE["status"]}] * len(items)
        return self.taken(
            self.project, lambda: batch_answer(report(self.project, items)), accepted=0, rejected=0, results=aside
        )


class ReportView(ReportsView, HotView):
    """One report: a subclass says what records it."""

    scopes: ClassVar = {"POST": Scope.ROUTE}
    report: ClassVar[Any]

    def work(self, reach: Reach, request: HttpRequest) -> tuple[int, dict[str, Any]]:
        given = read_object(request)
        return 200, self.taken(reach.project, lambda: type(self).report(reach.project, given, header_key(request)))


class ReportOutcomeView(ReportView):
    report = staticmethod(reports.report_outcome)

    @extend_schema(
        operation_id="report_outcome",
        summary="Report how an execution turned out",
        description="Unknown traces, goals and models are accepted and made. Only an unknown failure category is "
        "refused.",
        request=s.OutcomeIn,
        responses=s.OutcomeOut,
    )
    def post(self, request: Request) -> Response:
        return Response(self.work(Reach(self.project, self.actor), request._request)[1])


class OutcomesView(ReportsView):
    scopes: ClassVar = {"POST": Scope.ROUTE}

    @extend_schema(
        operation_id="report_outcomes", summary="Report up to 500 outcomes", request=s.OutcomesIn, responses=s.BatchOut
    )
    def post(self, request: Request) -> Response:
        items = items_of(self.given(), "outcomes")
        return Response(self.batch_taken(items, reports.report_outcomes))


class UpdateOutcomeView(ReportView):
    report = staticmethod(reports.update_outcome)

    @extend_schema(
        operation_id="update_outcome", summary="Correct an outcome", request=s.UpdateIn, responses=s.UpdateOut
    )
    def post(self, request: Request) -> Response:
        return Response(self.work(Reach(self.project, self.actor), request._request)[1])


class SignalsView(ReportView):
    report = staticmethod(reports.report_signal)

    @extend_schema(
        operation_id="report_signal",
        summary="Report a signal",
        description="The type is an open set: an unknown one counts by its strength.",
        request=s.SignalIn,
        responses=s.SignalOut,
    )
    def post(self, request: Request) -> Response:
        return Response(self.work(Reach(self.project, self.actor), request._request)[1])


@extend_schema_view(post=extend_schema(operation_id="send_signal"))
class FeedbackSignalsView(SignalsView):
    """The same under the address that feedback helpers use."""


class SignalBatchView(ReportsView):
    scopes: ClassVar = {"POST": Scope.ROUTE}

    @extend_schema(
        operation_id="report_signals", summary="Report up to 500 signals", request=s.SignalsIn, responses=s.BatchOut
    )
    def post(self, request: Request) -> Response:
        items = items_of(self.given(), "signals")
        return Response(self.batch_taken(items, reports.report_signals))


class EventsView(ReportsView):
    scopes: ClassVar = {"POST": Scope.INGEST}

    @extend_schema(
        operation_id="ingest_events",
        summary="Send spans, for cost and latency",
        description="JSON, or one event a line as application/x-ndjson. Each span counts once; one bad event rejects "
        "itself alone. What was said in a call is dropped.",
        request=s.EventsIn,
        responses=s.EventsOut,
    )
    def post(self, request: Request) -> Response:
        body = request._request.body
        events.check_signature(self.project, request.headers.get("X-Signature", ""), body)
        read = events.read_events(body, request.headers.get("Content-Type", ""))
        return Response(self.taken(self.project, lambda: self._ingested(read), accepted=0, rejected=0))

    def _ingested(self, read: Any) -> dict[str, Any]:
        done = events.ingest(self.project, read)
        return {"status": "accepted", "accepted": done.accepted, "rejected": done.rejected}


@extend_schema_view(post=extend_schema(operation_id="send_traces"))
class TracesView(EventsView):
    """The same under the address that trace exporters use."""


class TraceView(RoutingView):
    scopes: ClassVar = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_trace", summary="A trace's decisions, outcomes and whole evidence", responses=s.TraceOut
    )
    def get(self, request: Request, trace_id: str) -> Response:
        found = advice.trace_report(self.project, trace_id)
        if found is None:
            raise TraceNotFound
        return Response(found)


# --- what is known --------------------------------------------------------------------------------------------


class PolicyView(RoutingView):
    scopes: ClassVar = {"POST": Scope.ROUTE}

    @extend_schema(
        operation_id="get_policy", summary="The path to recommend", request=s.PolicyIn, responses=s.PolicyOut
    )
    def post(self, request: Request) -> Response:
        given = self.given()
        return Response(
            advice.policy(
                self.project,
                goal_of(given),
                pipeline=text_of(given.get("pipeline_id")),
                constraints=decisions.constraints_of(object_of(given.get("constraints"))),
                window_hours=window_of(given.get("window_hours")),
            )
        )


class RecommendView(RoutingView):
    scopes: ClassVar = {"POST": Scope.ROUTE}

    @extend_schema(
        operation_id="recommend",
        summary="A recommendation by cost, quality, latency or a balance",
        request=s.RecommendIn,
        responses=s.RecommendOut,
    )
    def post(self, request: Request) -> Response:
        given = self.given()
        goal = text_of(given.get("goal"))
        return Response(
            advice.recommendation(
                self.project,
                text_of(given.get("task_type")) if goal else goal_of(given, "task_type"),
                goal_name=goal,
                pipeline=text_of(given.get("pipeline_id")),
                optimize_for=text_of(given.get("optimize_for")),
                constraints=decisions.constraints_of(object_of(given.get("constraints"))),
                window_hours=window_of(given.get("window_hours")),
            )
        )


class InsightsView(RoutingView):
    scopes: ClassVar = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_insights",
        summary="How every goal does, and what there is to do about it",
        parameters=[WINDOW, GOAL, PIPELINE],
        responses=s.InsightsOut,
    )
    def get(self, request: Request) -> Response:
        found = advice.insights(
            self.project,
            goal_name=self.asked("goal"),
            pipeline=self.asked("pipeline_id"),
            window_hours=window_of(self.asked("window_hours")),
        )
        return Response(found)


class ChangesView(RoutingView):
    scopes: ClassVar = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_path_changes",
        summary="Rollbacks, recoveries, regimes and other changes, the newest first",
        parameters=[GOAL],
        responses=s.ChangesOut,
    )
    def get(self, request: Request) -> Response:
        goal = self.asked("goal")
        changed = PathChange.objects.filter(project=self.project).select_related("goal", "path").order_by("-id")
        regimes = Regime.objects.filter(project=self.project).select_related("goal", "path").order_by("-id")
        if goal:
            changed, regimes = changed.filter(goal__name=goal), regimes.filter(goal__name=goal)
        found = [self._change(change) for change in changed[:CHANGES_SHOWN]]
        found += [self._regime(regime) for regime in regimes[:CHANGES_SHOWN]]
        return Response({"changes": sorted(found, key=lambda one: one["at"], reverse=True)[:CHANGES_SHOWN]})

    def _change(self, one: PathChange) -> dict[str, Any]:
        return {
            "change": one.change,
            "goal": one.goal.name,
            "path_id": one.path.shown_id,
            "model_id": one.path.model,
            "reason": one.reason,
            "figures": one.figures,
            "actor": one.actor,
            "at": one.at,
        }

    def _regime(self, one: Regime) -> dict[str, Any]:
        return {
            "change": "regime",
            "goal": one.goal.name,
            "path_id": one.path.shown_id,
            "model_id": one.path.model,
            "reason": Cause(one.cause).label,
            "figures": {**one.figures, "since": datetime.fromtimestamp(one.since, UTC)},
            "actor": "system",
            "at": one.opened_at,
        }


class PricesView(RoutingView):
    scopes: ClassVar = {"GET": Scope.READ, "POST": Scope.ADMIN}

    @extend_schema(operation_id="list_prices", summary="Model prices, as shipped and as set", responses=s.PricesOut)
    def get(self, request: Request) -> Response:
        return Response({"prices": prices.prices_of(self.project)})

    @extend_schema(operation_id="set_price", summary="Set a model's price", request=s.PriceShape, responses=s.PriceOut)
    def post(self, request: Request) -> Response:
        given = s.PriceShape(data=self.given())
        given.is_valid(raise_exception=True)
        return Response(prices.set_price(self.project, self.actor, **given.validated_data))


class HealthView(ApiView):
    authentication_classes = []
    permission_classes = []
    rate_limited = False

    @extend_schema(
        operation_id="get_health", summary="Whether database and broker answer", auth=[], responses=s.HealthOut
    )
    def get(self, request: Request) -> Response:
        database, redis = _answers(_ask_database), _answers(_ask_valkey)
        status = "ok" if database == redis == "ok" else "degraded"
        return Response({"status": status, "database": database, "redis": redis})


def _answers(ask: Any) -> str:
    try:
        ask()
    except Exception:
        return "unreachable"
    return "ok"


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _ask_valkey() -> None:
    valkey.ask(lambda redis: redis.ping())


@extend_schema_view(get=extend_schema(operation_id="get_intelligence_health"))
class IntelligenceHealthView(HealthView):
    """The same under the address that intelligence clients use."""
