"""The reference page: the OpenAPI description as plain HTML, made on the server.

Not Swagger UI or Redoc: both need inline styles, which the content policy forbids, weigh over a megabyte, show
nothing without JavaScript, and fail checks of accessibility. This page needs none of that, and prints.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from agentloop.pages import site_address
from agentloop.schema import described

ORDER = ("Turns", "Queue", "Annotations", "Memories", "Exports", "Figures", "Routing", "Administration")
# Deeper than this the table would be harder to read than the schema itself.
DEEPEST = 3
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a table: a parameter, or a member of a body with the path to it."""

    name: str
    kind: str
    is_required: bool
    text: SafeString
    place: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    text: SafeString
    fields: list[Field] = field(default_factory=list)
    example: str = ""
    about: SafeString = field(default_factory=SafeString)


@dataclass(frozen=True, slots=True)
class Operation:
    """`curl` is the command after the address, which depends on who reads the page."""

    id: str
    method: str
    path: str
    summary: str
    text: SafeString
    is_public: bool
    parameters: list[Field]
    body: list[Field]
    example: str
    answers: list[Answer]
    errors: list[Answer]


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    operations: list[Operation]


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    known = {"groups": _groups(), "base_url": site_address(request), "version": described()["info"]["version"]}
    return render(request, "agentloop/reference.html", known)


@cache
def _groups() -> list[Group]:
    by_tag: dict[str, list[Operation]] = {}
    for path, methods in described()["paths"].items():
        for method, operation in methods.items():
            tag = operation["tags"][0]
            by_tag.setdefault(tag, []).append(_operation(path, method, operation))
    names = sorted(by_tag, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return [Group(name, by_tag[name]) for name in names]


def _operation(path: str, method: str, given: dict[str, Any]) -> Operation:
    content = given.get("requestBody", {}).get("content", {}).get("application/json", {})
    answers = [_answer(status, _resolved(one)) for status, one in given["responses"].items()]
    return Operation(
        id=given["operationId"],
        method=method.upper(),
        path=path,
        summary=given.get("summary") or given["operationId"].replace("_", " ").capitalize(),
        text=_prose(given.get("description", "")),
        is_public=not given.get("security"),
        parameters=[_parameter(one) for one in given.get("parameters", [])],
        body=list(_fields(content.get("schema", {}))),
        example=_example(content),
        answers=[one for one in answers if one.status < "4"],
        errors=[one for one in answers if one.status >= "4"],
    )


def _parameter(given: dict[str, Any]) -> Field:
    required = given.get("required", False)
    return Field(given["name"], _kind(given["schema"]), required, _prose(given.get("description", "")), given["in"])


def _answer(status: str, given: dict[str, Any]) -> Answer:
    content = given.get("content", {}).get("application/json", {})
    fields = [] if status >= "4" else list(_fields(content.get("schema", {})))
    written: dict[str, Any] = next(iter(content.get("examples", {}).values()), {})
    example = json.dumps(written["value"], ensure_ascii=False, indent=2) if "value" in written else ""
    return Answer(status, _prose(given.get("description", "")), fields, example, _prose(written.get("description", "")))


def _fields(schema: dict[str, Any], before: str = "", depth: int = 0) -> Iterator[Field]:
    """Every member of a body in the order it is written down, those of its members below it."""
    schema = _resolved(schema)
    if schema.get("type") == "array":
        yield from _fields(schema.get("items", {}), f"{before}[]", depth)
    for name, given in schema.get("properties", {}).items():
        member = _resolved(given)
        path = f"{before}.{name}".lstrip(".")
        text = given.get("description") or member.get("description", "")
        yield Field(path, _kind(given), name in schema.get("required", []), _prose(text))
        if depth < DEEPEST:
            yield from _fields(member, path, depth + 1)


def _kind(schema: dict[str, Any]) -> str:
    schema = _resolved(schema)
    for joined in ("oneOf", "anyOf"):
        if joined in schema:
            return " or ".join(dict.fromkeys(_kind(one) for one in schema[joined]))
    if "enum" in schema:
        return " | ".join("null" if value is None else str(value) for value in schema["enum"])
    kinds = schema.get("type", "any JSON")
    if kinds == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    names = [schema["format"] if one == "string" and "format" in schema else one for one in _listed(kinds)]
    return " or ".join(names)


def _listed(kinds: str | list[str]) -> list[str]:
    return [kinds] if isinstance(kinds, str) else kinds


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """What a reference points at; of a reference with notes beside it (`allOf`), the one thing it wraps."""
    if len(schema.get("allOf", [])) == 1:
        schema = {**schema["allOf"][0], **{name: part for name, part in schema.items() if name != "allOf"}}
    if "$ref" not in schema:
        return schema
    found: Any = described()
    for word in schema["$ref"].removeprefix("#/").split("/"):
        found = found[word]
    return {**_resolved(found), **{name: part for name, part in schema.items() if name != "$ref"}}


def _example(content: dict[str, Any]) -> str:
    """The first example that was written down, else the required members with a value of their kind."""
    if not content:
        return ""
    written = [one["value"] for one in content.get("examples", {}).values() if "value" in one]
    value = written[0] if written else _made_up(content.get("schema", {}))
    return json.dumps(value, ensure_ascii=False, indent=2)


def _made_up(schema: dict[str, Any], depth: int = 0) -> Any:
    schema = _resolved(schema)
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = _listed(schema.get("type", "object"))[0]
    if kind == "array":
        return [_made_up(schema.get("items", {}), depth + 1)]
    if kind == "object":
        members = schema.get("properties", {}) if depth < DEEPEST else {}
        wanted = schema.get("required") or list(members)[:1]
        return {name: _made_up(members[name], depth + 1) for name in wanted if name in members}
    return {"integer": 1, "number": 0.5, "boolean": True}.get(kind, "…")


def _prose(text: str) -> SafeString:
    """Escaped text in which `words` are code."""
    return mark_safe(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S308 - escaped just here
