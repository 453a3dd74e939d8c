"""The widget's JSON API: links for turns that are there, and spam taken out."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agentloop.errors import Invalid
from agentloop.ids import read
from agentloop.models import Scope
from agentloop.signing import feedback_urls
from feedback_widget import serializers as s
from feedback_widget import spam
from review.api import ReviewView, id_of
from review.errors import AnnotationNotFound, TurnNotFound
from review.models import Turn


class FeedbackUrlsView(ReviewView):
    scopes: ClassVar = {"POST": Scope.INGEST}

    @extend_schema(
        operation_id="make_feedback_urls",
        summary="Make feedback links for turns",
        description="For mails and the like: a link for each of up to 500 turns, signed now, in the order asked for.",
        request=s.LinksIn,
        responses=s.LinksOut,
    )
    def post(self, request: Request) -> Response:
        wanted = {text: read("turn", text) for text in self.read(s.LinksIn)["turn_ids"]}
        ids = [turn_id for turn_id in wanted.values() if turn_id is not None]
        there = Turn.objects.of(self.project).visible().filter(id__in=ids).values_list("id", flat=True)
        links = feedback_urls(self.project, there)
        return Response({"feedback_urls": [_link_shape(text, turn_id, links) for text, turn_id in wanted.items()]})


def _link_shape(text: str, turn_id: UUID | None, links: Mapping[UUID, str]) -> dict[str, Any]:
    if turn_id is not None and turn_id in links:
        return {"turn_id": text, "feedback_url": links[turn_id]}
    missing = TurnNotFound()
    return {"turn_id": text, "error": missing.sentence, "code": missing.code}


class FeedbackRemovalView(ReviewView):
    scopes: ClassVar = {"POST": Scope.ADMIN}

    @extend_schema(
        operation_id="remove_feedback",
        summary="Remove end users' answers as spam",
        description="Retracts the answers that match, withdraws their evidence, and takes turns out of the queue that "
        "waited for nothing else. At most 500 at once.",
        request=s.RemovalIn,
        responses=s.RemovalOut,
    )
    def post(self, request: Request) -> Response:
        given = self.read(s.RemovalIn)
        which = _which(given)
        if which.says_nothing:
            raise Invalid("Say which answers: send annotation_ids, same_sender_as, user_id, since or until.")
        matching = len(spam.matching(self.project, which))
        removed, left = (0, matching) if given["dry_run"] else spam.remove(self.project, self.actor, which)
        return Response({"matching": matching, "removed": removed, "left": left})


def _which(given: Mapping[str, Any]) -> spam.Which:
    def annotation(text: str) -> UUID:
        return id_of("ann", text, error=AnnotationNotFound)

    same = given.get("same_sender_as")
    return spam.Which(
        annotation_ids=tuple(annotation(text) for text in given.get("annotation_ids", [])),
        same_sender_as=annotation(same) if same else None,
        user_id=given.get("user_id", ""),
        since=given.get("since"),
        until=given.get("until"),
    )
