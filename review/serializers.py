"""The shapes of the review API: what it takes, checked, and what it answers, for the reference."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers as s

from agentloop.fields import Choice
from review.models import FailureCategory, QuestionKind, Rating, RootCause, Status

TEXT_LIMIT = 256 * 1024


class TurnIn(s.Serializer[Any]):
    """Read leniently by `review.intake`: this describes what a client should send."""

    question = s.CharField(allow_blank=True, help_text="What the user asked. Cut and marked beyond 32 kB.")
    agent_response = s.CharField(allow_blank=True, help_text="What the agent answered. Cut and marked beyond 128 kB.")
    user_id = s.CharField(required=False, allow_null=True)
    session_id = s.CharField(required=False, allow_null=True)
    signals = s.DictField(required=False, help_text="Why the turn is logged: up to 64 keys of any JSON type.")
    metadata = s.DictField(required=False, help_text="Anything else; the names below are lifted out of it.")
    trace_id = s.CharField(required=False, allow_null=True)
    goal = s.CharField(required=False, allow_null=True)
    model = s.CharField(required=False, allow_null=True)
    path_id = s.CharField(required=False, allow_null=True)
    pipeline_id = s.CharField(required=False, allow_null=True)
    tags = s.ListField(child=s.CharField(), required=False)
    sample_rate = s.FloatField(required=False, allow_null=True, help_text="The share of turns that was logged, 0 to 1.")
    occurred_at = s.CharField(required=False, allow_null=True, help_text="ISO 8601 or Unix seconds.")
    idempotency_key = s.CharField(required=False, allow_null=True)
    want_feedback_url = s.BooleanField(required=False)


class TurnLogged(s.Serializer[Any]):
    turn_id = s.CharField()
    status = Choice(["pending"])
    was_duplicate = s.BooleanField()
    feedback_url = s.CharField(required=False)


class BatchIn(s.Serializer[Any]):
    turns = TurnIn(many=True)


class BatchResult(s.Serializer[Any]):
    """One item's answer: a turn id, or an error."""

    turn_id = s.CharField(required=False)
    status = Choice(["pending", "refused"])
    was_duplicate = s.BooleanField(required=False)
    feedback_url = s.CharField(required=False)
    error = s.CharField(required=False)
    code = s.CharField(required=False)


class BatchLogged(s.Serializer[Any]):
    accepted = s.IntegerField()
    refused = s.IntegerField()
    results = BatchResult(many=True)


class Reason(s.Serializer[Any]):
    reason = s.CharField()
    points = s.FloatField()


class OccurrenceOut(s.Serializer[Any]):
    occurred_at = s.DateTimeField()
    trace_id = s.CharField()
    goal = s.CharField()
    model = s.CharField()
    user_id = s.CharField()
    session_id = s.CharField()
    signals = s.DictField()


class TurnOut(s.Serializer[Any]):
    turn_id = s.CharField()
    status = Choice(Status.choices)
    question = s.CharField()
    agent_response = s.CharField()
    truncated = s.ListField(child=s.CharField())
    signals = s.DictField()
    metadata = s.DictField()
    tags = s.ListField(child=s.CharField())
    user_id = s.CharField()
    session_id = s.CharField()
    trace_id = s.CharField()
    goal = s.CharField()
    model = s.CharField()
    path_id = s.CharField()
    pipeline_id = s.CharField()
    sample_rate = s.FloatField(allow_null=True)
    occurrences = s.IntegerField()
    priority = s.FloatField(help_text="Points now: signals, days waiting, occurrences.")
    logged_at = s.DateTimeField()
    occurred_at = s.DateTimeField()
    last_seen_at = s.DateTimeField()
    expires_at = s.DateTimeField(allow_null=True, help_text="Null once it is judged or dismissed.")
    claimed_by = s.CharField(allow_null=True)
    claimed_until = s.DateTimeField(allow_null=True)
    snoozed_until = s.DateTimeField(allow_null=True)
    escalated_by = s.CharField(allow_null=True)
    escalation_note = s.CharField()
    dismissed_reason = s.CharField()
    closed_at = s.DateTimeField(allow_null=True)


class TurnDetail(TurnOut):
    reasons = Reason(many=True, help_text="Why it stands where it does; they add up to the priority.")
    merged_occurrences = OccurrenceOut(many=True)
    draft = s.DictField(allow_null=True, help_text="What you have written and not yet submitted.")


