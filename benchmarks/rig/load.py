"""A closed-loop HTTP client for measuring: a fixed number of connections, each with one request under way.

Runs in a process of its own: `python -m benchmarks.rig.load` reads a job as JSON on standard input and prints the
figures. Written on raw sockets, because a client that costs as much as the server would measure itself.
"""

import asyncio
import json
import sys
import time
from typing import Any


async def _connection(
    job: dict[str, Any], requests: list[bytes], next_one: list[int], end: float, out: dict[str, Any]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", job["port"], limit=2**22)
    try:
        while time.perf_counter() < end:
            at = next_one[0]
            next_one[0] += 1
            if at >= len(requests):
                break
            begun = time.perf_counter()
            writer.write(requests[at])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if length:
                await reader.readexactly(length)
            status = head[9:12].decode()
            out["statuses"][status] = out["statuses"].get(status, 0) + 1
            out["times"].append(time.perf_counter() - begun)
    finally:
        writer.close()


async def _run(job: dict[str, Any]) -> dict[str, Any]:
    requests = [
        request_bytes(job["method"], path, job["headers"] | _from(number if job["from_afar"] else None), body)
        for number, (path, body) in enumerate(job["requests"])
    ]
    out: dict[str, Any] = {"statuses": {}, "times": []}
    begun = time.perf_counter()
    end, next_one = begun + job["seconds"], [0]
    await asyncio.gather(*(_connection(job, requests, next_one, end, out) for _ in range(job["connections"])))
    return {"elapsed": time.perf_counter() - begun, **out}


def _from(number: int | None) -> dict[str, str]:
    return {} if number is None else {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}


def request_bytes(method: str, path: str, headers: dict[str, str], body: str) -> bytes:
    content = body.encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(json.load(sys.stdin)))))
