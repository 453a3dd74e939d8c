"""What the Python client costs the agent that calls it, beside the published clients against the same server.

python -m benchmarks.client [--quick]
"""

import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import rig

WARM_UP = 100
SOURCE = str(rig.ROOT / "sdk" / "python" / "src")
sys.path.insert(0, SOURCE)
TURN = {"user_id": "u_17", "session_id": "s_3", "signals": {"confidence": 0.41}, "metadata": {"channel": "web"}}
QUESTION, ANSWER = "What is the limit for transfers at night? " * 3, "The limit is R$1,000 between 8 pm and 6 am. " * 8

# Both published clients wait for the server; so few calls tell enough. Each runs where its locked packages are.
PUBLISHED_TURNS = """
import json, sys, time
from agentloop import AgentLoop
asked = json.load(sys.stdin)
loop, times = AgentLoop(api_key=asked["key"], base_url=asked["url"]), []
for number in range(asked["calls"]):
    began = time.perf_counter()
    loop.log_turn(f"{number} {asked['question']}", asked["answer"], **asked["turn"])
    times.append(time.perf_counter() - began)
print(json.dumps(times))
"""
PUBLISHED_DECIDE = """
import json, os, sys, time
asked = json.load(sys.stdin)
from kalibr import intelligence
client, times = intelligence.KalibrIntelligence(), []
for number in range(asked["calls"]):
    began = time.perf_counter()
    client.decide(goal="bench", candidate_model_ids=[f"model-{n}" for n in range(10)])
    times.append(time.perf_counter() - began)
print(json.dumps(times))
"""


def main(quick: bool = False) -> list[str]:
    calls = 5_000 if quick else 20_000
    rows = [
        ("`import agentloop_client`", imported("agentloop_client"), "reported"),
        ("`import httpx`, which the first client object needs", imported("httpx"), ""),
    ]
    # The published clients' environments are made by the tests' settings: before the site's own are read.
    turns_python, decide_python = published("agentloop-py"), published("kalibr")
    with rig.home():
        project, key = rig.new_project("Bench")
        with rig.web(18803) as port:
            url = f"http://127.0.0.1:{port}"
            rows += logging_turns(url, key, calls)
            rows += choosing(url, key, calls)
            asked = {"key": key, "url": url, "calls": calls // 20, "question": QUESTION, "answer": ANSWER, "turn": TURN}
            seconds = run_published(turns_python, PUBLISHED_TURNS, asked)
            rows.append(("`log_turn` of the published client", shown(seconds), "waits for the server"))
            there = {"KALIBR_API_KEY": key, "KALIBR_TENANT_ID": project.tenant_id, "KALIBR_INTELLIGENCE_URL": url}
            seconds = run_published(decide_python, PUBLISHED_DECIDE, asked, there)
            rows.append(("`decide` of the published client, 10 models", shown(seconds), "waits for the server"))
    rows.append(("memory at a full buffer of 16 MB", full_buffer(), "bounded"))
    return ["| the Python client | figure | goal |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]


def imported(name: str) -> str:
    """Milliseconds in a fresh interpreter, the median of seven."""
    code = f"import time; began = time.perf_counter(); import {name}; print(time.perf_counter() - began)"
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    took = [
        float(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
        for _ in range(7)
    ]
    return f"{statistics.median(took) * 1000:.0f} ms"


def logging_turns(url: str, key: str, calls: int) -> list[tuple[str, str, str]]:
    from agentloop_client import AgentLoop

    with AgentLoop(key, url) as loop:
        logged = timed(lambda number: loop.log_turn(f"{number} {QUESTION}", ANSWER, **TURN), calls)
        assert loop.flush(60), loop.stats
        assert loop.stats.sent == len(logged) + WARM_UP, loop.stats
        passed_by = timed(lambda number: loop.log_turn_if(False, QUESTION, ANSWER, session_id="s"), calls)
    return [
        ("`log_turn`", shown(logged), "p50 20 µs, p99 100 µs"),
        ("`log_turn_if(False, …)`", shown(passed_by), "0.5 µs"),
    ]


def choosing(url: str, key: str, calls: int) -> list[tuple[str, str, str]]:
    from agentloop_client import AgentLoop, Router

    chance = Random(7)
    models = [f"model-{number}" for number in range(10)]
    with AgentLoop(key, url) as loop:
        for number in range(600):
            said = {"goal": "bench", "model_id": models[number % 10], "success": chance.random() < 0.7}
            loop.post("outcomes", {**said, "trace_id": f"t{number}", "idempotency_key": f"k{number}"})
        assert loop.flush(60), loop.stats
        router = Router("bench", models, client=loop)
        assert router.ready(), "there is a snapshot"
        router.choose()
        warm: list[float] = []
        # As agents do: some choices, then the work. Meanwhile draws are made ahead.
        while len(warm) < calls:
            time.sleep(0.05)
            warm += timed(lambda number: router.choose(), 50, warm_up=0)
        goal = router._goal
        race = goal._race
        assert race is not None
        cold = timed(lambda number: race.draw(), calls // 4)
    return [
        ("`choose`, 10 paths", shown(warm), "p50 20 µs"),
        ("a cold draw, 10 paths", shown(cold), "250 µs"),
    ]


def timed(work: Callable[[int], Any], calls: int, warm_up: int = WARM_UP) -> list[float]:
    times, clock = [], time.perf_counter
    for number in range(-warm_up, calls):
        began = clock()
        work(number)
        times.append(clock() - began)
    # What warms it up is another's turn, and is not counted.
    return times[warm_up:]


def full_buffer() -> str:
    """All that Python holds for the client when far more was logged than fits, and the server is away."""
    from agentloop_client import AgentLoop

    loop = AgentLoop("al_key", "http://127.0.0.1:9", exit_timeout=0.0)
    tracemalloc.start()
    for number in range(40_000):
        loop.log_turn(f"{number} {QUESTION}", ANSWER, **TURN)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    waiting = loop.stats.waiting
    loop.close()
    return f"{held / 2**20:.1f} MB for {waiting:,} turns"


def published(name: str) -> Path:
    """The Python of a published client's environment, as the compatibility tests make it."""
    code = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; import django; django.setup();"
        "from pathlib import Path; from tests.compat.conftest import environment_of, ROOT;"
        f"print(environment_of('{name}', ROOT / 'requirements' / 'compat-{name.removesuffix('-py')}.txt'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=rig.ROOT, capture_output=True, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


def run_published(python: Path, code: str, asked: dict[str, Any], more: dict[str, str] | None = None) -> list[float]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTLOOP_", "DJANGO_"))}
    done = subprocess.run(
        [str(python), "-I", "-c", code],
        input=json.dumps(asked),
        env={**kept, "KALIBR_AUTO_INSTRUMENT": "false", **(more or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def shown(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2] * 1e6, ordered[int(len(ordered) * 0.99)] * 1e6
    return f"p50 {p50:,.0f} µs, p99 {p99:,.0f} µs" if p50 >= 1 else f"p50 {p50:.2f} µs, p99 {p99:.2f} µs"


if __name__ == "__main__":
    print("\n".join(main(quick="--quick" in sys.argv)))
