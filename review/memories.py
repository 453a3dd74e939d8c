"""Memories: what reviewers corrected, for agents to look up before they answer.

A memory is nothing of its own: it says what its annotations say that were not undone, the newest first. So an edit,
an undo or an erasure never has to remember what the memory was before; it is made again from what is left. An
annotation whose turn's time is up leaves its correction for this alone: see `removal`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, Count, QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone
from rapidfuzz import fuzz

from agentloop import audit
from agentloop.actors import Actor
from agentloop.ids import shown
from agentloop.masking import mask_of, masked_id
from agentloop.models import Project
from agentloop.sql import run
from review import errors
from review.models import Annotation, AnnotationSource, Memory
from review.words import all_of, any_of, folded, words

CANDIDATES = 200
QUERY_WORDS = 48
# Texts that say nearly the same share most of their longest words, which few others have.
TWIN_WORDS = 8


@dataclass(frozen=True, slots=True)
class Remembered:
    """What became of an annotation's correction."""

    memory_id: UUID
    is_new: bool
    likeness: float | None


def fact_of(correction: str) -> str:
    """A correction on one line, as a prompt takes it."""
    return " ".join(correction.split())


def lock_memories(project_id: UUID) -> None:
    """Whoever changes memories does it alone in their project, until the transaction ends.

    So two like corrections at once can't both make a new memory, and none is linked to one that is just going.
    Taken after the rows of turns and annotations, before those of memories.
    """
    run("SELECT pg_advisory_xact_lock(hashtextextended('memories:' || %s::text, 0))", [project_id])


def remember(project: Project, annotation: Annotation, vanished: Memory | None = None) -> Remembered | None:
    """Takes a standing annotation's correction into a memory: a like one that is there, else a new one.

    `vanished` is the memory that went with what the annotation said before: the new one takes its place.
    What an end user says makes none: anybody with a link could then put words before the agent.
    Runs in the annotation's transaction.
    """
    if not annotation.correction.strip() or annotation.source == AnnotationSource.END_USER:
        return None
    lock_memories(project.id)
    threshold = project.setting("memory_threshold")
    twin, likeness = _most_like(project, annotation, threshold)
    if twin is not None and likeness >= threshold:
        _link(annotation, twin)
        rebuild_memories([twin])
        return Remembered(twin, is_new=False, likeness=likeness)
    memory = vanished or Memory(project=project, retrieved=0, created_at=timezone.now())
    _link(annotation, memory.id)
    _write(memory, [annotation])
    return Remembered(memory.id, is_new=True, likeness=None)


def _link(annotation: Annotation, memory_id: UUID | None) -> None:
    annotation.memory_id = memory_id
    annotation.save(update_fields=["memory"])


def _most_like(project: Project, annotation: Annotation, threshold: float) -> tuple[UUID | None, float]:
    """The memory most like a correction, among those of the same user that share one of its longest words with it."""
    asked = sorted(words(f"{annotation.question} {annotation.correction}"), key=len, reverse=True)[:TWIN_WORDS]
    shared = "AND document @@ %(query)s::tsquery ORDER BY ts_rank(document, %(query)s::tsquery) DESC, id"
    found = run(
        f"""
        SELECT id, fact, question FROM review_memory WHERE project_id = %(project)s AND user_id = %(user)s
            {shared if asked else "ORDER BY id"} LIMIT {CANDIDATES}
        """,
        {"project": project.id, "user": annotation.user_id, "query": any_of(asked)},
    )
    best: tuple[UUID | None, float] = (None, 0.0)
    said = folded(annotation.correction), folded(annotation.question)
    for memory, fact, question in found:
        likeness = _likeness(said, (folded(fact), folded(question)), threshold)
        if likeness > best[1]:
            best = (memory, likeness)
    return best


def _likeness(one: tuple[str, str], other: tuple[str, str], cutoff: float) -> float:
    """How nearly two corrections say the same to nearly the same question: the lesser of both likenesses.

    0 below the cutoff, beyond which long texts would take long to compare.
    """
    likenesses = (fuzz.ratio(mine, theirs, score_cutoff=cutoff * 100) for mine, theirs in zip(one, other, strict=True))
    return round(min(likenesses) / 100, 4)


