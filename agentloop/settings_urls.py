"""The pages of a project's administration, below `/p/<project>/` alone."""

from django.urls import path

from agentloop import audit_pages, key_pages, member_pages, notice_pages, settings_pages

pages = [
    path("settings/", settings_pages.project_settings, name="settings"),
    path("settings/keys/", key_pages.api_keys, name="settings_keys"),
    path("settings/keys/<str:key_id>/revoke/", key_pages.revoke_key, name="settings_keys_revoke"),
    path("settings/signing-keys/", key_pages.signing_keys, name="settings_signing"),
    path(
        "settings/signing-keys/<str:signing_key_id>/revoke/",
        key_pages.revoke_signing_key,
        name="settings_signing_revoke",
    ),
    path("settings/members/", member_pages.members, name="settings_members"),
    path("settings/members/<int:member_id>/role/", member_pages.change_role, name="settings_members_role"),
    path("settings/members/<int:member_id>/remove/", member_pages.remove_member, name="settings_members_remove"),
    path(
        "settings/invitations/<str:invitation_id>/revoke/",
        member_pages.revoke_invitation,
        name="settings_members_revoke",
    ),
    path("settings/webhooks/", notice_pages.webhooks, name="settings_webhooks"),
    path("settings/webhooks/<str:webhook_id>/", notice_pages.deliveries, name="settings_webhooks_deliveries"),
    path("settings/webhooks/<str:webhook_id>/remove/", notice_pages.remove_webhook, name="settings_webhooks_remove"),
    path("settings/deliveries/<str:delivery_id>/retry/", notice_pages.send_again, name="settings_webhooks_retry"),
    path("settings/notices/", notice_pages.everyones_notices, name="settings_notices"),
    path("settings/audit/", audit_pages.audit_log, name="settings_audit"),
    path("notices/", notice_pages.own_notices, name="own_notices"),
]
