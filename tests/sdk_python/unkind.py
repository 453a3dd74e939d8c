"""A server that answers as AgentLoop does, and between that does whatever a test asks of it."""

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Trick = Callable[[socket.socket, Seen, "Unkind"], None]


@dataclass
class Unkind:
    """Does the tricks one after another, a trick a request, and is kind when there are none left."""

    tricks: list[Trick] = field(default_factory=list)
    always: Trick | None = None
    seen: list[Seen] = field(default_factory=list)
    stored: Counter[str] = field(default_factory=Counter)
    """How often each turn was stored, by its question; a known idempotency key stores nothing again."""
    keys: set[str] = field(default_factory=set)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            while (seen := _read(connection)) is not None:
                with self.lock:
                    self.seen.append(seen)
                    trick = self.tricks.pop(0) if self.tricks else self.always or kind
                trick(connection, seen, self)
                if trick is not kind and getattr(trick, "ends", True):
                    return

    def store(self, turn: dict[str, Any]) -> None:
        key = turn.get("idempotency_key", "")
        with self.lock:
            if key not in self.keys:
                self.keys.add(key)
                self.stored[turn["question"]] += 1


def _read(connection: socket.socket) -> Seen | None:
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            if not (part := connection.recv(65536)):
                return None
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
    except OSError:
        return None
    method, path, _ = first.split(" ")
    return Seen(method, path, headers, body)


def send(connection: socket.socket, status: int, content: bytes, *more: str, length: int | None = None) -> None:
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(content) if length is None else length}", *more]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)


def kind(connection: socket.socket, seen: Seen, server: Unkind) -> None:
    send(connection, 200, json.dumps(answer_of(seen, server)).encode(), "Content-Type: application/json")


def answer_of(seen: Seen, server: Unkind) -> dict[str, Any]:
    body = json.loads(seen.body) if seen.body else {}
    for turn in body.get("turns", [body] if seen.path == "/v1/turns" else []):
        server.store(turn)
    for name in ("turns", "outcomes", "decisions", "signals"):
        if name in body:
            results = [{"turn_id": "turn_1", "status": "pending"} for _ in body[name]]
            return {"accepted": len(results), "results": results}
    if "events" in body:
        return {"accepted": len(body["events"]), "rejected": 0}
    return {"turn_id": "turn_1", "status": "pending", "path_id": "path_1", "memories": [], "annotation_id": "ann_1"}


def status(number: int, *headers: str, body: bytes = b'{"error": "No.", "code": "no"}') -> Trick:
    return lambda connection, seen, server: send(connection, number, body, "Connection: close", *headers)


def reset(connection: socket.socket, seen: Seen, server: Unkind) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stored_then_reset(connection: socket.socket, seen: Seen, server: Unkind) -> None:
    """The worst of all: it has everything, and the client can't know."""
    answer_of(seen, server)
    reset(connection, seen, server)


def half(connection: socket.socket, seen: Seen, server: Unkind) -> None:
    content = json.dumps(answer_of(seen, server)).encode()
    send(connection, 200, content[: len(content) // 2], length=len(content))


def stall(connection: socket.socket, seen: Seen, server: Unkind) -> None:
    server.released.wait(20)


def drip(connection: socket.socket, seen: Seen, server: Unkind) -> None:
    send(connection, 200, b"{", length=10_000)
    while not server.released.wait(0.05):
        try:
            connection.sendall(b" ")
        except OSError:
            return


def endless(connection: socket.socket, seen: Seen, server: Unkind) -> None:
    send(connection, 200, b"{", length=10**12)
    try:
        while not server.released.is_set():
            connection.sendall(b" " * 1_000_000)
    except OSError:
        return


def no_json(content: bytes) -> Trick:
    return lambda connection, seen, server: send(connection, 200, content, "Connection: close")


def later(seconds: float, trick: Trick) -> Trick:
    def wait(connection: socket.socket, seen: Seen, server: Unkind) -> None:
        time.sleep(seconds)
        trick(connection, seen, server)

    return wait


@contextmanager
def unkind(*tricks: Trick, always: Trick | None = None, wrap: Any = None, port: int = 0) -> Iterator[Unkind]:
    """A server on a port of its own; `wrap` may put TLS around each connection."""
    server = Unkind(list(tricks), always)
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(0.05)
    port = listener.getsockname()[1]
    server.url = f"{'https' if wrap else 'http'}://127.0.0.1:{port}"
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        try:
            server.serve(wrap(connection) if wrap else connection)
        except OSError:
            connection.close()

    def accept() -> None:
        while not server.released.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        server.released.set()
        accepting.join(5)
        listener.close()
