"""How much a project may report in a day. Nothing plausible is refused: what comes beyond is answered and set aside."""

from typing import Any

from agentloop import ratelimit
from agentloop.errors import TooManyRequests
from agentloop.models import Project
from agentloop.refusals import count_refusal

SET_ASIDE: dict[str, Any] = {
    "status": "set_aside",
    "reason": "This project has used up its `reports_per_day`: its owner sees how much was set aside.",
}
DAY_S = 86_400


def is_within_quota(project: Project) -> bool:
    """Whether one more request with reports is recorded. Those that are not are counted where the owner sees them."""
    a_day = project.setting("reports_per_day")
    try:
        ratelimit.take_named(f"reports:{project.id.hex}", a_day / DAY_S, a_day)
    except TooManyRequests:
        count_refusal(project, "over_quota")
        return False
    return True
