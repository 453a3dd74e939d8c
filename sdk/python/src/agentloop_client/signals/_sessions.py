"""What is remembered of a conversation, for half an hour: ids and readings, never a word of it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

SESSION_SECONDS = 30 * 60
MOST_SESSIONS = 10_000
MOST_READINGS = 50


class Store(Protocol):
    """Where sessions live. Values are JSON objects of a few hundred bytes."""

    def get(self, key: str) -> Mapping[str, Any] | None: ...

    def put(self, key: str, value: dict[str, Any], seconds: float) -> None: ...

    def delete(self, key: str) -> None: ...


class MemoryStore:
    """Sessions of this process. When there are too many, the one that rested longest goes."""

    def __init__(self, most: int = MOST_SESSIONS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self.after_fork()
        self._kept: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()

    def after_fork(self) -> None:
        """Another thread may have held the lock when the process forked."""
        self._guard = threading.Lock()

    def get(self, key: str) -> Mapping[str, Any] | None:
        with self._guard:
            until, value = self._kept.get(key, (0.0, {}))
            return value if value and until > self._clock() else None

    def put(self, key: str, value: dict[str, Any], seconds: float) -> None:
        with self._guard:
            self._kept.pop(key, None)
            self._kept[key] = (self._clock() + seconds, value)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def delete(self, key: str) -> None:
        with self._guard:
            self._kept.pop(key, None)

    def __len__(self) -> int:
        return len(self._kept)


@dataclass
class Session:
    """A conversation and the latest answer in it, which is what the next message is about."""

    trace_id: str
    goal: str
    model: str
    meta_prompt_id: str | None = None
    has_acted: bool = False
    """Whether the user was seen to do something with the latest answer: that overrides what they say of it."""

    scores: list[tuple[float, float]] = field(default_factory=list)
    """Of each message of the user: how content (0, 0.5, 1), and the confidence."""

    earlier: int = 0
    """How many of the scores are about answers before the latest."""

    def saw(self, score: float, confidence: float) -> None:
        self.scores.append((score, round(confidence, 3)))
        gone = max(0, len(self.scores) - MOST_READINGS)
        del self.scores[:gone]
        self.earlier = max(0, self.earlier - gone)

    def strength(self) -> tuple[float, float]:
        """How content the user seems with the latest answer, and how sure that is; later messages count double."""
        weighted = total = sure = 0.0
        for age, (score, confidence) in enumerate(reversed(self.scores[self.earlier :])):
            weight = 0.5**age
            weighted += weight * confidence * score
            sure += weight * confidence
            total += weight
        return (weighted / sure, sure / total) if sure else (0.5, 0.0)

    def momentum(self) -> str:
        """Whether the second half of the conversation went better than the first."""
        half = len(self.scores) // 2
        if not half:
            return "flat"
        change = _mean(self.scores[half:]) - _mean(self.scores[:half])
        return "improving" if change > 0.2 else "declining" if change < -0.2 else "flat"

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Session:
        """From a store, whose JSON knows no tuples and may come from an older version."""
        known = {name: value for name, value in record.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, "scores": [(score, confidence) for score, confidence in known.get("scores", ())]})


def _mean(scores: list[tuple[float, float]]) -> float:
    return sum(score for score, _ in scores) / len(scores)
