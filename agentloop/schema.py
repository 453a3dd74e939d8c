"""The OpenAPI description of the JSON API: our tags, keys and error answers over what drf-spectacular reads off."""

import json
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

from agentloop.errors import DatabaseAway, TooManyRequests, UnknownKey

PREFIX = "/p/{project}/"
# The part of the API that a path's first word belongs to.
TAGS = {
    "turns": "Turns",
    "queue": "Queue",
    "acts": "Queue",
    "annotations": "Annotations",
    "memories": "Memories",
    "export": "Exports",
    "erasure": "Exports",
    "stats": "Figures",
    "routing": "Routing",
    "intelligence": "Routing",
    "signals": "Routing",
    "ingest": "Routing",
    "traces": "Routing",
    "health": "Routing",
}
ERRORS = {
    400: (
        "The body is not JSON.",
        "bad_json",
        "The body is not JSON at line 1, column 14: send one JSON value, in UTF-8.",
    ),
    401: ("No key, or one that is unknown, expired or revoked.", "unknown_key", UnknownKey.__doc__),
    403: (
        "The key lacks the scope, or names another tenant.",
        "missing_scope",
        "This API key lacks the scope `review`: an owner can make one that has it.",
    ),
    404: ("There is nothing here by that name.", "not_found", "There is nothing here by that name."),
    405: ("The address does not take that method.", "method_not_allowed", "This address does not take that method."),
    409: (
        "Something else has changed this in the meantime.",
        "conflict",
        "Something else has changed this in the meantime.",
    ),
    413: ("The request is larger than 5 MB.", "too_large", "The request is larger than 5 MB: send less at once."),
    422: ("A value is not valid; `fields` says which.", "invalid", "limit takes a whole number from 1 to 200."),
    429: ("Too fast: wait as long as `Retry-After` says.", "rate_limited", TooManyRequests.__doc__),
    503: (
        "The database cannot be reached just now; `Retry-After` says when to try again.",
        "database_away",
        DatabaseAway.__doc__,
    ),
}
KEYS: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Schema(AutoSchema):
    """One view's description. It adds the errors that the base view and the middleware can answer with."""

    def get_tags(self) -> list[str]:
        words = [word for word in self.path.split("/") if word not in ("", "api", "v1")]
        return [TAGS.get(words[0] if words else "", "Administration")]

    def get_auth(self) -> list[dict[str, Any]]:
        return [] if self._is_public() else KEYS

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            for status in self._error_statuses():
                if str(status) not in operation["responses"]:
                    operation["responses"][str(status)] = {"$ref": f"#/components/responses/Error{status}"}
            for status, answer in operation["responses"].items():
                if answer.get("description") == "":
                    answer["description"] = HTTPStatus(int(status)).phrase
            operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def _error_statuses(self) -> list[int]:
        statuses = [404, 405, 422, 503]
        if not self._is_public():
            statuses += [401, 403]
        if self.method in WRITES:
            statuses += [400, 409, 413]
        if getattr(self.view, "rate_limited", False):
            statuses.append(429)
        return statuses

    def _is_public(self) -> bool:
        return not self.view.authentication_classes


def leave_out_prefixed_paths(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Every path again below /p/<project>/ would say nothing new: `servers` says it once."""
    return [endpoint for endpoint in endpoints if not endpoint[0].startswith(PREFIX)]


def add_error_answers(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """The one shape of errors, and the answer of each status with an example."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = {
        "type": "object",
        "description": "Every error, of the framework too.",
        "required": ["error", "code", "fields"],
        "properties": {
            "error": {"type": "string", "description": "One sentence that a person understands."},
            "code": {"type": "string", "description": "A word for programs. It does not change."},
            "fields": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "What is wrong with each field, by its name; empty where no field is to blame.",
            },
        },
    }
    components["responses"] = {f"Error{status}": _error_answer(status) for status in ERRORS}
    return result


@cache
def examples() -> dict[str, Any]:
    """By operation: a request, what it is answered, and one that is refused. Tests replay them, in this order."""
    return json.loads((Path(__file__).parent / "api_examples.json").read_text())


def add_examples(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    operations = [operation for methods in result["paths"].values() for operation in methods.values()]
    for operation in operations:
        if one := examples().get(operation["operationId"]):
            for parameter in operation.get("parameters", []):
                if parameter["name"] in one.get("path", {}):
                    parameter["example"] = one["path"][parameter["name"]]
            _show(operation["requestBody"], one["request"])
            _show(operation["responses"][str(one["status"])], one["answer"])
            refused = one["refused"]
            answer = _error_answer(refused["status"])
            del answer["content"]["application/json"]["example"]
            _show(
                answer, refused["answer"], f"{refused['when']}: `{json.dumps(refused['request'], ensure_ascii=False)}`"
            )
            operation["responses"][str(refused["status"])] = answer
    return result


def _show(body: dict[str, Any], value: Any, about: str = "") -> None:
    """Puts an example beside the shape of a request or an answer."""
    body["content"]["application/json"]["examples"] = {
        "example": {"value": value} | ({"description": about} if about else {})
    }


def _error_answer(status: int) -> dict[str, Any]:
    description, code, sentence = ERRORS[status]
    fields = {"limit": sentence} if status == 422 else {}
    answer: dict[str, Any] = {
        "description": description,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Error"},
                "example": {"error": sentence, "code": code, "fields": fields},
            }
        },
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return answer


@cache
def described() -> dict[str, Any]:
    """The whole description. It takes a second to make and never changes while a process lives."""
    return json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True), default=str))


@cache
def _written(form: str) -> bytes:
    if form == "yaml":
        return yaml.safe_dump(described(), sort_keys=False, allow_unicode=True).encode()
    return json.dumps(described(), ensure_ascii=False).encode()


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """JSON, or YAML for `?format=yaml` and for whoever accepts nothing else. No key is needed."""
    asked = request.GET.get("format") or ("yaml" if "yaml" in request.META.get("HTTP_ACCEPT", "") else "json")
    form = "yaml" if asked == "yaml" else "json"
    kind = "application/yaml" if form == "yaml" else "application/json"
    answer = HttpResponse(_written(form), content_type=f"{kind}; charset=utf-8")
    answer["Vary"] = "Accept"
    return answer
