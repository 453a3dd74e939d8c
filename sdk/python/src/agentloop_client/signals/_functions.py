"""The levels as functions, for whoever has one client for everything: that of `set_default_client`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from agentloop_client.routing import default_client
from agentloop_client.signals._classifier import Reading
from agentloop_client.signals._signals import Posts, Run, Signals
from agentloop_client.signals._use import Use


def default_signals() -> Signals:
    """The default client's signals. They ask no model, and keep sessions in memory."""
    return _signals_of(default_client())


@lru_cache(maxsize=1)
def _signals_of(client: Posts) -> Signals:
    return Signals(client)


def track_run(result: Any) -> Run | None:
    return default_signals().track_run(result)


def user_accepted(score: float = 0.85, *, run: Any = None) -> bool:
    return default_signals().user_accepted(score, run=run)


def user_rejected(reason: str = "", *, run: Any = None) -> bool:
    return default_signals().user_rejected(reason, run=run)


def report_pipeline(
    session_id: str,
    goal: str,
    prompt: str,
    output: str,
    model: str,
    *,
    trace_id: str | None = None,
    meta_prompt_id: str | None = None,
) -> str:
    signals = default_signals()
    return signals.report_pipeline(
        session_id, goal, prompt, output, model, trace_id=trace_id, meta_prompt_id=meta_prompt_id
    )


def report_user_turn(session_id: str, user_message: str) -> Reading:
    return default_signals().report_user_turn(session_id, user_message)


def report_session_end(session_id: str) -> str | None:
    return default_signals().report_session_end(session_id)


def report_action(session_id: str, action_type: str, edit_diff: str | None = None) -> bool:
    return default_signals().report_action(session_id, action_type, edit_diff)


def observe_use(output: str, final_text: str, *, session_id: str | None = None, run: Any = None) -> Use:
    return default_signals().observe_use(output, final_text, session_id=session_id, run=run)
