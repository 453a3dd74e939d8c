"""What one client has, the other has as well, under the same name; each exception has its reason here."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import agentloop_client
import pytest
from agentloop_client import errors, patterns, routing, signals

from tests.sdk_js.conftest import SDK, node

ONLY_PYTHON = {
    "AsyncAgentLoop": "the one client is asynchronous where that means anything",
    "ChatModel": "`chatModel`: a model is a function there, and needs no class",
    "__version__": "the package's own file has it",
    # Methods.
    "afterFork": "JavaScript does not fork",
    "feedbackUrl": "a function of `@agentloop/client/feedback`: what signs is no load for a page",
    "post": "the router's way to its client, which is called there itself",
}
ONLY_JAVASCRIPT = {
    "chatModel": "`ChatModel`",
    "feedbackUrl": "a function of `@agentloop/client/feedback`: what signs is no load for a page",
    # Methods.
    "goal": "an attribute of each instance in Python",
    "settings": "an attribute of each instance in Python",
    "size": "`len()` in Python",
    "watch": "what `with trace` does in Python",
}
# The types stand in the first entry of each.
PUBLISHED: list[tuple[list[str], list[Any]]] = [
    (["index.js", "routing.js", "feedback.js"], [agentloop_client, errors, routing]),
    (["patterns.js"], [patterns]),
    (["signals/index.js"], [signals]),
]
CLASSES = [
    ("index.js", agentloop_client.AgentLoop),
    ("index.js", agentloop_client.Router),
    ("index.js", agentloop_client.Trace),
    ("signals/index.js", signals.MemoryStore),
    ("signals/index.js", signals.Signals),
]


def evaluated(entry: str, expression: str) -> set[str]:
    script = f"import * as m from {json.dumps(str(SDK / 'src' / entry))}; console.log(JSON.stringify({expression}))"
    run = subprocess.run(
        [node(), "--input-type=module", "-e", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout))


def types(entry: str) -> set[str]:
    text = Path(SDK / "src" / entry).read_text("utf-8")
    return set(re.findall(r"^/\*\* @typedef \{import\(.*\)\.\w+\} (\w+) \*/$", text, re.MULTILINE))


def camel(name: str) -> str:
    """Constants and classes are written alike."""
    if name.startswith("_") or not name.islower():
        return name
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


def same(python: set[str], javascript: set[str]) -> None:
    assert python - javascript - ONLY_PYTHON.keys() == set()
    assert javascript - python - ONLY_JAVASCRIPT.keys() == set()


def exported(entries: list[str]) -> set[str]:
    return {name for entry in entries for name in evaluated(entry, "Object.keys(m)")}


@pytest.mark.parametrize(("entries", "modules"), PUBLISHED)
def test_the_same_is_published(entries: list[str], modules: list[Any]) -> None:
    names = {camel(name) for module in modules for name in module.__all__}
    same(names, exported(entries) | types(entries[0]))


@pytest.mark.parametrize(("entry", "kind"), CLASSES)
def test_the_same_can_be_done(entry: str, kind: type) -> None:
    names = {camel(name) for name in dir(kind) if not name.startswith("_")}
    of_class = f"Object.getOwnPropertyNames(m.{kind.__name__}.prototype).filter((name) => name !== 'constructor')"
    same(names, evaluated(entry, of_class))


def test_errors_have_the_same_words() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    ours = {f"{kind.__name__} {kind.code}" for kind in kinds}
    assert ours == evaluated("errors.js", "Object.values(m).map((kind) => `${kind.name} ${kind.code}`)")


def test_no_exception_is_out_of_date() -> None:
    """Each still names something that the other side lacks."""
    python = {camel(name) for _, modules in PUBLISHED for module in modules for name in module.__all__}
    python |= {camel(name) for _, kind in CLASSES for name in dir(kind)}
    javascript = {name for entries, _ in PUBLISHED for name in exported(entries)}
    javascript |= {
        name
        for entry, kind in CLASSES
        for name in evaluated(entry, f"Object.getOwnPropertyNames(m.{kind.__name__}.prototype)")
    }
    assert ONLY_PYTHON.keys() <= python
    assert ONLY_JAVASCRIPT.keys() <= javascript
