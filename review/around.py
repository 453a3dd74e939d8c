"""All that stands around a turn when somebody judges it, read in one statement."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from agentloop.ids import read
from agentloop.models import Project
from agentloop.sql import run
from review.models import Turn

NEIGHBOURS, OCCURRENCES, ACTS, SAID, VERSIONS, RECENT_TAGGED = 5, 20, 40, 20, 10, 300
SNIPPET = 200

_SESSION = """
    (SELECT json_agg(one ORDER BY one.id) FROM (
        SELECT id, left(question, {snippet}) AS question, left(response, {snippet}) AS response, status, occurred_at,
            status = 'pending' AND expires_at <= now() AS is_gone
        FROM review_turn
        WHERE project_id = %(project)s AND session_id = %(session)s AND session_id <> '' AND id {sign} %(turn)s
        ORDER BY id {order} LIMIT {limit}) AS one)"""
_BEFORE = _SESSION.format(snippet=SNIPPET, sign="<", order="DESC", limit=NEIGHBOURS)
_AFTER = _SESSION.format(snippet=SNIPPET, sign=">", order="ASC", limit=NEIGHBOURS)
_TAGS = f"""
    (SELECT json_agg(DISTINCT tag) FROM (
        SELECT unnest(tags) AS tag FROM (
            SELECT tags FROM review_annotation WHERE project_id = %(project)s ORDER BY id DESC LIMIT {RECENT_TAGGED}
        ) AS recent) AS used)"""
# What a verdict said, the newest first; one that was never changed has but one version, which stands beside.
_VERSIONS = f"""
    CASE WHEN version > 1 THEN (SELECT json_agg(kept ORDER BY kept.version DESC) FROM (
        SELECT version, author, at, body->>'rating' AS rating, body->>'root_cause' AS root_cause, body->'tags' AS tags,
            left(body->>'correction', 600) AS correction, left(body->>'comment', 400) AS comment
        FROM review_annotationversion WHERE annotation_id = review_annotation.id
        ORDER BY version DESC LIMIT {VERSIONS}) AS kept) END"""
_SQL = f"""
SELECT {_BEFORE}, {_AFTER},
    (SELECT json_agg(one ORDER BY one.id DESC) FROM (
        SELECT id, occurred_at, user_id, session_id, trace_id, model, signals FROM review_occurrence
        WHERE turn_id = %(turn)s ORDER BY id DESC LIMIT {OCCURRENCES}) AS one),
    (SELECT json_agg(one ORDER BY one.id DESC) FROM (
        SELECT id, act, actor, at, undone_at, before = '{{}}' AND act <> 'opinion' AS is_word,
            details->>'annotation' AS annotation
        FROM review_queueact WHERE subject_id = %(turn)s ORDER BY id DESC LIMIT {ACTS}) AS one),
    (SELECT json_agg(one ORDER BY one.id DESC) FROM (
        SELECT id, turn_id, source, author, author_label, rating, root_cause, failure_category, tags, comment,
            correction, version, created_at, rubric, (
                SELECT questions FROM review_rubric AS asked
                WHERE asked.project_id = %(project)s
                    AND asked.version = (review_annotation.rubric->>'version')::integer) AS questions,
            {_VERSIONS} AS versions
        FROM review_annotation WHERE project_id = %(project)s AND content_hash = %(content)s AND retracted_at IS NULL
        ORDER BY id DESC LIMIT {SAID}) AS one),
    (SELECT json_build_object('body', body, 'saved_at', saved_at) FROM review_draft
        WHERE turn_id = %(turn)s AND actor = %(actor)s),
    {_TAGS},
    (SELECT json_build_object('model', path.model, 'tools', path.tools, 'params', path.params, 'id', path.id)
        FROM routing_path AS path WHERE path.project_id = %(project)s AND path.id = coalesce(%(path)s, (
            SELECT path_id FROM routing_decision
            WHERE project_id = %(project)s AND trace_id = %(trace)s AND trace_id <> '' LIMIT 1), (
            SELECT path_id FROM routing_outcome
            WHERE project_id = %(project)s AND trace_id = %(trace)s AND trace_id <> '' LIMIT 1))),
    (SELECT json_build_object('calls', count(*), 'cost_usd', sum(cost_usd), 'latency_ms', sum(latency_ms),
            'errors', count(*) FILTER (WHERE error_type <> ''))
        FROM routing_eventspan
        WHERE project_id = %(project)s AND trace_id = %(trace)s AND trace_id <> '' AND model <> ''),
    (SELECT json_build_object('version', version, 'questions', questions) FROM review_rubric
        WHERE project_id = %(project)s ORDER BY version DESC LIMIT 1),
    (SELECT json_agg(one ORDER BY one.actor) FROM (
        SELECT actor, actor_label, rating, verdict, at FROM review_opinion
        WHERE turn_id = %(turn)s AND NOT is_settled) AS one)
"""


@dataclass(frozen=True, slots=True)
class Around:
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]
    occurrences: list[dict[str, Any]]
    acts: list[dict[str, Any]]
    said: list[dict[str, Any]]
    draft: dict[str, Any] | None
    known_tags: list[str]
    path: dict[str, Any] | None
    spans: dict[str, Any]
    rubric: dict[str, Any] | None
    opinions: list[dict[str, Any]]

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What end users said of this text through the widget."""
        return [one for one in self.said if one["source"] == "end_user"]

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        return [one for one in self.said if one["source"] != "end_user"]


def around(project: Project, turn: Turn, actor: str) -> Around:
    """One query, whatever the turn has gathered: every part of it is limited."""
    [row] = run(
        _SQL,
        {
            "project": project.id,
            "turn": turn.id,
            "session": turn.session_id,
            "content": turn.content_hash,
            "actor": actor,
            "trace": turn.trace_id,
            "path": read("path", turn.path_id) if turn.path_id else None,
        },
    )
    before, after, occurrences, acts, said, draft, tags, path, spans, rubric, opinions = map(_loaded, row)
    for one in said or []:
        one["versions"] = one["versions"] or []
        for version in one["versions"]:
            _with_times(version)
    for one in [*(before or []), *(after or []), *(occurrences or []), *(acts or []), *(said or []), *(opinions or [])]:
        _with_times(one)
    if draft:
        _with_times(draft)
    return Around(
        before or [],
        after or [],
        occurrences or [],
        acts or [],
        said or [],
        draft,
        sorted(tags or []),
        path,
        spans or {},
        rubric,
        opinions or [],
    )


def _loaded(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str | bytes) else value


def _with_times(row: dict[str, Any]) -> None:
    for name in ("at", "undone_at", "occurred_at", "created_at", "saved_at"):
        if row.get(name):
            row[name] = datetime.fromisoformat(row[name])


def known_tags(project: Project) -> list[str]:
    """The tags of the latest verdicts, for completion. One query."""
    [(tags,)] = run(f"SELECT {_TAGS}", {"project": project.id})
    return sorted(_loaded(tags) or [])
