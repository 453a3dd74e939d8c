"""The settings' page of the feedback form: what is typed stands beside it as readers would see it."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse, QueryDict
from django.views.decorators.http import require_http_methods

from agentloop import tenancy
from agentloop.errors import Invalid
from agentloop.models import Project, Scope, SigningKey
from agentloop.pages import MemberRequest, member_page, site_address
from agentloop.settings_forms import SettingsForm
from agentloop.settings_pages import REFUSED, done, render_settings
from agentloop.signing import Link
from feedback_widget import pages
from feedback_widget.look_form import ACCESS, LookForm, legible, tried, turned
from feedback_widget.samples import QUESTION, RESPONSE
from feedback_widget.submissions import Opened, Said
from feedback_widget.words_form import EVERY, LANGUAGE_WANTED
from review.models import Rating

SCHEMES = (("", "System"), ("light", "Light"), ("dark", "Dark"))
# Each failure goes by the name of its texts.
FAILURES = {
    "expired": "A link that has expired",
    "forged": "A link that was changed",
    "revoked": "A link that was withdrawn",
    "gone": "An answer that is deleted",
    "long": "A link that is too long",
    "often": "Too many answers at once",
    "large": "Too much text",
    "trouble": "Trouble of our own",
}
STATES = (("form", "The form"), ("thanks", "After sending"), *FAILURES.items())
NOTES, WORDS = "feedback_widget/_look_notes.html", "feedback_widget/_words.html"


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def widget_settings(request: MemberRequest) -> HttpResponse:
    """`act=check` tells what is to be said about the values that were typed, and `act=words` shows the words in
    another language. Neither keeps anything."""
    if request.method == "GET":
        return _page(request, LookForm(request.project))
    if request.POST.get("group") == ACCESS.slug:
        return _save_access(request)
    form = LookForm(request.project, request.POST, request.FILES)
    if request.POST.get("act") == "words":
        form = turned(request.project, form)
        return _page(request, form, trial=tried(request.project, form), piece=WORDS)
    trial = tried(request.project, form)
    if form.errors or request.POST.get("act") == "check":
        return _page(request, form, trial=trial)
    changed = tenancy.change_project(
        project=request.project, actor=request.actor, name=form.cleaned_data["name"], settings=form.changes()
    )
    return done(request, "The feedback form is saved: every link shows it so from now on.", "settings_widget", changed)


def _save_access(request: MemberRequest) -> HttpResponse:
    form = SettingsForm(ACCESS, request.project, request.POST)
    if form.is_valid():
        try:
            tenancy.change_settings(project=request.project, actor=request.actor, changes=form.changes())
            return done(request, "Saved.", "settings_widget", request.project, ACCESS.slug)
        except Invalid as error:
            form.show_refused(error)
    return _page(request, LookForm(request.project), access=form)


def _page(
    request: MemberRequest,
    form: LookForm,
    *,
    trial: Project | None = None,
    access: SettingsForm | None = None,
    piece: str = NOTES,
) -> HttpResponse:
    project = request.project
    accent = (trial or project).setting("widget_accent")
    known = {
        "form": form,
        "access": access or SettingsForm(ACCESS, project),
        "accent": accent,
        "legible": legible(accent),
        "logo": project.setting("widget_logo"),
        "every": EVERY,
        "seen": _seen(request.POST),
        "languages": settings.LANGUAGES,
        "schemes": SCHEMES,
        "states": STATES,
        "script": f"{site_address(request)}{settings.STATIC_URL}widget/embed.js",
    }
    asks = request.POST.get("act") == "words"
    is_refused = bool(form.errors or (access and access.errors)) and not request.htmx and not asks
    template = "feedback_widget/settings.html"
    return render_settings(request, template, known, partial=piece, status=REFUSED if is_refused else 200)


# --- the preview ----------------------------------------------------------------------------------------------


@member_page(Scope.ADMIN)
@require_http_methods(["GET", "POST"])
def preview(request: MemberRequest) -> HttpResponse:
    """A feedback page as readers would see it with what is typed. It can send nothing, and nothing is kept."""
    project, seen = request.project, _seen(request.GET)
    if request.method == "POST":
        project, seen = tried(project, LookForm(project, request.POST, request.FILES)), _seen(request.POST)
    trial = pages.Trial(seen["language"], seen["scheme"])
    if seen["state"] in FAILURES:
        return pages.failure_named(seen["state"], request, project, trial=trial)
    # Nobody signed this one: it is shown, and nothing opens it.
    opened = Opened(Link(SigningKey(project=project), 0, b"", question=QUESTION, response=RESPONSE), QUESTION, RESPONSE)
    if seen["state"] == "thanks":
        return pages.thanks(request, opened, Said(Rating.CORRECT), trial)
    return pages.form(request, opened, Said(Rating.PARTIAL), "", trial=trial)


def _seen(said: QueryDict) -> dict[str, Any]:
    """How one looks at it: in which language and colours, and at which page."""
    # Whoever turns to another language's words wants to see them.
    turned_to = said.get(LANGUAGE_WANTED) if said.get("act") == "words" else None
    return {
        "language": _one_of(settings.LANGUAGES, turned_to if turned_to not in (None, EVERY) else said.get("language")),
        "scheme": _one_of(SCHEMES, said.get("scheme")),
        "state": _one_of(STATES, said.get("state")),
        "is_wide": said.get("width") == "page",
    }


def _one_of(choices: Any, wanted: str | None) -> str:
    names: list[str] = [name for name, _ in choices]
    return wanted if wanted in names else names[0]
