"""Sign-in: accounts are made by an owner or on the command line, never by a visitor."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class ClosedSignup(DefaultAccountAdapter):
    """Who may make an account: no one on their own."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
