"""What the widget clears away by itself."""

from datetime import timedelta

from django.utils import timezone

from agentloop.sql import run

# An owner may give links a longer life after the fact: they must not be answered twice then.
KEEP = timedelta(days=365)
BATCH = 10_000


def forget_ended_links() -> int:
    """Deletes up to BATCH rows of links that ended long ago; what was said stays. Twice is safe."""
    rows = run(
        """
        DELETE FROM feedback_widget_submission WHERE id IN (
            SELECT id FROM feedback_widget_submission WHERE expires_at < %s
            ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
        ) RETURNING id
        """,
        [timezone.now() - KEEP, BATCH],
    )
    return len(rows)
