"""Choosing and telling, against a running server; and the law, which is the server's own."""

import asyncio
import json
import math
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from agentloop_client import (
    AgentLoop,
    Path,
    Router,
    decide,
    get_insights,
    get_policy,
    register_path,
    report_outcome,
    set_default_client,
    update_outcome,
    usage,
)
from agentloop_client import _choice as local
from agentloop_client.errors import BadArgument, Refused
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.engine import beta, choice
from routing.engine.histogram import Histogram
from routing.engine.posterior import Posterior, believe
from tests.house.running import free_port, until
from tests.sdk_python import unkind as u
from tests.sdk_python.conftest import Home

NOW = 1_800_000_000.0


@pytest.fixture
def goal() -> str:
    return f"goal_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def known(loop: AgentLoop, goal: str) -> Callable[..., None]:
    """Tells the server how often each model served."""

    def tell(**shares: tuple[int, int]) -> None:
        for model, (good, bad) in shares.items():
            for success in [True] * good + [False] * bad:
                said = {"goal": goal, "model_id": model, "success": success, "trace_id": uuid.uuid4().hex}
                loop.post("outcomes", {**said, "idempotency_key": uuid.uuid4().hex})
        assert loop.flush()

    return tell


@pytest.fixture
def as_default(loop: AgentLoop) -> Iterator[None]:
    set_default_client(loop)
    yield
    set_default_client(None)


# --- the law --------------------------------------------------------------------------------------------------


def posterior(a: float, b: float) -> Posterior:
    mean = a / (a + b)
    return Posterior(mean, math.sqrt(mean * (1 - mean) / (a + b + 1)), a, b)


def both(one: choice.Contender) -> local.Contender:
    """The engine's contender as a snapshot would show it."""
    p, seen = one.posterior, one.figures
    names = (
        "samples",
        "mean_value",
        "mean_cost_usd",
        "cost_samples",
        "p95_latency_ms",
        "latency_samples",
        "risk_score",
    )
    return local.Contender(
        local.Path(one.model_id, path_id=one.path_id), p.a, p.b, p.mean, p.deviation, one.standing.value, seen.samples,
        one.tried_at, one.probe_at, {name: getattr(seen, name) for name in names},
    )  # fmt: skip


def shares_of(draw: Callable[[], str | None], draws: int) -> Counter[str | None]:
    return Counter(draw() for _ in range(draws))


def race_of(contenders: list[choice.Contender], terms: choice.Terms, **more: Any) -> local.Race:
    constraints = {name: getattr(terms.constraints, name) for name in local.CONSTRAINTS}
    snapshot = local.Snapshot(
        tuple(map(both, contenders)),
        exploration_rate=terms.exploration_rate,
        exploration_on_high_risk=terms.exploration_on_high_risk,
        min_samples_before_exploit=terms.min_samples_before_exploit,
        staleness_seconds=terms.staleness_s,
        **more,
    )
    models = terms.models or frozenset(one.model_id for one in contenders)
    asked = {name: bound for name, bound in constraints.items() if bound is not None}
    return local.Race(snapshot, local.Terms(models, asked, terms.risk.value), NOW, Random(7))


