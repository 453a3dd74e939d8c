"""`manage.py feedback remove`: end users' answers taken out as spam."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from agentloop.actors import SYSTEM
from agentloop.commands import ActsCommand, project_of
from agentloop.ids import read
from agentloop.parsing import read_time
from feedback_widget import spam


class Command(ActsCommand):
    help = "Remove end users' answers as spam: their evidence is withdrawn too."

    def add_acts(self, acts: Any) -> None:
        remove = acts.add_parser("remove", help="remove the answers that meet all that is said")
        remove.add_argument("--project", required=True)
        remove.add_argument("--annotation", action="append", default=[], metavar="ANN_ID", help="may be repeated")
        remove.add_argument("--same-sender-as", metavar="ANN_ID", help="all from the address that this one came from")
        remove.add_argument("--user", default="", metavar="ID", help="all of this user")
        remove.add_argument("--since", metavar="TIME", help="given at this time (ISO 8601) or later")
        remove.add_argument("--until", metavar="TIME", help="given before this time")
        remove.add_argument("--dry-run", action="store_true", help="only count them")
        remove.set_defaults(act=self.remove)

    def remove(
        self,
        *,
        project: str,
        annotation: list[str],
        same_sender_as: str | None,
        user: str,
        since: str | None,
        until: str | None,
        dry_run: bool,
    ) -> None:
        found = project_of(project)
        which = spam.Which(
            annotation_ids=tuple(map(_annotation, annotation)),
            same_sender_as=_annotation(same_sender_as) if same_sender_as else None,
            user_id=user,
            since=_time(since),
            until=_time(until),
        )
        if which.says_nothing:
            raise CommandError("Say which: --annotation, --same-sender-as, --user, --since or --until.")
        if dry_run:
            self.say(f"{len(spam.matching(found, which))} answers would be removed.")
            return
        total, left = 0, 1
        while left:
            removed, left = spam.remove(found, SYSTEM, which)
            total += removed
        self.say(f"{total} answers were removed.")


def _annotation(text: str) -> UUID:
    found = read("ann", text)
    if found is None:
        raise CommandError(f"{text} is not an annotation's id: they look like ann_018f….")
    return found


def _time(text: str | None) -> datetime | None:
    found = read_time(text) if text else None
    if text and found is None:
        raise CommandError(f"{text} is not a time: write it as 2026-01-31T12:00:00Z.")
    return found
