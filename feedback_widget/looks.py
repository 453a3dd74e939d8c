"""How the page looks: its one style sheet, with the project's accent made readable on light and dark."""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

HERE = Path(__file__).parent
LIGHT, DARK = "#ffffff", "#1a1b20"
INKS = ("#ffffff", "#000000")
# WCAG 2.2: text, and text on the accent, needs 4.5 to 1.
LEAST_CONTRAST = 4.5
STEPS = 50

Colour = tuple[int, int, int]


def _colour(text: str) -> Colour:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _luminance(colour: Colour) -> float:
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG counts it, from 1 to 21."""
    lighter, darker = sorted((_luminance(_colour(one)), _luminance(_colour(other))), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(accent: str, ground: str) -> str:
    """The accent, or as little as needed darker or lighter, so that it can be read on `ground`."""
    end = "#000000" if _luminance(_colour(ground)) > 0.4 else "#ffffff"
    for step in range(STEPS + 1):
        mixed = _mix(accent, end, step / STEPS)
        if contrast(mixed, ground) >= LEAST_CONTRAST:
            return mixed
    return end


def _mix(one: str, other: str, share: float) -> str:
    parts = (round(a + (b - a) * share) for a, b in zip(_colour(one), _colour(other), strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


def ink_on(accent: str) -> str:
    """White or black, whichever is easier to read on the accent: one of them always reaches 4.5."""
    return max(INKS, key=lambda ink: contrast(ink, accent))


@dataclass(frozen=True, slots=True)
class Inline:
    """What stands inside the page, and the hash by which its Content-Security-Policy lets it stand there."""

    text: str
    source: str


def _inline(text: str) -> Inline:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Inline(text, f"'sha256-{digest}'")


@lru_cache(maxsize=1000)
def style(accent: str, scheme: str = "") -> Inline:
    """The style sheet for a project's accent: as it is where text stands on it, made readable where it is the text.

    `scheme` is light or dark, whatever the reader's system says.
    """
    accents = (
        f":root{{--fill:{accent};--on-fill:{ink_on(accent)};--accent:{readable(accent, LIGHT)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{--accent:{readable(accent, DARK)}}}}}"
    )
    text = accents + _small(HERE / "page.css")
    if scheme:
        text = text.replace("(prefers-color-scheme:dark)", "all" if scheme == "dark" else "not all")
        text = text.replace("color-scheme:light dark", f"color-scheme:{scheme}")
    return _inline(text)


@cache
def frame_script() -> Inline:
    """Tells the page around a frame how tall the form is."""
    return _inline((HERE / "frame.js").read_text().strip())


@cache
def _small(path: Path) -> str:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    return re.sub(r"\s*([{}:;,>])\s*", r"\1", re.sub(r"\s+", " ", text)).replace(";}", "}").strip()
