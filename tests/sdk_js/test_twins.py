"""The two clients say the same of the same: links to the byte, draws, readings, masks, paths."""

import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from agentloop_client import AgentLoop, patterns
from agentloop_client._choice import Race, Terms, read_snapshot
from agentloop_client._messages import _place
from agentloop_client.failures import category_of
from agentloop_client.signals import classify, use_of
from agentloop_client.signals._masking import masked

from tests.sdk_js.conftest import node
from tests.sdk_python.conftest import Home

HERE = Path(__file__).parent
SDK = HERE.parents[1] / "sdk" / "js"
PLANES = [(0x20, 0x7E), (0, 0x1F), (0x7F, 0x7FF), (0x800, 0xD7FF), (0xD800, 0xDFFF), (0xE000, 0xFFFF)] + [
    (plane << 16, (plane << 16) + 0xFFFF) for plane in range(1, 17)
]


def javascript(asked: list[tuple[str, list[Any]]]) -> list[Any]:
    run = subprocess.run(
        [node(), str(HERE / "twin.mjs")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: list[Any] = json.loads(run.stdout)
    return found


def text(chance: random.Random, most: int) -> str:
    return "".join(chr(chance.randint(*chance.choice(PLANES))) for _ in range(chance.randint(0, most)))


def test_ten_thousand_links_are_the_same_to_the_byte(home: Home) -> None:
    chance = random.Random(6)
    secrets = ["", *(text(chance, 80).encode("utf-16", "surrogatepass").decode("utf-16", "replace") for _ in range(9))]
    asked: list[tuple[str, list[Any]]] = []
    ours: list[str] = []
    for number in range(10_000):
        secret = secrets[number % 10].strip() or home.signing_secret
        given: dict[str, Any] = {
            "question": text(chance, 20), "agent_response": text(chance, 20), "user_id": text(chance, 5),
            "session_id": text(chance, 5), "published": number % 3 == 0, "at": chance.randint(1, 2**36),
        }  # fmt: skip
        if number % 3:
            given |= {"turn_id": f"turn_{number}" if number % 3 == 1 else "", "trace_id": text(chance, 5), "goal": "g"}
        with_client = AgentLoop("k", "https://loop.example/", secret)
        ours.append(with_client.feedback_url(**given))
        asked.append(("feedbackUrl", [secret, {_camel(name): value for name, value in given.items()}]))
    theirs = javascript(asked)
    assert [one for one in zip(ours, theirs, strict=True) if one[0] != one[1]][:3] == []


def test_javascripts_links_are_accepted_by_the_server(home: Home) -> None:
    chance = random.Random(7)
    options = [
        {
            "question": "Why?" + text(chance, 12),
            "agentResponse": "Because." + text(chance, 12),
            "published": place % 2 == 0,
        }
        for place in range(20)
    ]
    links = javascript([("feedbackUrl", [home.signing_secret, one]) for one in options])
    with httpx.Client() as client:
        for link in links:
            assert client.get(link.replace("https://loop.example", home.url)).status_code == 200


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


def test_keys_are_drawn_alike() -> None:
    chance = random.Random(8)
    keys = [text(chance, 30) for _ in range(2000)]
    assert javascript([("placeOf", [key]) for key in keys]) == [_place(key) for key in keys]


def messages() -> list[str]:
    lines = (HERE.parent / "sdk_python" / "signals" / "messages.jsonl").read_text("utf-8").splitlines()
    labelled = [json.loads(line)["text"] for line in lines]
    chance = random.Random(9)
    mixed = [" ".join(chance.choices(labelled, k=chance.randint(2, 9))) for _ in range(300)]
    return labelled + mixed


def test_messages_are_read_alike() -> None:
    asked = messages()
    for message, theirs in zip(asked, javascript([("classify", [one]) for one in asked]), strict=True):
        ours = classify(message)
        assert (theirs["kind"], theirs["isCorrection"]) == (ours.kind, ours.is_correction), message
        assert theirs["confidence"] == pytest.approx(ours.confidence, abs=1e-9), message


def test_noise_is_read_nearly_alike() -> None:
    """What is a letter, and what is blank, is not quite the same in two versions of Unicode."""
    chance = random.Random(12)
    asked = [text(chance, 400) for _ in range(300)]
    theirs = javascript([("classify", [one]) for one in asked])
    pairs = zip(theirs, map(classify, asked), strict=True)
    assert sum(abs(one["confidence"] - two.confidence) < 0.01 for one, two in pairs) >= 280


def test_uses_and_masks_are_alike() -> None:
    chance = random.Random(10)
    asked = messages()[:400]
    pairs = [(one, " ".join(chance.sample(one.split(), k=len(one.split())))) for one in asked] + [
        (one, one) for one in asked
    ]
    theirs = javascript([("useOf", list(pair)) for pair in pairs])
    assert theirs == [{"action": use.action, "score": use.score} for use in (use_of(*pair) for pair in pairs)]
    private = [
        "Write to ana.b@x.example or +44 20 7946 0958.", "see https://x.example/a?b=c now",
        "DE89 3704 0044 0532 0130 00", "key sk-abcdefghij0123456789xyz", "fe80::1ff:fe23:4567:890a",
        "no 12 or 3.5", *asked,
    ]  # fmt: skip
    assert javascript([("masked", [one, 80]) for one in private]) == [masked(one, 80) for one in private]


PATTERNS: dict[str, Callable[..., bool]] = {
    "isRephrase": patterns.is_rephrase,
    "agentPunted": patterns.agent_punted,
    "makesFactualClaim": patterns.makes_factual_claim,
}


def test_patterns_are_seen_alike() -> None:
    cases = json.loads((HERE.parent / "data" / "client-patterns.json").read_text("utf-8"))
    texts = [
        case.get("response") or case["question"]
        for table in cases.values()
        if isinstance(table, list)
        for case in table
    ]
    asked: list[tuple[str, list[Any]]] = [
        ("isRephrase", [case["question"], case["history"]]) for case in cases["is_rephrase"]
    ]
    asked += [(name, [one]) for name in ("agentPunted", "makesFactualClaim") for one in texts + messages()[:500]]
    assert javascript(asked) == [PATTERNS[name](*given) for name, given in asked]


def test_failures_have_the_same_category() -> None:
    told = [
        ("RateLimitError", ""), ("APITimeoutError", "Request timed out."), ("BadRequestError", "prompt is too long"),
        ("AuthenticationError", "401"), ("ValueError", "odd"), ("JSONDecodeError", "x"), ("Error", "deadline exceeded"),
    ]  # fmt: skip
    ours = [category_of(type(name, (Exception,), {})(message)) for name, message in told]
    assert javascript([("categoryOf", list(one)) for one in told]) == ours


STATE = {
    "mode": "apply", "idle_share": 0.02,
    "config": {"exploration_rate": 0.1, "min_samples_before_exploit": 20, "staleness_days": 7},
    "paths": [
        {"path_id": f"p{place}", "model_id": f"m{place}", "status": status, "sample_count": a + b, "tried_at": tried,
         "posterior": {"a": a, "b": b, "mean": a / (a + b), "deviation": (a * b / (a + b) ** 2 / (a + b + 1)) ** 0.5},
         "probe_at": 1000, "figures": {"samples": a + b, "mean_cost_usd": cost, "cost_samples": 30}}
        for place, (a, b, status, tried, cost) in enumerate([
            (8.0, 4.0, "active", 1e6, 0.1), (30.0, 20.0, "active", 1e6, 0.2), (400.0, 280.0, "active", 0, 0.1),
            (0.6, 0.7, "active", 1e6, 0.1), (3.0, 9.0, "rolled_back", 1e6, 0.1), (50.0, 2.0, "active", 1e6, 0.9),
        ])
    ],
}  # fmt: skip


@pytest.mark.parametrize("risk", ["medium", "high"])
@pytest.mark.parametrize("constraints", [{}, {"max_cost_usd": 0.5}, {"min_confidence": 0.05}])
def test_paths_are_chosen_by_the_same_law(risk: str, constraints: dict[str, float]) -> None:
    models = [f"m{place}" for place in range(7) if place != 5 or constraints]
    draws, now = 40_000, 1e6
    asked = {"models": models, "constraints": constraints, "risk": risk}
    [theirs] = javascript([("shares", [STATE, asked, now, draws])])
    race = Race(read_snapshot(STATE), Terms(frozenset(models), constraints, risk), now, random.Random(11))
    ours = Counter(drawn.path.path_id if drawn.path else "" for drawn in (race.draw() for _ in range(draws)))
    for name in ours.keys() | theirs["counts"].keys():
        one, other = ours[name] / draws, theirs["counts"].get(name, 0) / draws
        share = (one + other) / 2
        assert abs(one - other) <= 5 * (2 * share * (1 - share) / draws) ** 0.5 + 1e-9, name
    by_id = {id(one.path): one.path.path_id for one in (*race.snapshot.contenders, *race.racing)}
    chances = {by_id[key]: pair for key, pair in race.chances().items()}
    assert theirs["chances"].keys() == chances.keys()
    for name, pair in chances.items():
        assert theirs["chances"][name] == pytest.approx(pair, abs=1e-9)


def test_what_was_learned_has_one_source() -> None:
    names: dict[str, Any] = {"__name__": "copy_data", "__file__": str(SDK / "tools" / "copy_data.py")}
    exec((SDK / "tools" / "copy_data.py").read_text("utf-8"), names)
    for path, expected in names["modules"]().items():
        assert path.read_text("utf-8") == expected, "run python sdk/js/tools/copy_data.py"
