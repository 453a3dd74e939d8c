"""Short ways to make links, open them and answer them."""

import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from random import randrange
from typing import Any
from uuid import UUID

from django.test import Client

from agentloop.ids import shown
from agentloop.keys import signing_key_id
from agentloop.models import Project
from agentloop.signing import make_feedback_query, make_token

SECRET = "fb-secret-0123456789abcdef"
QUESTION, RESPONSE = "When do you open?", "At noon."


class _Form(HTMLParser):
    """What a browser would send of a form: hidden fields, what is checked, what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self.area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "textarea":
            self.area = name
            self.fields[name] = [""]
        elif tag == "input" and (given.get("type") not in ("radio", "checkbox") or "checked" in given):
            self.fields.setdefault(name, []).append(value)

    def handle_data(self, data: str) -> None:
        if self.area:
            self.fields[self.area] = [data.removeprefix("\n")]

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.area = ""


def form_of(html: str) -> dict[str, list[str]]:
    reader = _Form()
    reader.feed(html)
    return reader.fields


def visitor() -> Client:
    """A browser at an address of its own: limits outlive a test, and other sessions share them."""
    return Client(REMOTE_ADDR=f"198.18.{randrange(256)}.{randrange(256)}")


@dataclass
class Widget:
    project: Project
    client: Client = field(default_factory=visitor)

    def token(self, at: int | None = None, **payload: str) -> str:
        payload.setdefault("k", signing_key_id(SECRET))
        return make_token(SECRET, payload, int(time.time()) if at is None else at)

    def link_to(self, turn_id: UUID, **payload: str) -> str:
        return f"/f/{self.token(turn=shown('turn', turn_id), **payload)}"

    def link(self, question: str = QUESTION, response: str = RESPONSE, **payload: str) -> str:
        return f"/f/{self.token(q=question, a=response, **payload)}"

    def published(self, question: str = QUESTION, response: str = RESPONSE, at: int | None = None, **ids: str) -> str:
        at = int(time.time()) if at is None else at
        return "/feedback?" + make_feedback_query(SECRET, question=question, response=response, at=at, **ids)

    def open(self, link: str, **headers: str) -> Any:
        return self.client.get(link, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def send(self, link: str, rating: str = "", **fields: Any) -> Any:
        return self.client.post(link, {**({"rating": rating} if rating else {}), **fields})

    def answer(self, link: str, rating: str, **fields: Any) -> Any:
        """Opens the form, fills it and sends it, as a person does."""
        form = form_of(self.open(link).content.decode())
        return self.client.post(link, {**form, "rating": rating, **fields})
