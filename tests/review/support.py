"""Short ways to log, call, look and race, for the tests of the review side."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, connections
from django.test import Client

from agentloop.actors import SYSTEM, Actor, member_actor
from agentloop.keys import create_key
from agentloop.models import Project
from agentloop.tenancy import add_member
from review.figures import pending_count
from review.index import index_stale_turns, reconcile_counters
from review.models import Opinion, Turn

ALL_SCOPES = ("ingest", "route", "read", "review", "admin")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Any = None


class Caller:
    """`call(method, path, body)` with one key; `body` is JSON, or bytes as they are."""

    def __init__(self, secret: str) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {secret}"}, raise_request_exception=True)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.client.generic(method, path, data, content_type="application/json", headers=named)
        return Answer(response.status_code, response.json() if response.content else None, response.headers)

    def log(self, question: str = "What is a loop?", response: str = "A circle.", **more: Any) -> Answer:
        return self("POST", "/v1/turns", {"question": question, "agent_response": response, **more})


def make_project(slug: str) -> Project:
    return Project.objects.create(slug=slug, name=slug.title(), settings={"random_share": 0})


def caller_for(project: Project, *scopes: str, name: str = "key") -> Caller:
    _, secret = create_key(project=project, actor=SYSTEM, name=name, scopes=scopes or ALL_SCOPES)
    return Caller(secret)


def member(project: Project, name: str, role: str) -> Actor:
    email = f"{name}@example.com"
    return member_actor(add_member(project=project, actor=SYSTEM, email=email, role=role, password="a-long-password"))


def turn_of(answer: Answer) -> Turn:
    return Turn.objects.get(id=answer.body["turn_id"].removeprefix("turn_"))


def settle_index() -> None:
    while index_stale_turns():
        pass


def assert_counted(project: Project) -> None:
    """The total is exact before and after the worker's round, and the counters agree with the index."""
    waiting = Turn.objects.of(project).pending().count()
    assert pending_count(project) == waiting
    settle_index()
    assert pending_count(project) == waiting
    assert reconcile_counters(project) == {}


def in_threads(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs all at once, each on a connection of its own; answers results in order, raises the first error."""
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def work(place: int) -> None:
        try:
            start.wait(30)
            results[place] = works[place]()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
    return results


def move_time(**columns: str) -> None:
    """Moves times of all turns by an SQL interval: `move_time(expires_at="-31 days")`."""
    with connection.cursor() as cursor:
        for column, interval in columns.items():
            cursor.execute(f"UPDATE review_turn SET {column} = {column} + interval '{interval}'")


def say(project: Project, *said: dict[str, str], tags: tuple[str, ...] = (), settled: bool = True) -> None:
    """Turns that several judged: each with reviewers' ratings."""
    for unit in said:
        turn = Turn.objects.create(
            project=project, question="Q", response="A", tags=list(tags), expires_at="2100-01-01T00:00:00Z"
        )
        for actor, rating in unit.items():
            Opinion.objects.create(
                project=project, turn_id=turn.id, actor=actor, source="reviewer", rating=rating, is_settled=settled
            )
