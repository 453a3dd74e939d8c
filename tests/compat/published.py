"""Runs in an environment that has the published client and nothing of ours: reads calls, prints what came of them.

A call is a JSON line `{"client": {...}, "kind": "sync" | "async" | "escaped", "call": name, "with": {...}}`.
`escaped` hands the client an HTTP stack that writes JSON as older ones do: escaped, with NaN and lone surrogates.
"""

import asyncio
import dataclasses
import json
import sys

import httpx
from agentloop.aio import AsyncAgentLoop

from agentloop import AgentLoop, AgentLoopError


class OlderHttp(httpx.Client):
    def request(self, method, url, *, json, **more):
        return super().request(method, url, content=_dumps(json), **more)


_dumps = json.dumps


def came_of_it(value):
    if isinstance(value, list):
        return [came_of_it(part) for part in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value


def run(given):
    named = given["client"]
    if given["kind"] == "async":
        return asyncio.run(run_async(given))
    extra = {"http_client": OlderHttp()} if given["kind"] == "escaped" else {}
    with AgentLoop(**named, **extra) as client:
        return getattr(client, given["call"])(**given["with"])


async def run_async(given):
    async with AsyncAgentLoop(**given["client"]) as client:
        return await getattr(client, given["call"])(**given["with"])


for line in sys.stdin:
    try:
        answer = {"answer": came_of_it(run(json.loads(line)))}
    except AgentLoopError as error:
        answer = {"error": str(error), "status": error.status, "body": error.body}
    except Exception as error:
        answer = {"crash": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