class TurnPage(s.Serializer[Any]):
    turns = TurnOut(many=True)
    next_cursor = s.CharField(allow_null=True)
    pending = s.IntegerField(help_text="How many turns wait in the whole project.")


class ActIn(s.Serializer[Any]):
    claim_token = s.IntegerField(required=False, allow_null=True, default=None, max_value=2**63 - 1, min_value=-(2**63))
    reviewer = s.CharField(required=False, allow_blank=True, allow_null=True, default="", max_length=60)


class HeartbeatIn(ActIn):
    claim_token = s.IntegerField(max_value=2**63 - 1, min_value=-(2**63))


class ClaimIn(s.Serializer[Any]):
    reviewer = s.CharField(required=False, allow_blank=True, allow_null=True, default="", max_length=60)
    turn_id = s.CharField(required=False, allow_null=True, default=None, help_text="A given turn.")
    filters = s.DictField(
        required=False, default=dict, help_text="The next that matches: the filters of `GET /v1/turns`."
    )


class SnoozeIn(ActIn):
    until = s.DateTimeField()


class EscalateIn(ActIn):
    note = s.CharField(required=False, allow_blank=True, default="", max_length=2000)


class DismissIn(ActIn):
    reason = s.CharField(required=False, allow_blank=True, default="", max_length=500)


class DraftIn(s.Serializer[Any]):
    reviewer = s.CharField(required=False, allow_blank=True, allow_null=True, default="", max_length=60)
    body = s.DictField()


class DraftOut(s.Serializer[Any]):
    turn_id = s.CharField()
    body = s.DictField()
    saved_at = s.DateTimeField()


class ActDone(s.Serializer[Any]):
    act_id = s.CharField(help_text="What `undo` takes back.")
    turn = TurnOut()


class ClaimDone(ActDone):
    claim_token = s.IntegerField(help_text="Send it with every act: one with a lapsed token is refused.")
    claimed_until = s.DateTimeField()
    draw = Choice(["next", "random", "filter", "given"])
    draw_probability = s.FloatField(allow_null=True)
    draft = s.DictField(allow_null=True)


class HeartbeatDone(s.Serializer[Any]):
    claimed_until = s.DateTimeField()


class ActOut(s.Serializer[Any]):
    act_id = s.CharField()
    act = s.CharField()
    actor = s.CharField()
    at = s.DateTimeField()
    undone_at = s.DateTimeField(allow_null=True)


class History(s.Serializer[Any]):
    acts = ActOut(many=True)


class VerdictFields(s.Serializer[Any]):
    """What both ways to judge have in common."""

    rating = Choice(Rating.choices)
    correction = s.CharField(required=False, allow_blank=True, default="", trim_whitespace=False, max_length=TEXT_LIMIT)
    root_cause = Choice(RootCause.choices, required=False, allow_blank=True, allow_null=True, default="")
    failure_category = Choice(FailureCategory.values, required=False, allow_blank=True, allow_null=True, default="")
    tags = s.ListField(child=s.CharField(max_length=100), required=False, allow_null=True, default=list, max_length=64)
    comment = s.CharField(
        required=False, allow_blank=True, allow_null=True, default="", trim_whitespace=False, max_length=20_000
    )
    scores = s.DictField(required=False, allow_null=True, default=dict)
    rubric = s.DictField(
        required=False,
        allow_null=True,
        default=dict,
        help_text='Answers to the rubric\'s questions by key: `{"version": 3, "answers": {"polite": true}}`. Without a '
        'version, to the newest. `{"no_answer": "not_applicable"}` and `{"no_answer": "cant_tell"}` are answers too.',
    )
    metadata = s.DictField(required=False, allow_null=True, default=dict)
    reviewer = s.CharField(required=False, allow_blank=True, allow_null=True, default="", max_length=60)

    def to_internal_value(self, data: Any) -> Any:
        """Null means the same as leaving it out: some clients send all their fields."""
        values = super().to_internal_value(data)
        if self.partial:
            return {name: value for name, value in values.items() if value is not None}
        return {name: self.fields[name].get_default() if value is None else value for name, value in values.items()}


class VerdictIn(VerdictFields):
    claim_token = s.IntegerField(required=False, allow_null=True, max_value=2**63 - 1, min_value=-(2**63))

    def to_internal_value(self, data: Any) -> Any:
        token = data.get("claim_token") if isinstance(data, dict) else None
        values = super().to_internal_value(
            {k: v for k, v in data.items() if k != "claim_token"} if token is None and isinstance(data, dict) else data
        )
        return {"claim_token": None, **values}


