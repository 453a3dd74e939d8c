"""Every text of the feedback pages: in the reader's language, or as the project's owner worded it."""

from collections.abc import Mapping
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation
from django.utils.translation import pgettext
from django.utils.translation.trans_real import parse_accept_lang_header

from agentloop.models import Project

CONTEXT = "feedback"
RIGHT_TO_LEFT = frozenset({"ar"})

# By the names under which an owner can override them; see docs/widget.md.
TEXTS: Mapping[str, str] = {
    "title": "Was this answer right?",
    "question": "You asked",
    "answer": "The answer",
    "show_all": "Show all",
    "show_less": "Show less",
    "shortened": "Shortened",
    "yes": "Yes",
    "partly": "Partly",
    "no": "No",
    "reasons": "What was wrong?",
    "wrong_facts": "The facts are wrong",
    "missing": "Something is missing",
    "off_topic": "It missed my question",
    "outdated": "It is out of date",
    "broken": "It is garbled or cut off",
    "unsuitable": "The tone is wrong",
    "correction": "What should it have said?",
    "comment": "Anything else?",
    "optional": "optional",
    "send": "Send",
    "send_change": "Send the change",
    "choose": "Please choose Yes, Partly or No.",
    "quick": "That was very quick. Please look once more and send it again.",
    "thanks": "Thank you",
    "received": "Your answer has been received.",
    "you_said": "You said:",
    "change": "Change my answer",
    "changeable": "You can change it for half an hour.",
    "forged_title": "This link does not work",
    "forged": "Something in it was changed or cut off. Please open it again from where you got it.",
    "expired_title": "This link has expired",
    "expired": "It was sent too long ago to be answered.",
    "revoked_title": "This link was withdrawn",
    "revoked": "Those who sent it have withdrawn it.",
    "gone_title": "This answer is gone",
    "gone": "It has been deleted, so there is nothing left to say about it.",
    "long_title": "This link is too long",
    "long": "Something was added to it on the way. Please open it again from where you got it.",
    "often_title": "Please wait a moment",
    "often": "Too much came at once. Please try again in a minute.",
    "large_title": "That is too much text",
    "large": "Please go back, shorten it and send it again.",
    "trouble_title": "Something went wrong",
    "trouble": "Nothing was lost on your side. Please go back and try again in a moment.",
}


def language_of(request: HttpRequest) -> str:
    """The best language there is for the browser's Accept-Language. No cookie is looked at."""
    for wanted, _ in parse_accept_lang_header(request.META.get("HTTP_ACCEPT_LANGUAGE", "")[:200]):
        try:
            return translation.get_supported_language_variant(wanted)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


@cache
def _translated(language: str) -> dict[str, str]:
    with translation.override(language):
        return {name: pgettext(CONTEXT, text) for name, text in TEXTS.items()}


def texts_for(project: Project | None, language: str) -> dict[str, str]:
    """All texts in a language, with the owner's own words over them: those for `*` hold in every language."""
    texts = _translated(language)
    own = project.setting("widget_texts") if project else {}
    return texts | own.get("*", {}) | own.get(language, {})
