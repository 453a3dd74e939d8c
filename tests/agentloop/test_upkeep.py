"""What the site clears away by itself."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from agentloop.tasks import end_old_rows

pytestmark = pytest.mark.django_db


def cached() -> list[str]:
    """The test's own keys: a page that another test opened may have left one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key FROM agentloop_cache WHERE cache_key ~ '(kept|gone)$'")
        return [key.rpartition(":")[2] for (key,) in cursor.fetchall()]


def test_old_sessions_and_counts_go_and_new_ones_stay() -> None:
    now = timezone.now()
    for key, age in (("old", -1), ("new", 1)):
        Session.objects.create(session_key=key, session_data="x", expire_date=now + timedelta(days=age))
    cache.set("kept", 1, 60)
    cache.set("gone", 1, 60)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE agentloop_cache SET expires = now() - interval '1 day' WHERE cache_key LIKE '%gone'")
    end_old_rows()
    end_old_rows()
    assert list(Session.objects.values_list("session_key", flat=True)) == ["new"]
    assert (cached(), cache.get("kept")) == (["kept"], 1)
