"""Sign-in, below /accounts/: of allauth's pages, those that a closed installation has a use for."""

from typing import NoReturn

from allauth.account import views
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from allauth.socialaccount import views as sso
from allauth.usersessions import views as sessions
from django.conf import settings
from django.http import Http404, HttpRequest
from django.urls import include, path, re_path

from agentloop import member_pages


def closed(request: HttpRequest) -> NoReturn:
    """Nobody makes an account or changes its address alone: an owner does. Allauth needs the names to exist."""
    raise Http404


SSO = {"sso_name": settings.OIDC_NAME if settings.OIDC_ISSUER else ""}

urlpatterns = [
    path("", mfa.index, name="mfa_index"),
    path("login/", views.LoginView.as_view(extra_context=SSO), name="account_login"),
    path("logout/", views.logout, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("password/change/", views.password_change, name="account_change_password"),
    path("password/set/", views.password_set, name="account_set_password"),
    path(
        "password/reset/",
        views.PasswordResetView.as_view(extra_context={"sends_mail": settings.SENDS_MAIL}),
        name="account_reset_password",
    ),
    path("password/reset/done/", views.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("invitation/<str:token>/", member_pages.invitation, name="invitation"),
    path("second-step/", mfa.authenticate, name="mfa_authenticate"),
    path("second-step/again/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("app/add/", totp.activate_totp, name="mfa_activate_totp"),
    path("app/remove/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("recovery-codes/", codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("recovery-codes/new/", codes.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("passkeys/", passkeys.list_webauthn, name="mfa_list_webauthn"),
    path("passkeys/add/", passkeys.add_webauthn, name="mfa_add_webauthn"),
    path("passkeys/login/", passkeys.login_webauthn, name="mfa_login_webauthn"),
    path("passkeys/again/", passkeys.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("passkeys/<int:pk>/remove/", passkeys.remove_webauthn, name="mfa_remove_webauthn"),
    path("passkeys/<int:pk>/edit/", passkeys.edit_webauthn, name="mfa_edit_webauthn"),
    path("sessions/", sessions.list_usersessions, name="usersessions_list"),
    path("", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("oidc/cancelled/", sso.login_cancelled, name="socialaccount_login_cancelled"),
    path("oidc/error/", sso.login_error, name="socialaccount_login_error"),
    path("oidc/signup/", closed, name="socialaccount_signup"),
    path("oidc/connections/", closed, name="socialaccount_connections"),
    path("signup/", closed, name="account_signup"),
    path("email/", closed, name="account_email"),
    path("confirm-email/", closed, name="account_email_verification_sent"),
]
