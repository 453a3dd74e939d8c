"""One request and what came of it, without a thought of retrying; and when to try again."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from agentloop_client import errors
from agentloop_client._settings import Settings

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 16 * 1024 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
TRIES_OF_A_CALL = 3


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Answer:
    """What the server said: a JSON object, or an error that says what is wrong."""

    status: int
    body: dict[str, Any]
    etag: str = ""
    error: errors.AgentLoopError | None = None
    retry_after: float | None = None

    @property
    def is_worth_a_retry(self) -> bool:
        """Whether the same request may fare better later."""
        if self.error is None or isinstance(self.error, errors.Closed):
            return False
        return self.status in (0, 408, 425, 429) or self.status >= 500 or isinstance(self.error, errors.BadAnswer)

    @property
    def is_about_the_content(self) -> bool:
        """Whether our server says that what was sent is at fault, and not who sent it or where to."""
        if self.error is None:
            return False
        return self.status == 413 or (self.status in (400, 422) and self.error.code != errors.Refused.code)


def pause(failures: int, retry_after: float | None = None, chance: Callable[[], float] = random.random) -> float:
    """Seconds to the next try: doubled each time, drawn at random so that clients don't come back together."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))
    drawn = longest * (0.5 + 0.5 * chance())
    return drawn if retry_after is None else max(0.0, min(retry_after, 300.0)) + drawn * 0.1


