"""Figures of matplotlib as files: PNG or SVG, by the suffix."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from roadbed.errors import UsageError
from roadbed.report.files import replacing

PICTURE_SUFFIXES = (".png", ".svg")


def check_picture(path: Path) -> Path:
    """The path. Raises UsageError if its suffix is that of no picture that we draw."""
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(f"{path}: curves are drawn as PNG or SVG; give a name that ends in .png or .svg")
    return path


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG, by the suffix. The same figure gives the same bytes: no date, no random ids."""
    kind = check_picture(path).suffix.lower().removeprefix(".")
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, matplotlib.rc_context({"svg.hashsalt": "roadbed"}):
        figure.savefig(partial, format=kind, metadata=metadata)
