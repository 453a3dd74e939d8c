"""A project that orders its sources of evidence anew has its outcomes summed up anew, in the background."""

import time
from datetime import timedelta
from functools import partial

from django.utils import timezone

from agentloop.models import Project
from agentloop.project_settings import SETTINGS
from agentloop.sql import run
from agentloop.upkeep import apart
from routing.evidence import sum_up_anew
from routing.models import FollowedAuthority

BATCH = 200
SECONDS = 40.0
# Other processes hold a project's settings for a few seconds, and write by them until then.
GRACE = timedelta(seconds=10)


def follow_all() -> None:
    for project in Project.objects.order_by("id"):
        apart(partial(follow_authority, project), f"following the authority project={project.slug}")


def follow_authority(project: Project, *, grace: timedelta = GRACE, seconds: float = SECONDS) -> int:
    """Brings outcomes and states in line with a changed `authority`; answers how many traces it went through.

    Works in small transactions that hold up the writers of their own traces alone, notes how far it came, and goes
    on from there in the next round. Outcomes that are written meanwhile follow the new order already.
    """
    wanted = project.setting("authority")
    followed = FollowedAuthority.objects.filter(project=project).first()
    if (followed.authority if followed else SETTINGS["authority"].default) != wanted:
        begun = {"authority": wanted, "begun_at": timezone.now(), "reached": ""}
        followed, _ = FollowedAuthority.objects.update_or_create(project=project, defaults=begun)
    if followed is None or followed.begun_at is None or timezone.now() - followed.begun_at < grace:
        return 0
    end, count = time.monotonic() + seconds, 0
    while traces := _traces_after(project, followed.reached):
        sum_up_anew(project, traces)
        count += len(traces)
        followed.reached = traces[-1]
        followed.save(update_fields=["reached"])
        if time.monotonic() > end:
            return count
    followed.begun_at = None
    followed.save(update_fields=["begun_at"])
    return count


def _traces_after(project: Project, reached: str) -> list[str]:
    rows = run(
        "SELECT DISTINCT trace_id FROM routing_ledgerrow WHERE project_id = %s AND trace_id > %s "
        "ORDER BY trace_id LIMIT %s",
        [project.id, reached, BATCH],
    )
    return [trace for (trace,) in rows]
