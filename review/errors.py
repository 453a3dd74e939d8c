"""What can go wrong with a turn."""

from agentloop.errors import AppError, Conflict, Invalid, NotFound


class TurnNotFound(NotFound):
    """There is no such turn: it was never here, has expired or was deleted."""

    code = "turn_not_found"


class AnnotationNotFound(NotFound):
    """There is no such annotation in this project."""

    code = "annotation_not_found"


class MemoryNotFound(NotFound):
    """There is no such memory in this project."""

    code = "memory_not_found"


class ActNotFound(NotFound):
    """There is no such act in this project, or what it was done to is gone."""

    code = "act_not_found"


class QueueEmpty(AppError):
    """Nothing is waiting that matches."""

    code, http_status = "queue_empty", 404


class ClaimedByAnother(Conflict):
    """Another reviewer has this turn now."""

    code = "claimed_by_another"


class ClaimLost(Conflict):
    """Your claim on this turn has lapsed or been passed on; nothing was changed. Claim it again to go on."""

    code = "claim_lost"


class NotPending(Conflict):
    """This turn is no longer waiting: it has been judged or dismissed. Reopen it, or edit its annotation."""

    code = "not_pending"


class AlreadyPending(Conflict):
    """This turn is waiting in the queue already."""

    code = "already_pending"


class OnlyOwners(AppError):
    """This turn was escalated: only owners can take it."""

    code, http_status = "only_owners", 403


class AlreadyJudged(Conflict):
    """You have given your verdict on this turn: it waits for another reviewer's, or for an owner."""

    code = "already_judged"


class NotLatest(Conflict):
    """Something was done to this since: undo the later act first."""

    code = "not_latest"


class TwinMerged(Conflict):
    """The same was logged again and merged into this turn when it was reopened: judge or dismiss it instead."""

    code = "twin_merged"


class AlreadyUndone(Conflict):
    """This act has been undone already."""

    code = "already_undone"


class NotYours(AppError):
    """Only the one who did this, or an owner, can undo it."""

    code, http_status = "not_yours", 403


class NotYourVerdict(NotYours):
    """Only the one who gave this verdict, or an owner, can change it."""


class VerdictMoved(Conflict):
    """This verdict was changed meanwhile: look at what it says now, and make your change again."""

    code = "verdict_moved"


class BadValue(Invalid):
    """A field has a value that it does not take."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field} {sentence}", fields={field: sentence})
