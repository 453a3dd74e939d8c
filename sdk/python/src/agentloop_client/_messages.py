"""What both clients, the one that waits and the one that is awaited, say to the review side and understand of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from random import random
from secrets import token_hex
from typing import Any, Union

from agentloop_client import errors
from agentloop_client._encode import encode, text_of, well_formed
from agentloop_client._http import Answer, Request
from agentloop_client._settings import Settings, Warnings
from agentloop_client.signing import published_url, short_url

Object = Mapping[str, Any]
Text = Union[str, Callable[[], str]]
Objects = Union[Object, Callable[[], Object], None]


@dataclass(frozen=True)
class LoggedTurn:
    """The server's receipt for a turn."""

    turn_id: str
    status: str = "pending"
    was_duplicate: bool = False
    feedback_url: str | None = None


@dataclass(frozen=True)
class Memory:
    """What a correction taught."""

    id: str
    fact: str
    score: float
    tags: tuple[str, ...] = ()
    source: str = ""
    created_at: str = ""


@dataclass(frozen=True)
class Annotation:
    """A verdict that was given from code."""

    annotation_id: str
    memory_id: str | None = None
    status: str = ""
    duplicate_score: float | None = None
    turn_id: str | None = None


def turn_message(
    question: Text,
    agent_response: Text,
    signals: Objects,
    metadata: Objects,
    idempotency_key: str | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """A turn as the server takes it. What is not said is left out."""
    turn = {
        "question": text_of(question() if callable(question) else question),
        "agent_response": text_of(agent_response() if callable(agent_response) else agent_response),
        "occurred_at": round(time.time(), 3),
        "idempotency_key": idempotency_key or token_hex(16),
    }
    if callable(signals):
        signals = signals()
    if callable(metadata):
        metadata = metadata()
    if signals:
        turn["signals"] = signals
    if metadata:
        turn["metadata"] = metadata
    for name, value in more.items():
        if value is not None and value != "":
            turn[name] = value
    return turn


def turn_request(turn: Mapping[str, Any]) -> Request:
    return Request("POST", "/v1/turns", encode(turn), {"Idempotency-Key": str(turn["idempotency_key"])})


def read_logged(answer: Answer) -> LoggedTurn:
    body = _sound(answer)
    if not isinstance(body.get("turn_id"), str):
        raise errors.BadAnswer(status=answer.status)
    url = body.get("feedback_url")
    return LoggedTurn(
        body["turn_id"],
        str(body.get("status") or "pending"),
        body.get("was_duplicate") is True,
        url if isinstance(url, str) else None,
    )


def search_request(query: str, limit: int, user_id: str | None, tags: Sequence[str] | None) -> Request:
    asked = {"query": text_of(query), "limit": limit, "user_id": user_id, "tags": list(tags) if tags else None}
    return Request("POST", "/v1/memories/search", encode({name: said for name, said in asked.items() if said}))


def read_memories(answer: Answer) -> list[Memory]:
    found = _sound(answer).get("memories")
    if not isinstance(found, list):
        raise errors.BadAnswer(status=answer.status)
    return [_memory(one) for one in found if isinstance(one, dict) and isinstance(one.get("fact"), str)]


def _memory(one: Mapping[str, Any]) -> Memory:
    score, tags = one.get("score"), one.get("tags")
    return Memory(
        id=str(one.get("id") or ""),
        fact=one["fact"],
        score=float(score) if isinstance(score, (int, float)) else 0.0,
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        source=str(one.get("source") or ""),
        created_at=str(one.get("created_at") or ""),
    )


def annotate_request(given: Mapping[str, Any], idempotency_key: str | None) -> Request:
    body = {name: value for name, value in given.items() if value is not None}
    return Request("POST", "/v1/annotations", encode(body), {"Idempotency-Key": idempotency_key or token_hex(16)})


def read_annotation(answer: Answer) -> Annotation:
    body = _sound(answer)
    if not isinstance(body.get("annotation_id"), str):
        raise errors.BadAnswer(status=answer.status)
    told: dict[str, Any] = {name: body.get(name) for name in Annotation.__dataclass_fields__}
    return Annotation(**told)


def _sound(answer: Answer) -> Mapping[str, Any]:
    if answer.error is not None:
        raise answer.error
    return answer.body


def is_sampled(rate: float, key: str = "") -> bool:
    """Whether one in so many is drawn. The same key is always drawn alike, in every language; no key, by chance."""
    return (_place(key) if key else random()) < rate


def _place(key: str) -> float:
    """Where a key lies between 0 and 1: FNV-1a over its UTF-8, stirred as murmur3 does at its end."""
    hashed = 0x811C9DC5
    for byte in well_formed(key).encode():
        hashed = (hashed ^ byte) * 0x01000193 & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return (hashed ^ hashed >> 16) / 2**32


def with_sample_mark(signals: Objects) -> Objects:
    if callable(signals):
        later = signals
        return lambda: {**later(), "random_sample": True}
    return {**(signals or {}), "random_sample": True}


class Speaker:
    """What a client does without a wait: reading settings, weighing conditions, signing links, swallowing trouble."""

    settings: Settings
    warnings: Warnings

    def __init__(self, settings: Settings) -> None:
        self.settings, self.warnings = settings, Warnings()
        if not settings.api_key:
            self.trouble(errors.NotConfigured())

    def feedback_url(
        self,
        question: str = "",
        agent_response: str = "",
        *,
        turn_id: str = "",
        user_id: str = "",
        session_id: str = "",
        trace_id: str = "",
        goal: str = "",
        published: bool = False,
        at: int | None = None,
    ) -> str:
        """A signed link to a form where whoever holds it can say what was wrong with this answer.

        With a turn's id alone it is short and says nothing of the person. `published` makes the long form. Raises
        `NoSigningSecret` without a secret: a link that can't work must not reach a user.
        """
        secret = self.settings.signing_secret
        if not secret:
            raise errors.NoSigningSecret
        if published:
            return published_url(
                self.settings.base_url, secret, question, agent_response, user_id=user_id, session_id=session_id, at=at
            )
        said = {"turn": turn_id} if turn_id else {"q": question, "a": agent_response}
        said.update(u=user_id, s=session_id, trace=trace_id, goal=goal)
        return short_url(self.settings.base_url, secret, said, at)

    def _holds(self, condition: Any) -> bool:
        """A condition that breaks does not hold, and is told."""
        try:
            held = condition() if callable(condition) else condition
            if isinstance(held, Coroutine):
                # It is always true: whoever gives an async condition would log everything.
                held.close()
                raise TypeError
            return bool(held)
        except Exception as error:
            self.trouble(errors.BadArgument(f"A condition of log_turn_if broke: {type(error).__name__}."), error)
            return False

    def _drawn(self, rate: float, turn: Mapping[str, Any]) -> bool:
        try:
            return is_sampled(rate, str(turn.get("session_id") or turn.get("user_id") or ""))
        except Exception as error:
            self.trouble(errors.BadArgument("The rate of a sample is a number from 0 to 1."), error)
            return False

    def trouble(self, error: Exception, cause: BaseException | None = None) -> None:
        """Raises where that was asked for; else tells the log, without a word of content."""
        if self.settings.strict:
            raise error from cause
        if isinstance(error, errors.AgentLoopError):
            status = f" (status {error.status})" if error.status else ""
            self.warnings.tell(error.code, f"AgentLoop: {error.code}{status}. {(type(error).__doc__ or '').strip()}")
        else:
            self.warnings.tell(type(error).__name__, f"AgentLoop: something went wrong: {type(error).__name__}.")
