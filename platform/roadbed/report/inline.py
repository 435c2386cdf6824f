"""Figures inside a page: SVG whose inks are CSS variables, so that one drawing suits light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

# An ink has a name, which is that of the page's CSS variable, and its colour in the light, which pictures of their own
# (PNG, SVG) have.
INKS = {
    "card": "#ffffff",
    "ink": "#1c2024",
    "faint": "#5b626b",
    "line": "#dcdad3",
    "winner": "#c2410c",
    "failed": "#9d174d",
    "score-0": "#b4c3cb",
    "score-1": "#94abb8",
    "score-2": "#7391a4",
    "score-3": "#517690",
    "score-4": "#305a7b",
    "score-5": "#0b3d63",
}
CARD, INK, FAINT, LINE, WINNER, FAILED = (INKS[name] for name in ("card", "ink", "faint", "line", "winner", "failed"))
SCORE_INKS = tuple(color for name, color in INKS.items() if name.startswith("score-"))
"""From the worst score to the best: ever darker, told apart without seeing colours."""
FONT_PT = 12
POINTS_PER_INCH = 72
# Longer names and choices are cut in pictures; the tables have them whole.
NAME_LETTERS, CHOICE_LETTERS = 40, 16

_STYLE = {
    "font.size": FONT_PT,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.facecolor": CARD,
    "figure.facecolor": CARD,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": FONT_PT,
    # A name is no formula, whatever signs it has.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "roadbed",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, matplotlib draws with our inks, and takes text as text."""
    with matplotlib.rc_context(_STYLE):
        yield


def drawn_words(text: str, most_letters: int) -> str:
    """Text as it can be drawn: shortened, and "?" for letters that the pictures' font may lack."""
    text = text.encode("latin-1", "replace").decode("latin-1")
    return text if len(text) <= most_letters else f"{text[: most_letters - 1]}…"


def inline_svg(figure: Figure, *, name: str, label: str) -> str:
    """The figure as an element for a page, of class `name`, told by `label` to those who do not see it.

    Must be called within `drawing`. What could name a place outside the page (namespaces, metadata) is left out, and
    ids begin with `name`, which is to be unique on the page.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(stream.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    referred = {found for element in root.iter() for value in element.attrib.values() for found in _references(value)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _attribute(value, name)
            for key, value in element.attrib.items()
            if key != "id" or value in referred
        }
        if "id" in element.attrib:
            element.attrib["id"] = f"{name}-{element.attrib['id']}"
    body = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    box = escape(root.attrib["viewBox"])
    return f'<svg class="{escape(name)}" viewBox="{box}" role="img" aria-label="{escape(label)}">{body}</svg>'


def _references(value: str) -> list[str]:
    return re.findall(r"(?:^|url\()#([\w-]+)", value)


def _attribute(value: str, name: str) -> str:
    """An attribute with variables for inks, the page's font, a hundredth of a point at most, and ids of this figure."""
    if not value.startswith("#"):
        value = re.sub(r"#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], found[0]), value)
    value = re.sub(r" ?font-family:[^;]*;", "", value)
    value = re.sub(r"(\.\d\d)\d+", r"\1", value)
    return re.sub(r"(^|url\()#", rf"\1#{name}-", value)


_VARIABLES = {color: f"var(--{name})" for name, color in INKS.items()}
