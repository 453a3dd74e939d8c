"""Sign-in: accounts are made by an invitation or on the command line, never by a visitor alone."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from agentloop.secrets_box import seal, unseal


class ClosedSignup(DefaultAccountAdapter):
    """Who may make an account: no one on their own. Where the site is, its operator says.

    A request's `Host` header is whatever its sender typed: a letter that believed it would hand the key in its link
    to another site, and a count of wrong passwords that believed it would begin anew with each name.
    """

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_reset_password_from_key_url(self, key: str) -> str:
        user, _, secret = key.partition("-")
        return settings.BASE_URL + reverse("account_reset_password_from_key", kwargs={"uidb36": user, "key": secret})

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        site = {"name": "AgentLoop", "domain": settings.BASE_URL}
        super().send_mail(template_prefix, email, {**context, "current_site": site})

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        return str(credentials.get("email", credentials.get("username", ""))).lower()


class KnownPeopleOnly(DefaultSocialAccountAdapter):
    """Whoever an identity provider sends has an account here already, or is turned away."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False


class SealedSecrets(DefaultMFAAdapter):
    """Second steps' secrets lie sealed in the database, as signing keys do."""

    def encrypt(self, text: str) -> str:
        return seal(text).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text.encode())
