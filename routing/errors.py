"""What the routing side refuses: each docstring is the sentence a person reads."""

from agentloop.errors import AppError, Invalid
from routing.engine.categories import FAILURE_CATEGORIES

CATEGORY_SENTENCE = f"There is no such failure category; they are: {', '.join(FAILURE_CATEGORIES)}."


class UnknownFailureCategory(Invalid):
    """There is no such failure category."""

    code = "unknown_failure_category"

    def __init__(self) -> None:
        super().__init__(CATEGORY_SENTENCE, fields={"failure_category": CATEGORY_SENTENCE})


class OutcomeNotFound(AppError):
    """There is no outcome of this trace and goal to update."""

    code, http_status = "outcome_not_found", 404


class PathNotFound(AppError):
    """There is no such path in this project."""

    code, http_status = "path_not_found", 404


class GoalNotFound(AppError):
    """There is no such goal in this project."""

    code, http_status = "goal_not_found", 404


class TraceNotFound(AppError):
    """Nothing is known of this trace."""

    code, http_status = "trace_not_found", 404


class BadSignature(AppError):
    """The X-Signature of this request fits neither its body nor its payload."""

    code, http_status = "bad_signature", 403


class BadField(Invalid):
    """A field's value cannot be used."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}", fields={field: problem})