def rebuild_memories(memory_ids: Iterable[UUID]) -> None:
    """Makes memories again from their annotations that were not undone; one without any is deleted."""
    for memory_id in sorted(set(memory_ids)):
        memory = Memory.objects.select_for_update().filter(id=memory_id).first()
        if memory is None:
            continue
        sources = Annotation.objects.remembered().filter(project_id=memory.project_id, memory_id=memory_id)
        said = list(sources.exclude(correction="").order_by("updated_at", "id"))
        if said:
            _write(memory, said)
        else:
            memory.delete()


def _write(memory: Memory, said: Sequence[Annotation]) -> None:
    newest = said[-1]
    memory.fact, memory.question = fact_of(newest.correction), newest.question
    memory.user_id, memory.metadata, memory.source_id = newest.user_id, newest.metadata, newest.id
    memory.tags = list(dict.fromkeys(tag for annotation in said for tag in annotation.tags))
    memory.updated_at = newest.updated_at
    found = words(f"{memory.fact} {memory.question}")
    run(
        """
        INSERT INTO review_memory (
            id, project_id, fact, question, user_id, tags, source_id, metadata, document, retrieved, retrieved_at,
            created_at, updated_at)
        VALUES (%(id)s, %(project)s, %(fact)s, %(question)s, %(user)s, %(tags)s, %(source)s,
            (SELECT metadata FROM review_annotation WHERE id = %(source)s),
            array_to_tsvector(%(words)s::text[]), %(retrieved)s, %(retrieved_at)s, %(created)s, %(updated)s)
        ON CONFLICT (id) DO UPDATE SET fact = excluded.fact, question = excluded.question,
            user_id = excluded.user_id, tags = excluded.tags, source_id = excluded.source_id,
            metadata = excluded.metadata, document = excluded.document, updated_at = excluded.updated_at
        """,
        {
            "id": memory.id,
            "project": memory.project_id,
            "fact": memory.fact,
            "question": memory.question,
            "user": memory.user_id,
            "tags": memory.tags,
            "source": memory.source_id,
            "words": found,
            # A memory that takes the place of one that just went keeps its count; one that stands, its own.
            "retrieved": memory.retrieved,
            "retrieved_at": memory.retrieved_at,
            "created": memory.created_at,
            "updated": memory.updated_at,
        },
    )


def forget(annotation: Annotation) -> Memory | None:
    """Takes an annotation out of its memory, in the annotation's transaction; answers a memory that went with it."""
    if annotation.memory_id is None:
        return None
    lock_memories(annotation.project_id)
    before = Memory.objects.filter(id=annotation.memory_id)
    memory = before.first()
    _link(annotation, None)
    if memory is not None:
        rebuild_memories([memory.id])
    return None if before.exists() else memory


# --- search ---------------------------------------------------------------------------------------------------

# Rare words weigh more. A word that no memory has counts as rarest, so a query about something else scores low.
_SEARCH_SQL = """
WITH size AS (SELECT count(*) AS memories FROM review_memory WHERE project_id = %(project)s {only_user}),
asked AS (
    SELECT word, ln(1 + size.memories / greatest(0.5, (
        SELECT count(*) FROM review_memory
        WHERE project_id = %(project)s {only_user} AND document @@ quote_literal(word)::tsquery
    ))) AS weight
    FROM unnest(%(words)s::text[]) AS word, size
), total AS (SELECT sum(weight) AS weight FROM asked)
SELECT memory.id, memory.fact, memory.tags, memory.source_id, memory.created_at, memory.updated_at,
    least(1, greatest(0, (
        SELECT sum(asked.weight) FROM asked WHERE memory.document @@ quote_literal(asked.word)::tsquery
    ) / nullif(total.weight, 0)))::float8 AS score
FROM review_memory AS memory, total
WHERE memory.project_id = %(project)s {only_user} AND memory.tags @> %(tags)s::text[]
    AND memory.document @@ %(query)s::tsquery
ORDER BY score DESC, memory.updated_at DESC, memory.id LIMIT %(limit)s
"""
_NEWEST_SQL = """
SELECT memory.id, memory.fact, memory.tags, memory.source_id, memory.created_at, memory.updated_at,
    0::float8 AS score
FROM review_memory AS memory
WHERE memory.project_id = %(project)s {only_user} AND memory.tags @> %(tags)s::text[]
ORDER BY memory.updated_at DESC, memory.id LIMIT %(limit)s
"""
# What is handed out is counted, in the same statement. A search waits for nobody: a row that is being written just
# then goes uncounted.
_COUNTED_SQL = """
WITH found AS MATERIALIZED ({search}), held AS (
    SELECT id FROM review_memory WHERE id IN (SELECT id FROM found) ORDER BY id FOR UPDATE SKIP LOCKED
), counted AS (
    UPDATE review_memory SET retrieved = retrieved + 1, retrieved_at = now()
    FROM held WHERE review_memory.id = held.id
)
SELECT id, fact, tags, source_id, created_at, score FROM found ORDER BY score DESC, updated_at DESC, id
"""
_UNCOUNTED_SQL = """
SELECT id, fact, tags, source_id, created_at, score FROM ({search}) AS found ORDER BY score DESC, updated_at DESC, id
"""


