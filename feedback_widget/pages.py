"""The feedback pages: what they show, and the headers that keep them private and framed only where they may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from agentloop.errors import AppError, headers_of
from agentloop.models import Project
from feedback_widget import looks, markup
from feedback_widget.submissions import CHOICES, MAX_TEXT, Opened, Said
from feedback_widget.texts import RIGHT_TO_LEFT, language_of, texts_for

PLAIN_ACCENT = "#4b4bc8"
RATINGS = (
    ("correct", "yes", "m5 12.5 4.6 4.6L19.2 7.4"),
    ("partial", "partly", "M4 12c2-3.2 4.6-3.2 8 0s6 3.2 8 0"),
    ("incorrect", "no", "m6.5 6.5 11 11m0-11-11 11"),
)
# The name of each failure's texts, by the error's code; else by its status.
FAILURES: Mapping[str | int, str] = {
    "link_forged": "forged",
    "link_from_future": "forged",
    "link_expired": "expired",
    "link_revoked": "revoked",
    "link_too_long": "long",
    404: "gone",
    413: "large",
    429: "often",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """How an owner looks at a page before its settings are kept: it can send nothing and runs no script."""

    language: str
    # Light or dark; else as the system has it.
    scheme: str = ""


def form(
    request: HttpRequest,
    opened: Opened,
    said: Said,
    stamp: str,
    problem: str = "",
    status: int = 200,
    trial: Trial | None = None,
) -> HttpResponse:
    """The form, filled with what was said; `problem` names the text that tells what is wrong with it."""
    texts = texts_for(opened.link.project, _language(request, trial))
    known = {
        "opened": opened,
        "said": said,
        "exchange": [_part("question", opened.question, texts), _part("answer", opened.response, texts)],
        "ratings": _ratings(texts),
        "choices": [{"name": choice.name, "text": texts[choice.name]} for choice in CHOICES],
        "problem": texts[problem] if problem else "",
        "stamp": stamp,
        "most": MAX_TEXT,
    }
    return _page(request, "form", opened.link.project, texts, known, status, trial)


def _part(kind: str, text: str, texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "kind": kind,
        "label": texts[kind],
        "preview": markup.preview(text) if markup.is_long(text) else "",
        "html": markup.rendered(text),
        "is_cut": len(text) > markup.SHOWN,
    }


def _ratings(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"value": value, "text": texts[name], "icon": icon} for value, name, icon in RATINGS]


def thanks(request: HttpRequest, opened: Opened, said: Said, trial: Trial | None = None) -> HttpResponse:
    texts = texts_for(opened.link.project, _language(request, trial))
    known = {
        "said": said,
        "said_rating": said.rating,
        "ratings": _ratings(texts),
        "changeable": not opened.is_final,
    }
    return _page(request, "thanks", opened.link.project, texts, known, trial=trial)


def failure(request: HttpRequest, error: AppError, project: Project | None) -> HttpResponse:
    """Why there is no form. It says nothing of what was sent."""
    name = FAILURES.get(error.code) or FAILURES.get(error.http_status, "trouble")
    response = failure_named(name, request, project, error.http_status)
    for header, value in headers_of(error).items():
        response[header] = value
    return response


def failure_named(
    name: str, request: HttpRequest, project: Project | None, status: int = 200, trial: Trial | None = None
) -> HttpResponse:
    texts = texts_for(project, _language(request, trial))
    known = {"failure_title": texts[f"{name}_title"], "failure_text": texts[name]}
    return _page(request, "failure", project, texts, known, status, trial)


def _language(request: HttpRequest, trial: Trial | None) -> str:
    return trial.language if trial else language_of(request)


def _page(
    request: HttpRequest,
    template: str,
    project: Project | None,
    texts: Mapping[str, str],
    known: Mapping[str, Any],
    status: int = 200,
    trial: Trial | None = None,
) -> HttpResponse:
    origins = project.setting("widget_origins") if project else []
    style = looks.style(project.setting("widget_accent") if project else PLAIN_ACCENT, trial.scheme if trial else "")
    # The site's own pages may show it too: the owners' demo does.
    own = f"{request.scheme}://{request.get_host()}"
    script = looks.frame_script()
    language = _language(request, trial)
    frame = {
        "texts": texts,
        "project": project,
        "logo": project.setting("widget_logo") if project else "",
        "language": language,
        "direction": "rtl" if language in RIGHT_TO_LEFT else "ltr",
        "style": style.text,
        "script": script.text if project and not trial else "",
        "origins": " ".join([own, *origins]),
    }
    html = render_to_string(f"feedback_widget/{template}.html", {**frame, **known})
    response = HttpResponse(html, status=status)
    ancestors = " ".join(["'self'", *origins]) if project else "'none'"
    policy = f"default-src 'none'; style-src {style.source}; img-src data:; base-uri 'none'; "
    if trial:
        policy += "form-action 'none'; sandbox; frame-ancestors 'self'"
    else:
        policy += f"form-action 'self'; script-src {script.source}; frame-ancestors {ancestors}"
    response["Content-Security-Policy"] = policy
    if trial or not origins:
        response["X-Frame-Options"] = "SAMEORIGIN" if project else "DENY"
    response["Content-Language"] = language
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store"
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response
