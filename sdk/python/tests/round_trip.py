"""All of the client against a running server, on whatever Python runs this: from 3.9 on, with httpx alone.

Prints what the signals' heuristic makes of the labelled messages, to be the same everywhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import uuid

import httpx

from agentloop_client import (
    AgentLoop,
    AsyncAgentLoop,
    Router,
    decide,
    get_insights,
    get_policy,
    register_path,
    report_outcome,
    set_default_client,
    update_outcome,
)
from agentloop_client.errors import BadArgument, Refused
from agentloop_client.ext import _streams, anthropic, openai  # noqa: F401 - they load without their libraries
from agentloop_client.patterns import agent_punted, is_rephrase, makes_factual_claim, recurrence, reverted_quickly
from agentloop_client.signals import Signals, classify

URL, KEY, SECRET, DATA, MESSAGES = (os.environ[name] for name in ("URL", "KEY", "SECRET", "DATA", "MESSAGES"))
SESSION = uuid.uuid4().hex


def arrived(session: str) -> list[str]:
    """The questions of a session, whose answers name it: the same answer elsewhere would be the same turn."""
    query = {"session_id": session, "limit": 200}
    answer = httpx.get(f"{URL}/v1/turns", params=query, headers={"Authorization": f"Bearer {KEY}"})
    return sorted(turn["question"] for turn in answer.json()["turns"])


def review(loop: AgentLoop) -> None:
    for number in range(20):
        loop.log_turn(f"question {number:02}", SESSION, session_id=SESSION, metadata={"odd": {1, 2}, "lone": "\ud83c"})
    loop.log_turn_if(lambda: True, lambda: "question if", SESSION, session_id=SESSION)
    loop.log_turn_if(lambda: [][0], "never", SESSION, session_id=SESSION)
    receipt = loop.log_turn("question waited", SESSION, session_id=SESSION, wait=True)
    assert receipt is not None
    for link in (
        loop.feedback_url(turn_id=receipt.turn_id),
        loop.feedback_url("Why?", "Because.", user_id="u"),
        loop.feedback_url("Why?", "Because.", published=True),
    ):
        assert httpx.get(link).status_code == 200
    assert loop.annotate(SESSION, "a", "It is blue.", tags=[SESSION]) is not None
    assert [memory.fact for memory in loop.search(SESSION, tags=[SESSION])] == ["It is blue."]
    assert loop.flush(20)
    assert len(arrived(SESSION)) == 22


async def review_async() -> None:
    session = uuid.uuid4().hex
    async with AsyncAgentLoop(KEY, URL) as loop:
        await asyncio.gather(*(loop.log_turn(f"{number}", session, session_id=session) for number in range(50)))
        await loop.sample(1.0, "sampled", session, session_id=session)
        assert await loop.flush()
    assert len(arrived(session)) == 51


def routing(loop: AgentLoop) -> None:
    router = Router(SESSION, ["one", {"model": "two", "params": {"temperature": 0.5}}], client=loop)
    assert router.ready(20)
    assert router.choose().model in ("one", "two")
    router.report(True, 0.9)
    assert router.execute(lambda path, text: path.model + text, "!").endswith("!")
    try:
        with router.trace():
            raise TimeoutError
    except TimeoutError:
        pass

    @router.routed
    async def work(path, text):
        await asyncio.sleep(0)
        return text

    assert asyncio.run(work("said")) == "said"
    remote = Router(SESSION, ["one"], client=loop, mode="remote", complete=lambda model, messages: model)
    assert remote.completion([]) == "one"
    set_default_client(loop)
    path = register_path(SESSION, "three")
    decided = decide(SESSION)
    assert path is not None
    assert decided is not None
    assert report_outcome(decided["trace_id"], SESSION, True) is not None
    assert update_outcome(decided["trace_id"], SESSION, success=False) is not None
    assert get_policy(SESSION) is not None
    assert get_insights(SESSION) is not None


def patterns() -> None:
    with open(DATA, encoding="utf-8") as file:
        tables = json.load(file)
    for case in tables["is_rephrase"]:
        assert is_rephrase(case["question"], case["history"]) is case["right"], case
    for case in tables["agent_punted"]:
        assert agent_punted(case["response"]) is case["right"], case
    for case in tables["makes_factual_claim"]:
        assert makes_factual_claim(case["response"]) is case["right"], case
    assert recurrence(7200, earlier=[0])["gap_hours"] == 2
    assert reverted_quickly(0, 60)


def signals(loop: AgentLoop) -> None:
    told = Signals(loop, model=lambda prompt: "continue")
    told.report_pipeline("s", goal=SESSION, prompt="p", output="o", model="one")
    assert told.report_user_turn("s", "No, that's wrong.").kind == "reject"
    told.report_action("s", "output_copied")
    told.report_session_end("s")


def forked(loop: AgentLoop) -> None:
    session = uuid.uuid4().hex
    pid = os.fork()
    if pid == 0:
        loop.log_turn("child", session, session_id=session)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert arrived(session) == ["child"]


def spooled() -> None:
    session = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        pid = os.fork()
        if pid == 0:
            killed = AgentLoop(KEY, "http://127.0.0.1:1", spool_dir=folder)
            killed.log_turn("survived", session, session_id=session)
            os.kill(os.getpid(), 9)
        assert os.waitpid(pid, 0)[1] == 9
        with AgentLoop(KEY, URL, spool_dir=folder) as loop:
            assert loop.flush(20)
    assert arrived(session) == ["survived"]


def unkind() -> None:
    with AgentLoop(KEY, "http://127.0.0.1:1", exit_timeout=0.1, timeout=0.2) as away:
        away.log_turn("q", "a")
        assert away.search("q") == []
        assert Router("g", ["first", "second"], client=away).choose().model == "first"
    with AgentLoop(KEY, URL, strict=True) as strict:
        for wrong in (lambda: strict.annotate("q", "a", "c", rating="awful"), lambda: Router("", [], client=strict)):
            try:
                wrong()
            except (Refused, BadArgument):
                continue
            raise AssertionError("a strict client raises")


def main() -> None:
    loop = AgentLoop(KEY, URL, SECRET)
    review(loop)
    asyncio.run(review_async())
    routing(loop)
    patterns()
    signals(loop)
    forked(loop)
    spooled()
    unkind()
    assert loop.close()
    assert (loop.stats.refused, loop.stats.dropped) == (0, 0), loop.stats
    with open(MESSAGES, encoding="utf-8") as file:
        readings = [classify(json.loads(line)["text"]) for line in file]
    print(json.dumps([[one.kind, one.is_correction, round(one.confidence, 9)] for one in readings]))


main()