def read_answer(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """An answer from its parts. Whatever is no JSON object of ours becomes an error, never an exception."""
    if status == 304:
        return Answer(status, {}, etag=headers.get("etag", ""))
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if 200 <= status < 300:
        if isinstance(body, dict):
            return Answer(status, body, etag=headers.get("etag", ""))
        return failed(errors.BadAnswer(status=status), status)
    return _refusal(status, headers, body if isinstance(body, dict) else {})


def _refusal(status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
    kind: type[errors.AgentLoopError] = errors.Refused
    if status < 400:
        kind = errors.BadAnswer
    elif status == 429:
        kind = errors.RateLimited
    elif status >= 500:
        kind = errors.ServerFailed
    said, fields = body.get("error"), body.get("fields")
    error = kind(
        said if isinstance(said, str) else f"The server answered with status {status}.",
        code=str(body.get("code") or ""),
        status=status,
        request_id=headers.get("x-request-id", ""),
        fields=fields if isinstance(fields, dict) else None,
    )
    return Answer(status, {}, error=error, retry_after=_seconds(headers.get("retry-after")))


def _seconds(text: str | None) -> float | None:
    """`Retry-After` in seconds; a date among them."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, TypeError):
            return None


def failed(error: errors.AgentLoopError, status: int = 0) -> Answer:
    return Answer(status, {}, error=error)


def headers_of(settings: Settings, request: Request) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {settings.api_key}", "User-Agent": _agent(), **(request.headers or {})}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def _agent() -> str:
    from agentloop_client import __version__

    return f"agentloop-client-python/{__version__}"


def failure_of(error: Exception) -> Answer:
    """A transport's exception as an answer. The exception's text may name a proxy with its password: it stays out."""
    import httpx

    kind = errors.TimedOut if isinstance(error, httpx.TimeoutException) else errors.Unreachable
    return failed(kind(f"{(kind.__doc__ or '').strip()} ({type(error).__name__})"))


Transport = Union["httpx.Client", Callable[[], "httpx.Client"], None]
AsyncTransport = Union["httpx.AsyncClient", Callable[[], "httpx.AsyncClient"], None]


class Http:
    """Sends over httpx, which is imported when the first client is made: importing us costs an agent next to nothing.

    Not later, in the thread that sends: other libraries look into `sys.modules` for it, and would find half of it.
    """

    def __init__(self, settings: Settings, given: Transport = None) -> None:
        import httpx  # noqa: F401

        self._settings, self._given = settings, given
        self._begin()

    def _begin(self) -> None:
        self._client: httpx.Client | None = None
        self._guard = threading.Lock()
        self._borrowers = 0
        self._is_closed = False

    def send(self, request: Request, timeout: float | None = None) -> Answer:
        seconds = self._settings.timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        try:
            with (
                self._borrowed() as client,
                client.stream(
                    request.method,
                    self._settings.base_url + request.path,
                    content=request.body,
                    headers=headers_of(self._settings, request),
                    timeout=max(0.001, seconds),
                    follow_redirects=False,
                ) as response,
            ):
                content = b"".join(_within(response.iter_bytes(), deadline))
                return read_answer(response.status_code, response.headers, content)
        except errors.AgentLoopError as error:
            return failed(error)
        except Exception as error:
            return failure_of(error)

    def call(self, request: Request, timeout: float | None = None) -> Answer:
        """A request that somebody waits for: tried again while it may help and time is left."""
        deadline = time.monotonic() + (self._settings.timeout if timeout is None else timeout)
        for failures in range(TRIES_OF_A_CALL):
            answer = self.send(request, deadline - time.monotonic())
            wait = pause(failures, answer.retry_after)
            if not answer.is_worth_a_retry or time.monotonic() + wait >= deadline:
                break
            if failures + 1 < TRIES_OF_A_CALL:
                time.sleep(wait)
        return answer

    @contextmanager
    def _borrowed(self) -> Iterator[httpx.Client]:
        import httpx

        with self._guard:
            if self._is_closed:
                raise errors.Closed
            if self._client is None:
                given = self._given
                self._client = given if isinstance(given, httpx.Client) else given() if given else httpx.Client()
            client = self._client
            self._borrowers += 1
        try:
            yield client
        finally:
            with self._guard:
                self._borrowers -= 1
            self._close_if_unused()

    def close(self) -> None:
        """Closes what we opened, as soon as nobody waits for an answer. Nothing is opened again."""
        self._is_closed = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        with self._guard:
            if not self._is_closed or self._borrowers:
                return
            client, self._client = self._client, None
        # What was handed in is its owner's.
        if client is not None and client is not self._given:
            client.close()

    def forget(self) -> None:
        """After a fork: the parent's connections are the parent's, and no word may go over them."""
        if self._given is not None and not callable(self._given):
            self._given = None
        self._begin()


class AsyncHttp:
    """The same, awaited. One httpx client for each event loop: its connections belong to the loop."""

    def __init__(self, settings: Settings, given: AsyncTransport = None) -> None:
        import httpx  # noqa: F401

        self._settings, self._given = settings, given
        self._client: httpx.AsyncClient | None = None
        self._loop: Any = None

    async def send(self, request: Request, timeout: float | None = None) -> Answer:
        seconds = self._settings.timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        try:
            async with self._opened().stream(
                request.method,
                self._settings.base_url + request.path,
                content=request.body,
                headers=headers_of(self._settings, request),
                timeout=max(0.001, seconds),
                follow_redirects=False,
            ) as response:
                content = b"".join([part async for part in _within_async(response.aiter_bytes(), deadline)])
                return read_answer(response.status_code, response.headers, content)
        except errors.AgentLoopError as error:
            return failed(error)
        except Exception as error:
            return failure_of(error)

    async def call(self, request: Request, timeout: float | None = None) -> Answer:
        import asyncio

        deadline = time.monotonic() + (self._settings.timeout if timeout is None else timeout)
        for failures in range(TRIES_OF_A_CALL):
            answer = await self.send(request, deadline - time.monotonic())
            wait = pause(failures, answer.retry_after)
            if not answer.is_worth_a_retry or time.monotonic() + wait >= deadline:
                break
            if failures + 1 < TRIES_OF_A_CALL:
                await asyncio.sleep(wait)
        return answer

    def _opened(self) -> httpx.AsyncClient:
        import asyncio

        import httpx

        loop, given = asyncio.get_running_loop(), self._given
        if self._client is None or self._loop is not loop:
            self._loop = loop
            self._client = given if isinstance(given, httpx.AsyncClient) else given() if given else httpx.AsyncClient()
        return self._client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and client is not self._given:
            await client.aclose()

    def forget(self) -> None:
        self._client = None


def _within(parts: Iterator[bytes], deadline: float) -> Iterator[bytes]:
    """The parts, as long as they come in time and fit into memory: a server may drip, or never end."""
    size = 0
    for part in parts:
        size += len(part)
        _check(size, deadline)
        yield part


async def _within_async(parts: AsyncIterator[bytes], deadline: float) -> AsyncIterator[bytes]:
    size = 0
    async for part in parts:
        size += len(part)
        _check(size, deadline)
        yield part


def _check(size: int, deadline: float) -> None:
    if size > MAX_ANSWER_BYTES:
        raise errors.BadAnswer
    if time.monotonic() > deadline:
        raise errors.TimedOut
