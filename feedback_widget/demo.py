"""What the widget looks like, for owners: each way of putting it on a page, with a link that works."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from agentloop.models import Role, Scope
from agentloop.pages import MemberRequest, member_page, memberships_of, render_page, site_address
from feedback_widget.samples import sample_link

SHOWN = (
    ("frame", "A frame", "The form stands in the page and grows with what it holds."),
    ("button", "A button", "The form opens below the button."),
    ("link", "A link", "The form opens in a tab of its own: for mails and for pages that allow no script."),
)


@login_required
def demo_of_own(request: HttpRequest) -> HttpResponse:
    """The demo of the first project that the visitor owns."""
    owned = memberships_of(request.user).filter(role=Role.OWNER).first()  # type: ignore[arg-type]
    if owned is None:
        raise Http404
    return redirect("widget_demo", project=owned.project.slug)


@member_page(Scope.ADMIN)
def demo(request: MemberRequest) -> HttpResponse:
    link = sample_link(request.project)
    base = site_address(request)
    known = {
        "link": link,
        "full_link": f"{base}{link}" if link else "",
        "script": f"{base}{settings.STATIC_URL}widget/embed.js",
        "shown": [{"kind": kind, "title": title, "about": about} for kind, title, about in SHOWN],
        "origins": request.project.setting("widget_origins"),
    }
    return render_page(request, "feedback_widget/demo.html", known)
