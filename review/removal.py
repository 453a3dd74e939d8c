"""Deleting turns with everything that was made of them: when their time is up, on request, and for erasure."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agentloop import audit
from agentloop.actors import Actor
from agentloop.idempotency import KEEP_HOURS
from agentloop.masking import mask_of, masked_id
from agentloop.models import Project
from agentloop.sql import run, with_retries
from review import errors, evidence
from review.index import USER, drop_empty_counters
from review.intake import content_hash
from review.memories import lock_memories, rebuild_memories
from review.models import GoldAnswer, GoldTurn
from review.queue import find_turn

# Some milliseconds of work: nobody who comes meanwhile waits for more than that.
SWEEP_BATCH = 100

# First the turns and their marks are locked: the worker that indexes one of them now is waited for, so that
# the next statement sees what it wrote.
_LOCK_SQL = """
WITH doomed AS MATERIALIZED (
    SELECT id FROM review_turn AS turn
    WHERE turn.project_id = %(project)s AND {which} ORDER BY id FOR UPDATE OF turn {skip_locked}
), marks AS MATERIALIZED (
    SELECT turn_id FROM review_staleturn WHERE turn_id IN (SELECT id FROM doomed) ORDER BY turn_id FOR UPDATE
)
SELECT ARRAY(SELECT id FROM doomed), (SELECT count(*) FROM marks)
"""

# One statement deletes a set of turns and all that hangs on them, and takes them out of the counters.
_DELETE_SQL = """
WITH doomed AS MATERIALIZED (
    SELECT id, goal, signals, expires_at, gold_for FROM review_turn WHERE id = ANY(%(doomed)s)
), turns AS (DELETE FROM review_turn USING doomed WHERE review_turn.id = doomed.id),
occurrences AS (DELETE FROM review_occurrence AS t USING doomed WHERE t.turn_id = doomed.id),
skips AS (DELETE FROM review_skip AS t USING doomed WHERE t.turn_id = doomed.id),
opinions AS (DELETE FROM review_opinion AS t USING doomed WHERE t.turn_id = doomed.id),
drafts AS (DELETE FROM review_draft AS t USING doomed WHERE t.turn_id = doomed.id),
acts AS (DELETE FROM review_queueact AS t USING doomed WHERE t.subject_id = doomed.id),
redirects AS (DELETE FROM review_turnredirect AS t USING doomed WHERE t.to_turn_id = doomed.id),
marks AS (DELETE FROM review_staleturn AS t USING doomed WHERE t.turn_id = doomed.id),
annotations AS (
    DELETE FROM review_annotation AS t USING doomed WHERE t.turn_id = doomed.id AND NOT ({outlives})
    RETURNING t.id, t.memory_id
),
versions AS (DELETE FROM review_annotationversion AS t USING annotations WHERE t.annotation_id = annotations.id),
index AS (DELETE FROM review_turnindex AS t USING doomed WHERE t.turn_id = doomed.id RETURNING t.facets),
counters AS (
    INSERT INTO review_turncounter (project_id, facet, count)
    SELECT %(project)s, facet, -count(*) FROM index, unnest(index.facets) AS facet
    WHERE NOT starts_with(facet, 'day:') GROUP BY facet ORDER BY facet
    ON CONFLICT (project_id, facet) DO UPDATE SET count = review_turncounter.count + excluded.count
)
{also}
SELECT (SELECT count(*) FROM doomed), ARRAY(SELECT DISTINCT memory_id FROM annotations WHERE memory_id IS NOT NULL)
"""

# A memory outlives the turn whose time is up, and is made of annotations: they stay with what it is made of.
_OUTLIVES = "t.memory_id IS NOT NULL AND t.retracted_at IS NULL AND t.correction <> ''"
_LEAVE_CORRECTIONS = f""", left_over AS (
    UPDATE review_annotation AS t SET outlived_at = now(), turn_id = NULL, response = '', content_hash = NULL,
        comment = '', scores = '{{}}', rubric = '{{}}', trace_id = '', asked_by = ARRAY(
            SELECT user_id FROM review_turn WHERE id = doomed.id AND user_id <> ''
            UNION SELECT user_id FROM review_occurrence WHERE turn_id = doomed.id AND user_id <> '')
    FROM doomed WHERE t.turn_id = doomed.id AND {_OUTLIVES} RETURNING t.id
), left_versions AS (DELETE FROM review_annotationversion AS t USING left_over WHERE t.annotation_id = left_over.id)"""

# "Expired unseen" stays as a figure: by day, goal and signal, without any content.
_COUNT_EXPIRED = """, unseen AS (
    INSERT INTO review_expiredcount (project_id, day, goal, signal, count)
    SELECT %(project)s, (expires_at AT TIME ZONE 'UTC')::date, goal, signal, count(*)
    FROM doomed, LATERAL (
        SELECT '' AS signal UNION SELECT left(key, 200) FROM jsonb_object_keys(doomed.signals) AS key
    ) AS one
    WHERE doomed.gold_for = ''
    GROUP BY 2, 3, 4 ORDER BY 2, 3, 4
    ON CONFLICT (project_id, day, goal, signal) DO UPDATE SET count = review_expiredcount.count + excluded.count
)"""

_EXPIRED = """turn.id IN (
    SELECT id FROM review_turn WHERE project_id = %(project)s AND status = 'pending' AND expires_at <= now()
    ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)"""
_PAST_RETENTION = """turn.id IN (
    SELECT id FROM review_turn
    WHERE project_id = %(project)s AND status <> 'pending' AND closed_at <= %(before)s
    ORDER BY closed_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)"""


def _delete(
    project: Project, which: str, *, also: str = "", outlives: str = "false", skip_locked: bool = False, **params: Any
) -> tuple[int, list[UUID]]:
    """Deletes the turns of a condition; answers how many, and the memories that lost an annotation."""
    lock = _LOCK_SQL.format(which=which, skip_locked="SKIP LOCKED" if skip_locked else "")
    with transaction.atomic():
        [(doomed, _)] = run(lock, {"project": project.id, **params})
        if not doomed:
            return 0, []
        [(count, memories)] = run(
            _DELETE_SQL.format(also=also, outlives=outlives),
            {"project": project.id, "doomed": doomed},
            # Planning it takes as long as deleting fifty turns.
            keep_plan=True,
        )
    return count, memories


def _end(project: Project, which: str, also: str = "", **params: Any) -> int:
    """Deletes turns whose time is up; what memories are made of stays."""
    also += _LEAVE_CORRECTIONS
    return with_retries(lambda: _delete(project, which, also=also, outlives=_OUTLIVES, skip_locked=True, **params)[0])


def sweep_expired(project: Project, limit: int = SWEEP_BATCH) -> int:
    """Deletes up to `limit` expired turns, and counts them as expired unseen. Safe beside itself and resumable."""
    return _end(project, _EXPIRED, _COUNT_EXPIRED, limit=limit)


def end_retention(project: Project, limit: int = SWEEP_BATCH) -> int:
    """Deletes up to `limit` closed turns that the project no longer keeps. Memories made of them stay."""
    days = project.setting("retention_days")
    if days is None:
        return 0
    before = timezone.now() - timedelta(days=days)
    return _end(project, _PAST_RETENTION, before=before, limit=limit)


def delete_turn(project: Project, actor: Actor, turn_id: UUID) -> None:
    """Deletes one turn with its annotations, and takes what they said out of the memories."""
    with transaction.atomic():
        turn = find_turn(project, turn_id)
        forget_gold(project, source_turn_id=turn.id)
        _, memories = _delete(project, "turn.id = %(turn)s", turn=turn.id)
        lock_memories(project.id)
        rebuild_memories(memories)
        audit.note(project, actor, "turn.delete", turn.shown_id)


def erase_user(project: Project, actor: Actor, user_id: str) -> dict[str, int]:
    """Deletes all content of a user: every turn they took part in, what they said, and memories about them.

    The audit log tells that it was done and how much, without the content and without the user's id.
    """
    if not user_id.strip():
        raise errors.BadValue("user_id", "names the user whose content is to be erased.")
    user_id = masked_id(user_id, mask_of(project))
    theirs = """(turn.user_id = %(user)s OR turn.id IN (
        SELECT turn_id FROM review_occurrence WHERE project_id = %(project)s AND user_id = %(user)s))"""
    with transaction.atomic():
        evidence.blank_texts_of(project, user_id)
        forget_gold(project, asked_by__contains=[user_id])
        contents = _contents(project, theirs, user=user_id)
        turns, of_turns = _delete(project, theirs, user=user_id)
        drop_empty_counters(project.id, [f"{USER}{user_id}"])
        annotations = run(
            """
            WITH gone AS (
                DELETE FROM review_annotation WHERE project_id = %(project)s AND (
                    user_id = %(user)s OR (outlived_at IS NOT NULL AND asked_by @> ARRAY[%(user)s::text])
                    -- Said of the same words when no turn with them was waiting, and not of somebody else.
                    OR (content_hash = ANY(%(contents)s) AND turn_id IS NULL AND user_id = '')
                ) RETURNING id, memory_id
            ), versions AS (
                DELETE FROM review_annotationversion AS t USING gone WHERE t.annotation_id = gone.id
            ), acts AS (DELETE FROM review_queueact AS t USING gone WHERE t.subject_id = gone.id)
            SELECT memory_id FROM gone
            """,
            {"project": project.id, "user": user_id, "contents": contents},
        )
        lock_memories(project.id)
        memories = run(
            "DELETE FROM review_memory WHERE project_id = %s AND user_id = %s RETURNING id", [project.id, user_id]
        )
        rebuild_memories({*of_turns, *(memory for (memory,) in annotations if memory)})
        erased = {"turns": turns, "annotations": len(annotations), "memories": len(memories)}
        audit.note(project, actor, "user.erase", "", **erased)
    return erased


def _contents(project: Project, which: str, **params: Any) -> list[UUID]:
    """What the turns of a condition say. One that gave way to a newer twin has lost its hash, and gets it again."""
    rows = run(
        f"""
        SELECT content_hash, CASE WHEN content_hash IS NULL THEN question END,
            CASE WHEN content_hash IS NULL THEN response END
        FROM review_turn AS turn WHERE project_id = %(project)s AND {which}
        """,
        {"project": project.id, **params},
    )
    return [known or content_hash(question, response) for known, question, response in rows]


def forget_gold(project: Project, **which: Any) -> int:
    """Deletes gold turns with the copies that reviewers were given. What was answered stays, as a figure."""
    ids = list(GoldTurn.objects.filter(project=project, **which).values_list("id", flat=True))
    if ids:
        copies = list(GoldAnswer.objects.filter(gold_id__in=ids).values_list("turn_id", flat=True))
        _delete(project, "turn.id = ANY(%(copies)s)", copies=copies)
        GoldTurn.objects.filter(id__in=ids).delete()
    return len(ids)


def forget_old_idempotency_keys(limit: int = 10_000) -> int:
    rows = run(
        """
        DELETE FROM agentloop_idempotencykey WHERE id IN (
            SELECT id FROM agentloop_idempotencykey WHERE created_at < now() - %s * interval '1 hour'
            ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED
        ) RETURNING id
        """,
        [KEEP_HOURS, limit],
    )
    return len(rows)
