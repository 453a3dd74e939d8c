"""Signals from users: what they say of an answer, plainly, in their next message, or by what they do with it."""

from agentloop_client.signals._classifier import Reading, classify
from agentloop_client.signals._functions import (
    default_signals,
    observe_use,
    report_action,
    report_pipeline,
    report_session_end,
    report_user_turn,
    track_run,
    user_accepted,
    user_rejected,
)
from agentloop_client.signals._models import ChatModel, Model
from agentloop_client.signals._sessions import MemoryStore, Store
from agentloop_client.signals._signals import Run, Signals
from agentloop_client.signals._use import STRENGTHS as ACTIONS
from agentloop_client.signals._use import Use, use_of

__all__ = [
    "ACTIONS",
    "ChatModel",
    "MemoryStore",
    "Model",
    "Reading",
    "Run",
    "Signals",
    "Store",
    "Use",
    "classify",
    "default_signals",
    "observe_use",
    "report_action",
    "report_pipeline",
    "report_session_end",
    "report_user_turn",
    "track_run",
    "use_of",
    "user_accepted",
    "user_rejected",
]
