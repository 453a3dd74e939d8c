"""Downloads of the review side: each view reads its filters, and streams."""

import threading
from collections.abc import Generator, Iterable, Iterator
from inspect import GEN_CLOSED, getgeneratorstate
from typing import Any, ClassVar
from weakref import WeakSet

from django.conf import settings
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from agentloop.api import ApiView
from agentloop.errors import AppError, NotFound
from agentloop.models import Scope
from agentloop.parsing import clean_text
from review import annotations, errors, export, filters
from review.models import AnnotationSource, Rating, RootCause, Status

_FORM = OpenApiParameter(
    "form", str, OpenApiParameter.PATH, enum=list(export.FORMS), description="What the file is to be."
)
_FILES: Any = {
    (200, "application/x-ndjson"): str,
    (200, "text/csv"): str,
    (200, "application/vnd.apache.parquet"): bytes,
}
AUDIT_FILTERS = ("act", "actor", "since", "until")


class UnknownForm(NotFound):
    """There are exports as .jsonl, .csv and .parquet."""

    code = "unknown_form"


class ExportsBusy(AppError):
    """As many exports as this server makes at once are under way: try again in a few seconds."""

    code, http_status = "exports_busy", 503


# Those under way in this process. One whose reader went away is let go of by the server, and is gone from here.
_under_way: WeakSet[Generator[bytes]] = WeakSet()
_lock = threading.Lock()


def exports_at_once() -> int:
    """Each holds a thread for as long as its reader takes: a quarter of them, so that slow readers stop nobody."""
    return max(1, settings.WEB_THREADS // 4)


def take_place(chunks: Iterable[bytes]) -> Generator[bytes]:
    """The same chunks, as one of the few exports that are made at once."""
    stream = _all_of(chunks)
    with _lock:
        if sum(getgeneratorstate(other) != GEN_CLOSED for other in _under_way) >= exports_at_once():
            raise ExportsBusy(retry_after=5)
        _under_way.add(stream)
    return stream


def _all_of(chunks: Iterable[bytes]) -> Generator[bytes]:
    yield from chunks


class ExportView(ApiView):
    """The answer is a stream: it begins at once, whatever the export's size, and ends early if the reader does."""

    scopes: ClassVar = {"GET": Scope.READ}
    name: ClassVar[str]
    fields: ClassVar[dict[str, str]]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """The path says what the file is, whatever `Accept` says; errors are JSON as everywhere."""
        return super().perform_content_negotiation(request, force=True)

    def rows(self, form: str, given: dict[str, list[str]]) -> Iterator[list[export.Row]]:
        raise NotImplementedError

    def stream(self, request: Request, form: str) -> StreamingHttpResponse:
        if form not in export.FORMS:
            raise UnknownForm
        params = request.query_params
        given = {clean_text(name): [clean_text(value) for value in params.getlist(name)] for name in params}
        content_type, written = export.FORMS[form]
        chunks = written(self.rows(form, given), self.fields)
        response = StreamingHttpResponse(take_place(chunks), content_type=content_type)
        name = f"{self.project.slug}-{self.name}-{timezone.now():%Y-%m-%d}.{form}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["Cache-Control"] = "no-store"
        # A proxy that collects the answer before it passes it on would time out on a long one.
        response["X-Accel-Buffering"] = "no"
        return response


class TurnExportView(ExportView):
    name = "turns"
    fields = export.TURN_FIELDS

    @extend_schema(
        operation_id="export_turns",
        summary="Download turns",
        description="All turns that the filters of `GET /v1/turns` let through, oldest first, as a stream. A line of "
        "JSONL also holds `merged_occurrences` and `annotations`, and `manage.py import turns` takes it back. In CSV "
        "and Parquet nested values are JSON text.",
        parameters=[
            _FORM,
            OpenApiParameter("status", str, enum=Status.values),
            OpenApiParameter("signal", str, many=True, description="`thumbs_down`, `confidence<0.5`, `kind=refund`."),
            OpenApiParameter("tag", str, many=True),
            OpenApiParameter("q", str, description="Words that all occur; found within seconds of logging."),
            *(OpenApiParameter(name, str) for name in filters.FILTERS if name not in ("status", "signal", "tag", "q")),
        ],
        responses=_FILES,
    )
    def get(self, request: Request, form: str) -> StreamingHttpResponse:
        return self.stream(request, form)

    def rows(self, form: str, given: dict[str, list[str]]) -> Iterator[list[export.Row]]:
        wanted = filters.read_filter(self.project.id, given)
        return export.turn_rows(self.project, wanted, with_history=form == "jsonl")


class AnnotationExportView(ExportView):
    name = "annotations"
    fields = export.ANNOTATION_FIELDS

    @extend_schema(
        operation_id="export_annotations",
        summary="Download annotations",
        description="All standing annotations that the filters let through, oldest first, as a stream.",
        parameters=[
            _FORM,
            OpenApiParameter("rating", str, enum=Rating.values),
            OpenApiParameter("source", str, enum=AnnotationSource.values),
            OpenApiParameter("root_cause", str, enum=RootCause.values),
            *(
                OpenApiParameter(name, str)
                for name in annotations.FILTERS
                if name not in ("rating", "source", "root_cause")
            ),
        ],
        responses=_FILES,
    )
    def get(self, request: Request, form: str) -> StreamingHttpResponse:
        return self.stream(request, form)

    def rows(self, form: str, given: dict[str, list[str]]) -> Iterator[list[export.Row]]:
        return export.annotation_rows(self.project, annotations.conditions(given))


class AuditExportView(ExportView):
    scopes: ClassVar = {"GET": Scope.ADMIN}
    name = "audit"
    fields = export.AUDIT_FIELDS

    @extend_schema(
        operation_id="export_audit",
        summary="Download the audit log",
        description="Every act that the filters let through, oldest first, as a stream. `act` is a whole one, such as "
        "`key.create`, or the words before its dot.",
        parameters=[_FORM, *(OpenApiParameter(name, str) for name in AUDIT_FILTERS)],
        responses=_FILES,
    )
    def get(self, request: Request, form: str) -> StreamingHttpResponse:
        return self.stream(request, form)

    def rows(self, form: str, given: dict[str, list[str]]) -> Iterator[list[export.Row]]:
        return export.audit_rows(self.project, **_audit_filters(given))


def _audit_filters(given: dict[str, list[str]]) -> dict[str, Any]:
    """As `agentloop.audit.entries` takes them."""
    unknown = next((name for name in given if name not in AUDIT_FILTERS), None)
    if unknown:
        raise errors.BadValue(unknown, f"is not a filter; there are {', '.join(AUDIT_FILTERS)}.")
    said = {name: values[-1] for name, values in given.items()}
    times = {name: filters.time_of(name, said[name]) for name in ("since", "until") if said.get(name)}
    return {**{name: value for name, value in said.items() if name in ("act", "actor")}, **times}
