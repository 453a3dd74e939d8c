"""Signals from users: what they say of an answer, plainly, in their next message, or by what they do with it."""

from agentloop_client.signals._classifier import Reading, classify

__all__ = ["Reading", "classify"]
