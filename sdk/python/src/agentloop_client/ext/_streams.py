"""A stream, passed on piece by piece as it comes, and told of when it ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Watched:
    """Looks and closes as the library's own stream does."""

    def __init__(self, stream: Any, take: Callable[[Any], None], end: Callable[[Any], None]) -> None:
        self._stream, self._take, self._end = stream, take, end
        self._has_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _seen(self, piece: Any) -> Any:
        # What can't be read is passed on all the same.
        with suppress(Exception):
            self._take(piece)
        return piece

    def _ended(self, error: BaseException | None = None) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._end(error)

    def __del__(self) -> None:
        # Whoever left the loop early is done with it all the same.
        with suppress(Exception):
            self._ended()


class WatchedStream(Watched):
    def __iter__(self) -> WatchedStream:
        return self

    def __next__(self) -> Any:
        try:
            return self._seen(next(self._stream))
        except StopIteration:
            self._ended()
            raise
        except BaseException as error:
            self._ended(error)
            raise

    def __enter__(self) -> WatchedStream:
        self._stream.__enter__()
        return self

    def __exit__(self, *details: Any) -> Any:
        self._ended(details[1])
        return self._stream.__exit__(*details)

    def close(self) -> None:
        self._ended()
        self._stream.close()


class WatchedAsyncStream(Watched):
    def __aiter__(self) -> WatchedAsyncStream:
        return self

    async def __anext__(self) -> Any:
        try:
            return self._seen(await self._stream.__anext__())
        except StopAsyncIteration:
            self._ended()
            raise
        except BaseException as error:
            self._ended(error)
            raise

    async def __aenter__(self) -> WatchedAsyncStream:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> Any:
        self._ended(details[1])
        return await self._stream.__aexit__(*details)

    async def close(self) -> None:
        self._ended()
        await self._stream.close()


def wrapped(call: Callable[..., Any], begin: Callable[..., Any], take: Any, read: Any, end: Any) -> Callable[..., Any]:
    """The method, watched: `begin` makes a call of its arguments, `take` reads a piece, `read` an answer."""

    def streamed(state: Any, stream: Any) -> Any:
        kind = WatchedAsyncStream if hasattr(stream, "__anext__") else WatchedStream
        return kind(stream, lambda piece: take(state, piece), lambda error: end(state, error))

    def done(state: Any, answer: Any, is_stream: bool) -> Any:
        if is_stream:
            return streamed(state, answer)
        with suppress(Exception):
            read(state, answer)
        end(state, None)
        return answer

    async def awaited(state: Any, coming: Any, is_stream: bool) -> Any:
        try:
            answer = await coming
        except BaseException as error:
            end(state, error)
            raise
        return done(state, answer, is_stream)

    def method(*args: Any, **kwargs: Any) -> Any:
        state = begin(kwargs)
        is_stream = kwargs.get("stream") is True
        try:
            answer = call(*args, **kwargs)
        except BaseException as error:
            end(state, error)
            raise
        return awaited(state, answer, is_stream) if hasattr(answer, "__await__") else done(state, answer, is_stream)

    return method
