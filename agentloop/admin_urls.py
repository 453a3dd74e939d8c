"""The paths of a project's administration: at the root and below `/p/<project>/`."""

from django.urls import path

from agentloop import admin_api as views
from agentloop import notice_api as notices

api = [
    path("v1/project", views.ProjectView.as_view(), name="project"),
    path("v1/keys", views.KeysView.as_view(), name="keys"),
    path("v1/keys/<str:key_id>", views.KeyView.as_view(), name="key"),
    path("v1/signing-keys", views.SigningKeysView.as_view(), name="signing_keys"),
    path("v1/signing-keys/<str:key_id>", views.SigningKeyView.as_view(), name="signing_key"),
    path("v1/members", views.MembersView.as_view(), name="members"),
    path("v1/members/<int:member_id>", views.MemberView.as_view(), name="member"),
    path("v1/members/<int:member_id>/notices", notices.MemberNoticesView.as_view(), name="member_notices"),
    path("v1/webhooks", notices.WebhooksView.as_view(), name="webhooks"),
    path("v1/webhooks/<str:webhook_id>", notices.WebhookView.as_view(), name="webhook"),
    path("v1/webhooks/<str:webhook_id>/deliveries", notices.DeliveriesView.as_view(), name="deliveries"),
    path("v1/deliveries/<str:delivery_id>/retry", notices.DeliveryRetryView.as_view(), name="delivery_retry"),
    path("v1/audit", views.AuditView.as_view(), name="audit"),
]
