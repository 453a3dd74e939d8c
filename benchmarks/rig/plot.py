"""Lines over panels as an SVG that reads in light and in dark: no library, no script."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 760, 170, 52, 150, 34, 62
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .small { font-size: 12px; fill: #57606a }
.grid { stroke: #d0d7de } .mark { stroke: #8c959f; stroke-dasharray: 4 4 } .line { fill: none; stroke-width: 2.25 }
.c0 { stroke: #b42318 } .c1 { stroke: #1a5fb4 } .c2 { stroke: #6f7782 }
.t0 { fill: #b42318 } .t1 { fill: #1a5fb4 } .t2 { fill: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .mark { stroke: #656c76 }
  .c0 { stroke: #ff7b72 } .c1 { stroke: #79c0ff } .c2 { stroke: #9198a1 }
  .t0 { fill: #ff7b72 } .t1 { fill: #79c0ff } .t2 { fill: #9198a1 }
}"""


@dataclass(frozen=True)
class Panel:
    """Shares from 0 to 1, one list for each line, evenly spaced in time."""

    title: str
    lines: Sequence[tuple[str, Sequence[float]]]


def drawn(panels: Sequence[Panel], *, title: str, steps: int, mark: int, mark_label: str) -> str:
    height = TOP + len(panels) * (PANEL + GAP) + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
    ]
    for place, panel in enumerate(panels):
        parts += _panel(panel, TOP + place * (PANEL + GAP), steps, mark, mark_label if place == 0 else "")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, top: float, steps: int, mark: int, mark_label: str) -> list[str]:
    right = WIDTH - RIGHT

    def x(step: float) -> float:
        return LEFT + (right - LEFT) * step / steps

    def y(share: float) -> float:
        return top + PANEL * (1 - share)

    parts = [f'<text x="{LEFT}" y="{top - 12}">{escape(panel.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>')
        parts.append(f'<text class="small" x="{LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for step in range(0, steps + 1, steps // 4):
        parts.append(
            f'<text class="small" x="{x(step):.1f}" y="{top + PANEL + 18}" text-anchor="middle">{step:,}</text>'
        )
    parts.append(f'<line class="mark" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{top}" y2="{top + PANEL}"/>')
    if mark_label:
        at = f'x="{x(mark) - 8:.1f}" y="{y(0.5) - 8:.1f}"'
        parts.append(f'<text class="small" {at} text-anchor="end">{escape(mark_label)}</text>')
    labelled: list[float] = []
    for number, (_, shares) in enumerate(panel.lines):
        width = steps / len(shares)
        points = " ".join(f"{x(width * (at + 0.5)):.1f},{y(share):.1f}" for at, share in enumerate(shares))
        parts.append(f'<polyline class="line c{number}" points="{points}"/>')
        labelled.append(y(shares[-1]) + 4)
    for number, at in zip(range(len(labelled)), _apart(labelled), strict=True):
        parts.append(f'<text class="t{number}" x="{right + 10}" y="{at:.1f}">{escape(panel.lines[number][0])}</text>')
    return parts


def _apart(heights: Sequence[float]) -> list[float]:
    """Moves labels up until none covers another."""
    placed = list(heights)
    last = float("inf")
    for number in sorted(range(len(heights)), key=lambda one: -heights[one]):
        last = placed[number] = min(heights[number], last - 17)
    return placed
