"""Sign-in, below /accounts/: of allauth's pages, those that a closed installation has a use for."""

from typing import NoReturn

from allauth.account import views
from django.conf import settings
from django.http import Http404, HttpRequest
from django.urls import path, re_path

from agentloop import member_pages


def closed(request: HttpRequest) -> NoReturn:
    """Nobody makes an account or changes its address alone: an owner does. Allauth needs the names to exist."""
    raise Http404


urlpatterns = [
    path("login/", views.login, name="account_login"),
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
    path("signup/", closed, name="account_signup"),
    path("email/", closed, name="account_email"),
    path("confirm-email/", closed, name="account_email_verification_sent"),
]