def search(
    project: Project, query: str, *, limit: int = 3, user_id: str = "", tags: Sequence[str] = (), counts: bool = True
) -> list[dict[str, Any]]:
    """Memories by the share of the query's weight that they match, best first. One query.

    What agents get is counted; a page that looks them up for a reviewer says `counts=False`.

    Any word may match. A query without words gets the newest memories, with a score of 0. The one thing that
    may stand in for this later, a search by meaning, has the same arguments and the same answer.
    """
    asked = words(query)[:QUERY_WORDS]
    search_sql = (_SEARCH_SQL if asked else _NEWEST_SQL).format(only_user="AND user_id = %(user)s" if user_id else "")
    rows = run(
        (_COUNTED_SQL if counts else _UNCOUNTED_SQL).format(search=search_sql),
        {
            "project": project.id,
            "words": asked,
            "query": any_of(asked),
            "user": masked_id(user_id, mask_of(project)),
            "tags": list(tags),
            "limit": max(1, min(10, limit)),
        },
    )
    return [
        {
            "id": shown("mem", memory_id),
            "fact": fact,
            "score": round(score, 4) if score is not None and math.isfinite(score) else 0.0,
            "tags": found_tags,
            "source": shown("ann", source_id),
            "created_at": created_at,
        }
        for memory_id, fact, found_tags, source_id, created_at, score in rows
    ]


# --- for people -----------------------------------------------------------------------------------------------


def listed(project: Project, *, text: str = "", user_id: str = "", tag: str = "") -> QuerySet[Memory]:
    """The memories that have all the words, the newest first. Looking at them here counts for nothing."""
    found = Memory.objects.filter(project=project).order_by("-updated_at", "-id")
    if user_id:
        found = found.filter(user_id=masked_id(user_id, mask_of(project)))
    if tag:
        found = found.filter(tags__contains=[tag])
    query = all_of(words(text)[:QUERY_WORDS])
    if query:
        found = found.filter(RawSQL("document @@ %s::tsquery", [query], output_field=BooleanField()))
    return found


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a memory comes from: the annotation that speaks for it, and how many there are in all."""

    source: Annotation | None
    annotations: int


def origins_of(project: Project, found: Sequence[Memory]) -> dict[UUID, Origin]:
    """Two queries, however many memories."""
    ids = [memory.id for memory in found]
    remembered = Annotation.objects.of(project).remembered()
    sources = remembered.defer("question", "response", "metadata", "scores").in_bulk([one.source_id for one in found])
    counted = remembered.filter(memory_id__in=ids).order_by().values_list("memory_id").annotate(Count("id"))
    counts = dict(counted)
    return {one.id: Origin(sources.get(one.source_id), counts.get(one.id, 0)) for one in found}


def revoke(project: Project, actor: Actor, memory_id: UUID) -> None:
    """Takes a memory away from agents; its annotations stay."""
    with transaction.atomic():
        lock_memories(project.id)
        deleted, _ = Memory.objects.filter(project=project, id=memory_id).delete()
        if not deleted:
            raise errors.MemoryNotFound
        sources = Annotation.objects.of(project).filter(memory_id=memory_id)
        sources.exclude(outlived_at=None).delete()
        sources.update(memory_id=None)
        audit.note(project, actor, "memory.revoke", shown("mem", memory_id))
