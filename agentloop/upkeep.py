"""What the site clears away by itself."""

from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from agentloop.delivery import end_old_messages


def end_old_rows() -> None:
    """Deletes what time has made useless: sessions, counts of failed sign-ins, old notifications. Twice is safe."""
    while end_old_messages():
        pass
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM agentloop_cache WHERE expires < now()")
