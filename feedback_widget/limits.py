"""How often links may be opened and answered. What an owner can set stands in the project's settings."""

from agentloop import ratelimit
from agentloop.models import Project
from agentloop.signing import Link

# A whole office may sit behind one address.
OPENINGS_PER_SECOND, OPENINGS_AT_ONCE = 100, 200
# Before it is known whose link it is.
POSTS_PER_SECOND, POSTS_AT_ONCE = 20, 100


def take_opening(address: str) -> None:
    """One opening by an address. Raises TooManyRequests, as each of these does."""
    ratelimit.take_named(f"widget:open:{address}", OPENINGS_PER_SECOND, OPENINGS_AT_ONCE)


def take_post(address: str) -> None:
    """One form sent by an address, whatever it holds: so that forged ones don't cost more than opening."""
    ratelimit.take_named(f"widget:post:{address}", POSTS_PER_SECOND, POSTS_AT_ONCE)


def take_submission(link: Link, address: str) -> None:
    """One answer to a link: limited for the link, for the address and for the project."""
    project = link.project
    _take(project, f"link:{link.identity.hex()}", "feedback_per_link")
    _take(project, f"address:{address}", "feedback_per_address")
    _take(project, "all", "feedback_per_project")


def _take(project: Project, name: str, setting: str) -> None:
    a_minute = project.setting(setting)
    ratelimit.take_named(f"widget:{project.id.hex}:{name}", a_minute / 60, a_minute)
