"""The picture of `roadbed bench encodings`: images/s behind each link, and bytes per sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from roadbed.bench.encodings import LINKS, EncodingFigures

LINK_COLORS = ("#1f5fa8", "#6f9fd0", "#c2410c")
BYTES_COLOR = "#6b6b6b"
BAR_HEIGHT = 0.26


def draw_encodings(figures: Sequence[EncodingFigures], path: Path) -> None:
    """Write a PNG: for each encoding a bar per link, the median over the rounds, and a dot for each round."""
    figure = Figure(figsize=(10, 0.85 * len(figures) + 1.6), layout="constrained")
    speed, size = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    for row, encoding in enumerate(figures):
        for place, (link, color) in enumerate(zip(LINKS, LINK_COLORS, strict=True)):
            values, y = encoding.images_per_s[link], row + (place - 1) * BAR_HEIGHT
            label = link if row == 0 else None
            speed.barh(y, median(values), height=BAR_HEIGHT, color=color, label=label)
            speed.plot(values, [y] * len(values), ".", color="black", markersize=3)
            speed.text(max(values), y, f" {median(values):.0f}", va="center", fontsize=8)
        kilobytes = (encoding.image_bytes + encoding.mask_bytes) / 1000
        size.barh(row, kilobytes, height=2 * BAR_HEIGHT, color=BYTES_COLOR)
        size.text(kilobytes, row, f" {kilobytes:.0f}", va="center", fontsize=8)
    speed.set_yticks(range(len(figures)), [encoding.name for encoding in figures])
    speed.invert_yaxis()
    speed.set_title("images/s of the loader, cold", fontsize=10)
    size.set_title("kB per sample, frame and mask", fontsize=10)
    for axes in (speed, size):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.14)
    figure.legend(loc="outside lower center", ncols=len(LINKS), fontsize=9, frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})