class AnnotationIn(VerdictFields):
    question = s.CharField(allow_blank=True, trim_whitespace=False)
    agent_response = s.CharField(allow_blank=True, trim_whitespace=False)
    correction = s.CharField(trim_whitespace=False, max_length=TEXT_LIMIT)
    user_id = s.CharField(
        required=False, allow_blank=True, allow_null=True, default="", max_length=200, help_text="Whose memory it is."
    )

    def validate_correction(self, value: str) -> str:
        if not value.strip():
            raise s.ValidationError("correction may not be blank: say what the agent should have answered.")
        return value


class AnnotationEdit(VerdictFields):
    """Only what is sent is changed."""

    after = s.IntegerField(required=False, help_text="The version you have seen: refused where there is a newer one.")


class Known(s.Serializer[Any]):
    is_right = s.BooleanField()
    rating = Choice(Rating.choices)
    root_cause = s.CharField()
    failure_category = s.CharField()
    explanation = s.CharField()


class AnnotationDone(s.Serializer[Any]):
    annotation_id = s.CharField(allow_null=True, help_text="Null for a gold turn, which makes no annotation.")
    memory_id = s.CharField(allow_null=True)
    status = Choice(
        ["active", "updated_existing", "waiting", "gold"],
        help_text="`waiting` under double review: it becomes an annotation once all verdicts on the turn agree. "
        "`gold` where the right verdict was known: nothing is learnt from yours.",
    )
    duplicate_score = s.FloatField(allow_null=True)
    turn_id = s.CharField(allow_null=True)
    act_id = s.CharField()
    gold = Known(required=False, help_text="What was known, for a gold turn alone.")


class GoldIn(s.Serializer[Any]):
    """A judged turn by its id, or all of it by hand."""

    turn_id = s.CharField(required=False, help_text="A turn with a verdict, which becomes the known answer.")
    question = s.CharField(required=False, trim_whitespace=False)
    agent_response = s.CharField(required=False, allow_blank=True, trim_whitespace=False, default="")
    rating = Choice(Rating.choices, required=False)
    root_cause = Choice(RootCause.choices, required=False, allow_blank=True, default="")
    failure_category = Choice(FailureCategory.choices, required=False, allow_blank=True, default="")
    explanation = s.CharField(
        required=False, allow_blank=True, default="", max_length=20_000, help_text="What a reviewer is told afterwards."
    )
    goal = s.CharField(required=False, allow_blank=True, default="", max_length=200)

    def validate(self, attrs: Any) -> Any:
        missing = [name for name in ("question", "rating") if not attrs.get(name)]
        if not attrs.get("turn_id") and missing:
            raise s.ValidationError(dict.fromkeys(missing, "This field is required, unless turn_id names a turn."))
        return attrs


class GoldOut(s.Serializer[Any]):
    gold_id = s.CharField()
    question = s.CharField()
    agent_response = s.CharField()
    goal = s.CharField()
    rating = Choice(Rating.choices)
    root_cause = s.CharField()
    failure_category = s.CharField()
    explanation = s.CharField()
    source_turn_id = s.CharField(allow_null=True)
    given = s.IntegerField(help_text="To how many reviewers.")
    answered = s.IntegerField()
    right = s.IntegerField()
    created_at = s.DateTimeField()
    retired_at = s.DateTimeField(allow_null=True)


class GoldList(s.Serializer[Any]):
    gold = GoldOut(many=True)


class AccuracyOut(s.Serializer[Any]):
    reviewer = s.CharField(help_text="As in `author` of annotations.")
    label = s.CharField()  # type: ignore[assignment]
    answered = s.IntegerField()
    right = s.IntegerField()
    share = s.FloatField(help_text="Of what was answered, what was right.")
    interval = s.ListField(child=s.FloatField(), min_length=2, max_length=2)
    is_few = s.BooleanField(help_text="Too few answers to tell much.")
    too_kind = s.IntegerField(help_text="Answers that rated better than the known one.")
    too_strict = s.IntegerField()
    left = s.IntegerField(help_text="Gold turns that this reviewer may yet be given.")


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A reviewer's own",
            {
                "reviewers": [
                    {
                        "reviewer": "user:7",
                        "label": "Bob",
                        "answered": 24,
                        "right": 18,
                        "share": 0.75,
                        "interval": [0.551, 0.88],
                        "is_few": False,
                        "too_kind": 4,
                        "too_strict": 2,
                        "left": 3,
                    }
                ]
            },
            response_only=True,
        )
    ]
)
class GoldAccuracy(s.Serializer[Any]):
    reviewers = AccuracyOut(many=True)


