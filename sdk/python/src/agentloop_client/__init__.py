"""AgentLoop's client: log turns for review, and choose paths by what the reviews said. Never in the agent's way."""

__version__ = "0.1.0"
