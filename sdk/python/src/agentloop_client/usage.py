"""What an answer cost, read from whatever shape a provider's library gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_IN = ("prompt_tokens", "input_tokens", "prompt_token_count")
_OUT = ("completion_tokens", "output_tokens", "candidates_token_count")


def part_of(thing: Any, name: str) -> Any:
    """An attribute or a key, whichever there is."""
    if isinstance(thing, Mapping):
        return thing.get(name)
    return getattr(thing, name, None)


def tokens_of(response: Any) -> tuple[int | None, int | None]:
    """Tokens in and out; None where the answer doesn't say."""
    usage = part_of(response, "usage") or part_of(response, "usage_metadata")
    return _first_count(usage, _IN), _first_count(usage, _OUT)


def cost_of(response: Any) -> float | None:
    """What litellm reckons that it cost, kept beside the answer. The server's own prices go before it."""
    cost = part_of(part_of(response, "_hidden_params"), "response_cost")
    return float(cost) if isinstance(cost, (int, float)) and cost > 0 else None


def _first_count(usage: Any, names: tuple[str, ...]) -> int | None:
    counts = (part_of(usage, name) for name in names) if usage is not None else ()
    return next((count for count in counts if isinstance(count, int) and not isinstance(count, bool)), None)


def text_of_answer(response: Any) -> str:
    """The text of an answer, as the common libraries shape it."""
    if isinstance(response, str):
        return response
    choices = part_of(response, "choices")
    if isinstance(choices, (list, tuple)) and choices:
        return _content(part_of(part_of(choices[0], "message"), "content"))
    for name in ("output_text", "text", "content"):
        said = _content(part_of(response, name))
        if said:
            return said
    return ""


def _content(content: Any) -> str:
    """Text, or the text among blocks of several kinds."""
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)):
        return "".join(said for one in content if isinstance(said := part_of(one, "text"), str))
    return ""
