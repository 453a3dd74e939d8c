"""Sign-in: accounts are made by an invitation or on the command line, never by a visitor alone."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.http import HttpRequest

from agentloop.secrets_box import seal, unseal


class ClosedSignup(DefaultAccountAdapter):
    """Who may make an account: no one on their own."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


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
