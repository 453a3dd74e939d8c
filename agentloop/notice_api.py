"""Notifications as JSON: a project's webhooks with their deliveries, and what its members hear of by e-mail."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers as s
from rest_framework.request import Request
from rest_framework.response import Response

from agentloop import outbox
from agentloop.admin_api import AdminView
from agentloop.admin_shapes import Strict
from agentloop.errors import Invalid, NotAllowed
from agentloop.fields import Choice
from agentloop.ids import read, shown
from agentloop.models import Member, MemberNotices, Scope

EVENTS = list(outbox.EVENTS)


class NewWebhook(Strict):
    url = s.CharField(max_length=2000)
    secret = s.CharField(
        min_length=16, max_length=200, trim_whitespace=False, help_text="Signs each delivery; it is never shown again."
    )
    events = s.ListField(
        child=Choice(EVENTS), required=False, help_text="Which events; all of them where none is named."
    )


class WebhookOut(s.Serializer[Any]):
    webhook_id = s.CharField()
    url = s.CharField()
    events = s.ListField(child=Choice(EVENTS))
    created_at = s.DateTimeField()
    waiting = s.IntegerField(help_text="Deliveries on their way, those that are tried again included.")
    parked = s.IntegerField(help_text="Deliveries given up after a day.")


class WebhooksOut(s.Serializer[Any]):
    webhooks = WebhookOut(many=True)
    events = s.ListField(child=s.CharField(), help_text="All events that there are.")


class WebhookRemoved(s.Serializer[Any]):
    status = Choice(["removed"])


class DeliveryOut(s.Serializer[Any]):
    delivery_id = s.CharField(help_text="The same for every try: `X-AgentLoop-Delivery` carries it.")
    event = Choice(EVENTS)
    status = Choice(["waiting", "delivered", "parked"])
    tries = s.IntegerField()
    last_error = s.CharField(allow_blank=True)
    created_at = s.DateTimeField()
    delivered_at = s.DateTimeField(allow_null=True)
    next_try_at = s.DateTimeField(allow_null=True)
    body = s.DictField(
        help_text="`event`, `project`, `at` and `data`: ids, figures and `message`, one sentence; never what was said."
    )


class DeliveriesOut(s.Serializer[Any]):
    deliveries = DeliveryOut(many=True)
    next_cursor = s.CharField(allow_null=True)


class NoticesIn(Strict):
    events = s.ListField(child=Choice(EVENTS), help_text="Which events; none for no letters.")
    every_minutes = s.IntegerField(
        required=False,
        min_value=outbox.EVERY_MINUTES[0],
        max_value=outbox.EVERY_MINUTES[1],
        help_text="At most one letter in this time, which tells of all that came since the last; 60 if left out.",
    )


class NoticesOut(s.Serializer[Any]):
    events = s.ListField(child=Choice(EVENTS))
    every_minutes = s.IntegerField()
    sent_at = s.DateTimeField(allow_null=True, help_text="When the last letter went out.")


class WebhooksView(AdminView):
    scopes: ClassVar = {"GET": Scope.ADMIN, "POST": Scope.ADMIN}

    @extend_schema(operation_id="list_webhooks", summary="List webhooks", responses=WebhooksOut)
    def get(self, request: Request) -> Response:
        return Response({"webhooks": outbox.webhooks_of(self.project), "events": EVENTS})

    @extend_schema(
        operation_id="add_webhook",
        summary="Send notifications to an address",
        description="Each delivery carries `X-AgentLoop-Signature: t=…,v1=…`, the HMAC-SHA256 over `t.body`. "
        "Redirects are not followed; loopback and private addresses are refused unless the operator allows the host.",
        request=NewWebhook,
        responses={201: WebhookOut},
    )
    def post(self, request: Request) -> Response:
        hook = outbox.add_webhook(self.project, self.actor, **self.read(NewWebhook))
        return Response(outbox.webhook_shape(hook), status=201)


class WebhookView(AdminView):
    scopes: ClassVar = {"DELETE": Scope.ADMIN}

    @extend_schema(
        operation_id="remove_webhook", summary="End a webhook", request=None, responses={200: WebhookRemoved}
    )
    def delete(self, request: Request, webhook_id: str) -> Response:
        outbox.remove_webhook(self.project, self.actor, webhook_id)
        return Response({"status": "removed"})


class DeliveriesView(AdminView):
    scopes: ClassVar = {"GET": Scope.ADMIN}

    @extend_schema(
        operation_id="list_deliveries",
        summary="List a webhook's deliveries",
        description="The newest first, of the last month. What fails is tried again for a day, then parked.",
        parameters=[OpenApiParameter("cursor", str, description="`next_cursor` of the page before.")],
        responses=DeliveriesOut,
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        cursor = request.query_params.get("cursor", "")
        before = read("delivery", cursor)
        if cursor and before is None:
            sentence = "cursor is not one that this list gave: take `next_cursor` of the page before, as it is."
            raise Invalid(sentence, fields={"cursor": sentence})
        found = outbox.deliveries_of(self.project, webhook_id, before)
        more = shown("delivery", found[-1].id) if len(found) == outbox.DELIVERIES_SHOWN else None
        return Response({"deliveries": [outbox.delivery_shape(one) for one in found], "next_cursor": more})


class DeliveryRetryView(AdminView):
    scopes: ClassVar = {"POST": Scope.ADMIN}

    @extend_schema(
        operation_id="retry_delivery",
        summary="Send a delivery again",
        description="It is due at once, and tried for a day again. The receiver knows it by its id.",
        request=None,
        responses=DeliveryOut,
    )
    def post(self, request: Request, delivery_id: str) -> Response:
        return Response(outbox.delivery_shape(outbox.send_again(self.project, self.actor, delivery_id)))


class MemberNoticesView(AdminView):
    """A member's own, or any member's for an owner."""

    scopes: ClassVar = {"GET": Scope.READ, "PUT": Scope.READ}

    @extend_schema(
        operation_id="get_notices", summary="What a member hears of by e-mail", request=None, responses=NoticesOut
    )
    def get(self, request: Request, member_id: int) -> Response:
        return Response(_notices_shape(outbox.notices_of(self._member(member_id))))

    @extend_schema(
        operation_id="set_notices",
        summary="Set what a member hears of by e-mail",
        description="A letter tells of all that came since the last one. Members set their own; an owner, anyone's.",
        request=NoticesIn,
        responses=NoticesOut,
    )
    def put(self, request: Request, member_id: int) -> Response:
        member = self._member(member_id)
        return Response(_notices_shape(outbox.set_notices(member, self.actor, **self.read(NoticesIn))))

    def _member(self, member_id: int) -> Member:
        member = self.one(self.project.members.select_related("project"), pk=member_id)
        if not self.actor.is_owner and self.actor.ref != f"user:{member.user_id}":
            raise NotAllowed
        return member


def _notices_shape(notices: MemberNotices) -> dict[str, Any]:
    return {"events": notices.events, "every_minutes": notices.every_minutes, "sent_at": notices.sent_at}
