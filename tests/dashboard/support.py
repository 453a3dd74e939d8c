"""Short ways to act in the dashboard, by forms and by keys."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.test import Client

from review.models import Turn


@dataclass
class Reviewer:
    """A member with a browser. `said` is what its console said: nothing, where all is well."""

    page: Any
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def opens(self, path: str = "/p/acme/queue/") -> Any:
        self.page.goto(path)
        self.page.wait_for_load_state("load")
        return self.page

    def presses(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def turn(self) -> str:
        """The turn on the desk."""
        return self.page.locator("#work").get_attribute("data-turn") or ""

    def comes_to(self, turn_id: str) -> None:
        self.page.wait_for_function("id => document.getElementById('work').dataset.turn === id", arg=turn_id)

    def leaves(self, turn_id: str) -> None:
        self.page.wait_for_function("id => document.getElementById('work').dataset.turn !== id", arg=turn_id)

    def holds_it(self) -> None:
        self.page.locator("#claim input[name=claim_token]").wait_for(state="attached")

    def has_next(self, call: Any) -> None:
        """Does something that ends with the next turn claimed beforehand."""
        with self.page.expect_response(lambda answer: "/queue/next/" in answer.url):
            call()


def path_of(turn: Turn | str, act: str = "") -> str:
    shown = turn if isinstance(turn, str) else turn.shown_id
    return f"/p/acme/queue/turns/{shown}/" + (f"{act}/" if act else "")


def post(client: Client, path: str, **data: Any) -> Any:
    return client.post(path, data)


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def elements(html: str) -> list[tuple[str, dict[str, str]]]:
    parser = _Elements()
    parser.feed(html)
    return parser.found


# A rubric with a question of each kind.
QUESTIONS: list[dict[str, Any]] = [
    {"key": "polite", "text": "Was it polite?", "kind": "boolean"},
    {"key": "tone", "text": "Which tone?", "kind": "choice", "options": ["warm", "cant_tell"]},
    {"key": "missing", "text": "What was missing?", "kind": "choices", "options": ["facts", "links", "prices"]},
    {"key": "depth", "text": "How deep?", "kind": "number", "low": 1, "high": 5, "step": 0.5},
    {"key": "note", "text": "Anything else?", "kind": "text"},
]