SCENES: dict[str, tuple[list[choice.Contender], choice.Terms]] = {
    "two close ones": (
        [choice.Contender("p0", "m0", posterior(30, 20)), choice.Contender("p1", "m1", posterior(28, 22))],
        choice.Terms(),
    ),
    "much evidence": (
        [choice.Contender(f"p{n}", f"m{n}", posterior(1000 + 30 * n, 500)) for n in range(3)],
        choice.Terms(),
    ),
    "a floor": (
        [choice.Contender("p0", "m0", posterior(300, 20)), choice.Contender("p1", "m1", posterior(20, 300))],
        choice.Terms(exploration_rate=0.2),
    ),
    "stale, rolled back, disabled": (
        [
            choice.Contender("p0", "m0", posterior(30, 20), tried_at=NOW - 60),
            choice.Contender("p1", "m1", posterior(10, 40), tried_at=NOW - 30 * 86400),
            choice.Contender("p2", "m2", posterior(9, 9), standing=choice.Standing.ROLLED_BACK, probe_at=NOW - 1),
            choice.Contender("p3", "m3", posterior(9, 1), standing=choice.Standing.ROLLED_BACK, probe_at=NOW + 9),
            choice.Contender("p4", "m4", posterior(99, 1), standing=choice.Standing.DISABLED),
        ],
        choice.Terms(),
    ),
    "a constraint": (
        [
            choice.Contender("p0", "m0", posterior(90, 9), choice.Figures(99, 0.9, 0.5, 50)),
            choice.Contender("p1", "m1", posterior(8, 9), choice.Figures(17, 0.5, 0.01, 17)),
            choice.Contender("p2", "m2", posterior(7, 9), choice.Figures(2, 0.5, 9.0, 2)),
        ],
        choice.Terms(constraints=choice.Constraints(max_cost_usd=0.1)),
    ),
    "candidates": (
        [choice.Contender(f"p{n}", f"m{n}", posterior(10 + n, 10)) for n in range(4)],
        choice.Terms(models=frozenset({"m0", "m1"})),
    ),
    "high risk": (
        [choice.Contender(f"p{n}", f"m{n}", posterior(10 + n, 10), choice.Figures(3 * n)) for n in range(4)],
        choice.Terms(risk=choice.Risk.HIGH),
    ),
    "all too dear": (
        [choice.Contender("p0", "m0", posterior(9, 9), choice.Figures(99, 0.9, 0.5, 50))],
        choice.Terms(constraints=choice.Constraints(max_cost_usd=0.1)),
    ),
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_local_draws_follow_the_servers_law(scene: tuple[list[choice.Contender], choice.Terms]) -> None:
    contenders, terms = scene
    race, rng = race_of(contenders, terms), Random(11)
    draws = 6000
    ours = shares_of(lambda: (path := race.draw().path) and path.path_id, draws)
    theirs = shares_of(lambda: choice.choose(contenders, terms, rng, NOW).path_id, draws)
    for path in ours.keys() | theirs.keys():
        share = (ours[path] + theirs[path]) / (2 * draws)
        # Five standard deviations of the difference of two shares.
        assert abs(ours[path] - theirs[path]) / draws <= 5 * math.sqrt(2 * share * (1 - share) / draws) + 1e-9, path


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_chances_are_the_servers(scene: tuple[list[choice.Contender], choice.Terms]) -> None:
    contenders, terms = scene
    race = race_of(contenders, terms)
    theirs = {path: (one.best, one.chosen) for path, one in choice.chances(contenders, terms, NOW).items()}
    by_path = {id(one.path): one.path.path_id for one in race.snapshot.contenders}
    ours = {by_path[key]: chances for key, chances in race.chances().items()}
    if terms.risk is choice.Risk.HIGH:
        [(path, chances)] = ours.items()
        assert chances[1] == theirs[path][1] == 1.0
        return
    assert ours.keys() == theirs.keys()
    for path, chances in ours.items():
        assert chances == pytest.approx(theirs[path], abs=0.005)


@given(
    st.lists(
        st.tuples(st.floats(0.5, 400), st.floats(0.5, 400), st.sampled_from(list(choice.Standing)), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(list(choice.Risk)),
)
@settings(max_examples=60)
def test_the_same_are_eligible(drawn: list[Any], risk: choice.Risk) -> None:
    contenders = [
        choice.Contender(
            f"p{n}", f"m{n}", posterior(a, b), choice.Figures(n), standing, NOW - 1e7 * old, NOW - 1 + 2 * old
        )
        for n, (a, b, standing, old) in enumerate(drawn)
    ]
    terms = choice.Terms(risk=risk)
    field, race = choice.field_of(contenders, terms, NOW), race_of(contenders, terms)
    assert [one.path.path_id for one in race.racing] == [one.path_id for one in field.racing]
    assert [one.path.path_id for one in race.idle] == [one.path_id for one in field.idle]


def test_the_prior_is_the_servers() -> None:
    believed = believe(Histogram((0.0,) * 11))
    assert beta.fit(believed.mean, believed.deviation**2) == pytest.approx((local.PRIOR_A, local.PRIOR_B))
    unknown = local.Contender(Path("new"))
    assert (unknown.mean, unknown.deviation) == pytest.approx((believed.mean, believed.deviation), abs=1e-4)


def test_local_and_remote_shares_agree(loop: AgentLoop, goal: str, known: Callable[..., None]) -> None:
    """Over the wire, both ways, on the same evidence."""
    known(a=(30, 12), b=(28, 15), c=(6, 30))
    router = Router(goal, ["a", "b", "c"], client=loop)
    assert router.ready()
    draws = 400
    mine = Counter(router.choose().model for _ in range(draws))
    theirs = Counter(
        loop.ask(_dry(goal), "model_id")["model_id"] for _ in range(draws)
    )  # a dry run chooses and records nothing
    for model in "abc":
        share = (mine[model] + theirs[model]) / (2 * draws)
        assert abs(mine[model] - theirs[model]) / draws <= 4.5 * math.sqrt(2 * share * (1 - share) / draws) + 0.01


def _dry(goal: str) -> Any:
    from agentloop_client._http import Request

    body = {"goal": goal, "candidate_model_ids": ["a", "b", "c"], "dry_run": True}
    return Request("POST", "/api/v1/routing/decide", json.dumps(body).encode())


# --- the router -----------------------------------------------------------------------------------------------


def outcome_of(home: Home, trace_id: str) -> dict[str, Any]:
    found: list[Any] = []

    def there() -> bool:
        import httpx

        answer = httpx.get(
            f"{home.url}/api/v1/routing/traces/{trace_id}", headers={"Authorization": f"Bearer {home.api_key}"}
        )
        found[:] = [answer.json()] if answer.status_code == 200 else []
        return bool(found and found[0]["outcomes"])

    until(there, "the outcome is there")
    return found[0]


def test_choices_and_outcomes_reach_the_server(loop: AgentLoop, home: Home, goal: str) -> None:
    router = Router(goal, ["fast", {"model": "good", "tools": ["search"], "params": {"temperature": 0.2}}], client=loop)
    assert router.ready()
    made = [router.choose() for _ in range(30)]
    assert {one.model for one in made} == {"fast", "good"}
    good = next(one for one in made if one.model == "good")
    assert (good.path.tools, good.path.params) == (("search",), {"temperature": 0.2})
    assert good.path.path_id.startswith("path_")
    assert len({one.trace_id for one in made}) == 30
    router.report(True, score=0.9, metadata={"channel": "web"})
    assert loop.flush()
    last = made[-1]
    told = outcome_of(home, last.trace_id)
    [outcome], [decision] = told["outcomes"], told["decisions"]
    assert (outcome["success"], outcome["score"], outcome["path_id"]) == (True, 0.9, last.path.path_id)
    assert decision["path_id"] == last.path.path_id
    router.update_outcome(False, failure_category="user_unsatisfied")
    assert loop.flush()
    until(lambda: outcome_of(home, last.trace_id)["outcomes"][0]["success"] is False, "the correction is there")


def test_draws_are_made_ahead_each_used_once_and_dropped_with_their_snapshot(
    loop: AgentLoop, goal: str, known: Callable[..., None]
) -> None:
    known(a=(3, 3), b=(3, 3))
    router = Router(goal, ["a", "b"], client=loop, refresh_seconds=3600)
    assert router.ready()
    router.choose()
    until(lambda: len(router._goal._ahead) >= 512, "draws are made ahead")
    ahead = list(router._goal._ahead)
    taken = [router.choose() for _ in range(100)]
    assert [one.reason for one in taken] == [one.reason for one in ahead[:100]]
    assert all(one.probability is not None and one.confidence is not None for one in taken)
    before = router._goal.snapshot
    known(a=(200, 0), b=(0, 200))
    router._goal.look_again()
    router.choose()
    until(lambda: router._goal.snapshot is not before, "the snapshot is a new one")
    assert {router.choose().model for _ in range(100)} == {"a"}


def test_an_unchanged_goal_costs_a_304(loop: AgentLoop, goal: str) -> None:
    router = Router(goal, ["a"], client=loop, refresh_seconds=0.01)
    assert router.ready()
    before = router._goal.snapshot
    looked = router._goal._looked_at
    until(lambda: bool(router.choose()) and router._goal._looked_at > looked, "it looked again")
    assert router._goal.snapshot is before


def test_without_a_server_the_first_path_is_taken() -> None:
    loop = AgentLoop("al_key", f"http://127.0.0.1:{free_port()}", exit_timeout=0.1)
    router = Router("goal", ["first", "second"], client=loop)
    began = time.perf_counter()
    made = [router.choose() for _ in range(50)]
    assert time.perf_counter() - began < 1
    assert {one.model for one in made} == {"first"}
    assert "nothing is known" in made[0].reason
    router.report(True)
    loop.close()


def test_a_server_that_goes_away_is_not_missed() -> None:
    """Stale while revalidating: what was known goes on being used."""
    body = {
        "config": {}, "mode": "apply", "version": "1",
        "paths": [{
            "path_id": f"path_{model}", "model_id": model, "status": "active", "sample_count": 90,
            "posterior": {"a": a, "b": b, "mean": a / (a + b), "deviation": 0.05},
        } for model, a, b in (("a", 2.0, 90.0), ("b", 90.0, 2.0))],
    }  # fmt: skip

    def state(connection: Any, seen: u.Seen, server: u.Unkind) -> None:
        if seen.path.startswith("/api/v1/routing/state"):
            u.send(connection, 200, json.dumps(body).encode(), 'ETag: "1"')
        else:
            u.kind(connection, seen, server)

    state.ends = False  # type: ignore[attr-defined]
    with u.unkind(always=state) as server:
        loop = AgentLoop("al_key", server.url, timeout=0.3, exit_timeout=0.1)
        router = Router("goal", ["a", "b"], client=loop, refresh_seconds=0.02)
        assert router.ready()
        for trick in (u.reset, u.status(500), u.no_json(b'{"paths": 7}'), u.no_json(b"x"), u.half, u.stall):
            server.always = trick
            for _ in range(20):
                assert router.choose().model == "b"
                time.sleep(0.003)
        loop.close()


def test_a_client_closed_while_its_router_looks_raises_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    closed = threading.Event()

    def held(connection: Any, seen: u.Seen, server: u.Unkind) -> None:
        closed.wait(20)
        u.kind(connection, seen, server)

    with u.unkind(held) as server:
        client = AgentLoop("al_key", server.url)
        router = Router("any", ["one", "two"], client=client)
        router.choose()
        until(lambda: server.seen, "the first path is being registered")
        client.close()
        closed.set()
        until(lambda: not router._goal._is_looking, "the router has given up")
        assert len(server.seen) == 1
    assert [record.message for record in caplog.records if record.name == "agentloop"] == []


def test_remote_mode_asks_each_time(loop: AgentLoop, home: Home, goal: str) -> None:
    router = Router(goal, ["a", "b"], client=loop, mode="remote", pipeline_id="web")
    chosen = router.choose()
    assert chosen.model in "ab"
    router.report(True)
    assert loop.flush()
    told = outcome_of(home, chosen.trace_id)
    assert told["decisions"][0]["path_id"] == chosen.path.path_id
    assert told["outcomes"][0]["pipeline_id"] == "web"


def test_pipelines_learn_apart(loop: AgentLoop, goal: str) -> None:
    for pipeline, good in (("one", "a"), ("two", "b")):
        router = Router(goal, ["a", "b"], client=loop, pipeline_id=pipeline)
        for model in "ab":
            for _ in range(60):
                said = {"goal": goal, "model_id": model, "success": model == good, "pipeline_id": pipeline}
                router.post("outcomes", {**said, "trace_id": uuid.uuid4().hex, "idempotency_key": uuid.uuid4().hex})
    assert loop.flush()
    for pipeline, good in (("one", "a"), ("two", "b")):
        router = Router(goal, ["a", "b"], client=loop, pipeline_id=pipeline)
        assert router.ready()
        assert Counter(router.choose().model for _ in range(50))[good] > 40


# --- doing the work -------------------------------------------------------------------------------------------


class RateLimitError(Exception):
    status_code = 429


def answer(text: str) -> Any:
    message = SimpleNamespace(content=text)
    usage = SimpleNamespace(prompt_tokens=1000, completion_tokens=100)
    return SimpleNamespace(choices=[SimpleNamespace(message=message)], usage=usage)


def test_a_completion_is_judged_and_measured(loop: AgentLoop, home: Home, goal: str) -> None:
    calls: list[dict[str, Any]] = []

    def complete(**given: Any) -> Any:
        calls.append(given)
        return answer("An answer about refunds.")

    path = {"model": "gpt-4o", "params": {"temperature": 0.2, "top_p": 1}}
    router = Router(goal, [path], client=loop, complete=complete, success_when=lambda text: "refunds" in text)
    response = router.completion([{"role": "user", "content": "SECRET"}], top_p=0.5)
    assert response.choices[0].message.content == "An answer about refunds."
    assert [{**call, "messages": None} for call in calls] == [
        {"model": "gpt-4o", "messages": None, "temperature": 0.2, "top_p": 0.5}
    ]
    assert loop.flush()
    assert router.current is not None
    [outcome] = outcome_of(home, router.current.trace_id)["outcomes"]
    assert (outcome["success"], outcome["model_id"]) == (True, "gpt-4o")
    assert outcome["cost_usd"] == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)
    assert outcome["latency_ms"] > 0


def test_a_completion_may_be_awaited(loop: AgentLoop, home: Home, goal: str) -> None:
    async def complete(model: str, messages: Any) -> Any:
        await asyncio.sleep(0.02)
        if messages == "fail":
            raise RateLimitError
        return answer("fine")

    async def main() -> tuple[str, str]:
        router = Router(goal, ["m"], client=loop, complete=complete, success_when=lambda text: text == "fine")
        assert usage.text_of_answer(await router.completion("ok")) == "fine"
        assert router.current is not None
        first = router.current.trace_id
        with pytest.raises(RateLimitError):
            await router.completion("fail")
        return first, router.current.trace_id

    good, bad = asyncio.run(main())
    assert loop.flush()
    [outcome] = outcome_of(home, good)["outcomes"]
    assert outcome["success"] is True
    assert outcome["latency_ms"] >= 20
    [outcome] = outcome_of(home, bad)["outcomes"]
    assert (outcome["success"], outcome["failure_category"]) == (False, "rate_limited")


def test_a_providers_failure_is_reported_and_comes_through(loop: AgentLoop, home: Home, goal: str) -> None:
    calls = []

    def complete(**given: Any) -> Any:
        calls.append(given)
        raise RateLimitError("SECRET prompt was too much")

    router = Router(goal, ["m"], client=loop, complete=complete)
    with pytest.raises(RateLimitError):
        router.completion([{"role": "user", "content": "SECRET"}])
    assert len(calls) == 1
    assert loop.flush()
    assert router.current is not None
    told = outcome_of(home, router.current.trace_id)
    [outcome] = told["outcomes"]
    assert (outcome["success"], outcome["failure_category"]) == (False, "rate_limited")
    assert "SECRET" not in json.dumps(told)
    assert told["evidence"][0]["reason"] == "rate_limited: RateLimitError (429)"


def test_a_trace_reports_what_leaves_it(loop: AgentLoop, home: Home, goal: str) -> None:
    router = Router(goal, ["m"], client=loop)
    with pytest.raises(TimeoutError), router.trace() as trace:
        raise TimeoutError("too slow")
    assert loop.flush()
    [outcome] = outcome_of(home, trace.trace_id)["outcomes"]
    assert (outcome["success"], outcome["failure_category"]) == (False, "timeout")
    with router.trace() as other:
        other.report(True, 0.8)
    assert router.current is other
    assert loop.flush()
    [outcome] = outcome_of(home, other.trace_id)["outcomes"]
    assert (outcome["success"], outcome["score"]) == (True, 0.8)


def test_execute_and_its_decorator(loop: AgentLoop, home: Home, goal: str) -> None:
    router = Router(goal, ["m"], client=loop, score_when=lambda result: result["quality"])

    @router.routed
    def work(path: Path, number: int) -> dict[str, Any]:
        """Does it."""
        return {"quality": number / 10, "model": path.model}

    @router.routed
    async def work_async(path: Path, number: int) -> dict[str, Any]:
        return {"quality": number / 10, "model": path.model}

    assert work.__doc__ == "Does it."
    assert work(7) == {"quality": 0.7, "model": "m"}
    assert router.current is not None
    first = router.current.trace_id
    assert asyncio.run(work_async(2)) == {"quality": 0.2, "model": "m"}  # type: ignore[arg-type]
    assert router.execute(lambda path: {"quality": 2.0}) == {"quality": 2.0}
    third = router.current.trace_id
    assert loop.flush()
    [outcome] = outcome_of(home, first)["outcomes"]
    assert (outcome["success"], outcome["score"]) == (True, 0.7)
    [outcome] = outcome_of(home, third)["outcomes"]
    assert outcome["score"] == 1.0


def test_a_broken_judge_harms_nobody(loop: AgentLoop, goal: str, caplog: pytest.LogCaptureFixture) -> None:
    router = Router(goal, ["m"], client=loop, success_when=lambda text: text.no_such_thing)
    assert router.execute(lambda path: "fine") == "fine"
    router.report(True, failure_category="no such category")
    assert "bad_argument" in caplog.text


def test_traces_of_threads_are_their_own(loop: AgentLoop, goal: str) -> None:
    router = Router(goal, ["m"], client=loop)
    seen: dict[int, bool] = {}

    def work(name: int) -> None:
        mine = router.choose()
        time.sleep(0.02)
        seen[name] = router.current is not None and router.current.trace_id == mine.trace_id

    threads = [threading.Thread(target=work, args=(name,)) for name in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == dict.fromkeys(range(5), True)


@pytest.mark.parametrize(
    ("paths", "more"),
    [([], {}), ([{"tools": []}], {}), ([7], {}), (["m"], {"constraints": {"max_price": 1}}), (["m"], {"mode": "x"})],
)
def test_a_router_put_together_wrongly_is_told_at_once(loop: AgentLoop, paths: Any, more: Any) -> None:
    with pytest.raises(BadArgument):
        Router("goal", paths, client=loop, **more)


def test_completion_needs_something_to_call(loop: AgentLoop, goal: str) -> None:
    with pytest.raises(BadArgument, match="complete="):
        Router(goal, ["m"], client=loop).completion([])


# --- a function for each question -----------------------------------------------------------------------------


@pytest.mark.usefixtures("as_default")
def test_the_functions_of_the_module(goal: str) -> None:
    path = register_path(goal, "m", tools=["search"], params={"temperature": 0.5})
    assert path is not None
    again = register_path(goal, "m", tools=["search"], params={"temperature": 0.50})
    assert again is not None
    assert path["path_id"] == again["path_id"]
    chosen = decide(goal, candidate_model_ids=["m"])
    assert chosen is not None
    assert (chosen["path_id"], chosen["params"]) == (path["path_id"], {"temperature": 0.5})
    trace = chosen["trace_id"]
    assert report_outcome(trace, goal, True, model_id="m") == {"status": "accepted", "trace_id": trace, "goal": goal}
    updated = update_outcome(trace, goal, success=False, score=0.1)
    assert updated is not None
    assert updated["fields_updated"] == ["success", "score"]
    assert update_outcome("nobody", goal, success=True) is None
    policy = get_policy(goal, constraints={"max_cost_usd": 1})
    assert policy is not None
    assert policy["goal"] == goal
    insights = get_insights(goal)
    assert insights is not None
    assert [one["goal"] for one in insights["goals"]] == [goal]


def test_the_functions_raise_for_a_strict_client(home: Home, goal: str) -> None:
    with AgentLoop(home.api_key, home.url, strict=True) as loop:
        with pytest.raises(Refused) as refused:
            report_outcome("t", goal, False, failure_category="no such thing", client=loop)
        assert "timeout" in str(refused.value)
        with pytest.raises(Refused) as refused:
            update_outcome("nobody", goal, success=True, client=loop)
        assert refused.value.code == "outcome_not_found"


def test_children_draw_for_themselves(home: Home, goal: str) -> None:
    """A fork copies what was drawn ahead; using it twice would send two processes the same way each time."""
    code = """
import os, sys
from agentloop_client import AgentLoop, Router
loop = AgentLoop(sys.argv[1], sys.argv[2])
router = Router(sys.argv[3], [f"m{n}" for n in range(6)], client=loop, refresh_seconds=3600)
assert router.ready(20)
router.choose()
def chosen():
    return "".join(router.choose().model for _ in range(60)).encode()
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(write, chosen())
    sys.exit(0)
mine, theirs = chosen(), os.read(read, 1000)
assert os.waitpid(pid, 0)[1] == 0
assert len(mine) == len(theirs) == 120
assert mine != theirs
"""
    done = subprocess.run(
        [sys.executable, "-c", code, home.api_key, home.url, goal],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