class AnnotationOut(s.Serializer[Any]):
    annotation_id = s.CharField()
    turn_id = s.CharField(allow_null=True)
    memory_id = s.CharField(allow_null=True)
    question = s.CharField()
    agent_response = s.CharField()
    source = s.CharField()  # type: ignore[assignment]
    author = s.CharField()
    author_label = s.CharField()
    rating = Choice(Rating.choices)
    correction = s.CharField()
    root_cause = s.CharField()
    failure_category = s.CharField()
    tags = s.ListField(child=s.CharField())
    comment = s.CharField()
    scores = s.DictField()
    rubric = s.DictField(help_text="Empty, or `version` and `answers`.")
    metadata = s.DictField()
    user_id = s.CharField()
    goal = s.CharField()
    model = s.CharField()
    path_id = s.CharField()
    pipeline_id = s.CharField()
    trace_id = s.CharField()
    draw = s.CharField()
    draw_probability = s.FloatField(allow_null=True)
    version = s.IntegerField()
    created_at = s.DateTimeField()
    updated_at = s.DateTimeField()


class AnnotationPage(s.Serializer[Any]):
    annotations = AnnotationOut(many=True)
    next_cursor = s.CharField(allow_null=True)


class VersionOut(s.Serializer[Any]):
    version = s.IntegerField()
    body = s.DictField()
    author = s.CharField()
    at = s.DateTimeField()


class AnnotationDetail(AnnotationOut):
    versions = VersionOut(many=True)


class QuestionIn(s.Serializer[Any]):
    """Read by `review.rubrics`, which says what is wrong with each."""

    key = s.CharField(help_text="What answers call it: small letters, digits, underscores.")
    text = s.CharField()
    kind = Choice(QuestionKind.choices)
    options = s.ListField(child=s.CharField(), required=False, help_text="For `choice` and `choices`.")
    low = s.FloatField(required=False, help_text="For `number`, with `high` and `step`.")
    high = s.FloatField(required=False)
    step = s.FloatField(required=False)


class RubricIn(s.Serializer[Any]):
    questions = QuestionIn(many=True)
    after = s.IntegerField(required=False, help_text="The version you have seen: refused where there is a newer one.")


class RubricOut(s.Serializer[Any]):
    version = s.IntegerField(help_text="0 where no question was ever written.")
    questions = QuestionIn(many=True)


class SearchIn(s.Serializer[Any]):
    query = s.CharField(required=False, allow_blank=True, allow_null=True)
    limit = s.IntegerField(required=False, help_text="Held to 1 to 10.")
    user_id = s.CharField(required=False, allow_null=True)
    tags = s.ListField(child=s.CharField(), required=False, allow_null=True)


class MemoryOut(s.Serializer[Any]):
    id = s.CharField()
    fact = s.CharField()
    score = s.FloatField()
    tags = s.ListField(child=s.CharField())
    source = s.CharField()  # type: ignore[assignment]
    created_at = s.DateTimeField()


class MemoriesFound(s.Serializer[Any]):
    memories = MemoryOut(many=True)


class ErasureIn(s.Serializer[Any]):
    user_id = s.CharField(max_length=200)


class ErasureDone(s.Serializer[Any]):
    turns = s.IntegerField()
    annotations = s.IntegerField()
    memories = s.IntegerField()


class DayCount(s.Serializer[Any]):
    day = s.DateField()
    count = s.IntegerField()


class ReasonCount(s.Serializer[Any]):
    reason = s.CharField()
    count = s.IntegerField()


class SignalCount(s.Serializer[Any]):
    signal = s.CharField()
    count = s.IntegerField()


class GoalCount(s.Serializer[Any]):
    goal = s.CharField()
    count = s.IntegerField()


class Stats(s.Serializer[Any]):
    pending = s.IntegerField()
    oldest_logged_at = s.DateTimeField(allow_null=True)
    next_expires_at = s.DateTimeField(allow_null=True)
    claimed = s.IntegerField()
    escalated = s.IntegerField()
    reviewed_today = s.IntegerField()
    dismissed_today = s.IntegerField()
    expired_unseen = DayCount(many=True)
    refused = ReasonCount(many=True)
    top_signals = SignalCount(many=True)
    goals = GoalCount(many=True)
