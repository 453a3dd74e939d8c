"""What may be asked of the verdicts that stand: one set of filters for the page, the list and the export."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db.models import Q

from agentloop.ids import read
from agentloop.models import Project
from review import errors, filters
from review.models import Annotation, AnnotationQuerySet, AnnotationSource, Rating, RootCause

_CHOICES = {
    "rating": Rating.values,
    "source": AnnotationSource.values,
    "root_cause": RootCause.values,
}
_TIMES = {"created_after": "created_at__gte", "created_before": "created_at__lt"}
FILTERS = (*_CHOICES, "author", "tag", "goal", "turn_id", *_TIMES)


def conditions(given: Mapping[str, Sequence[str]]) -> Q:
    """All of them hold. Raises BadValue, naming a filter that there is none of or a value that it can't take."""
    found = Q()
    for name, values in given.items():
        for value in values:
            found &= _condition(name, value)
    return found


def _condition(name: str, value: str) -> Q:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise errors.BadValue(name, f"takes one of {', '.join(_CHOICES[name])}.")
        return Q(**{name: value})
    if name in ("author", "goal"):
        return Q(**{name: value})
    if name == "tag":
        return Q(tags__contains=[value])
    if name == "turn_id":
        turn_id = read("turn", value)
        if turn_id is None:
            raise errors.BadValue(name, "takes a turn's id, such as turn_018f….")
        return Q(turn_id=turn_id)
    if name in _TIMES:
        return Q(**{_TIMES[name]: filters.time_of(name, value)})
    raise errors.BadValue(name, f"is not a filter; there are {', '.join(FILTERS)}.")


def standing(project: Project, wanted: Q) -> AnnotationQuerySet:
    """Those that stand and that the filters let through, the newest first."""
    return Annotation.objects.of(project).standing().filter(wanted).order_by("-id")


def of_team(project: Project, annotation_id: UUID) -> Annotation | None:
    """A verdict by its id, also one that was taken back; never an end user's word. One query."""
    return Annotation.objects.of(project).exclude(source=AnnotationSource.END_USER).filter(id=annotation_id).first()


def page_of(found: AnnotationQuerySet, *, limit: int, before: UUID | None = None) -> tuple[list[Annotation], bool]:
    """A page, and whether there are more. One query, as fast far down as at the top."""
    if before is not None:
        found = found.filter(id__lt=before)
    page = list(found[: limit + 1])
    return page[:limit], len(page) > limit
