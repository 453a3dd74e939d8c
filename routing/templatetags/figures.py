"""How the goals' pages write figures."""

from django import template

register = template.Library()
NONE = "–"


@register.filter
def percent(share: float | None) -> str:
    """0.8123 as 81%; what is not quite nothing, or not quite all, is not shown as if it were."""
    if share is None:
        return NONE
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 < share < 1:
        return ">99%"
    return f"{share:.0%}"


@register.filter
def mean(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


@register.filter
def usd(cost: float | None) -> str:
    """Two significant digits: what a call costs is a cent or a hundredth of one."""
    if cost is None:
        return NONE
    if cost >= 0.995:
        return f"${cost:,.2f}"
    return f"${float(f'{cost:.2g}'):.6f}".rstrip("0").rstrip(".") if cost else "$0"


@register.filter
def duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return NONE
    return f"{milliseconds:.0f} ms" if milliseconds < 995 else f"{milliseconds / 1000:.1f} s"
