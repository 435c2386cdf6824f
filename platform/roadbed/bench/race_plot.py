"""The picture of `roadbed bench loader`: images/s cold and warm, and CPU seconds per 1,000 images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from roadbed.bench.race import Result

OURS, THEIRS, FAINT = "#1f77b4", "#8c8c8c", 0.45


def draw_race(results: Sequence[Result], path: Path) -> None:
    """Write a PNG with a bar for each contender: the median over the rounds, and a dot for each round."""
    figure = Figure(figsize=(10, 0.55 * len(results) + 1.6), layout="constrained")
    speed, cpu = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    for row, result in enumerate(results):
        color = OURS if result.name.startswith("roadbed") else THEIRS
        for values, offset, alpha in ((result.cold_per_s, 0.2, FAINT), (result.warm_per_s, -0.2, 1.0)):
            speed.barh(row - offset, median(values), height=0.38, color=color, alpha=alpha)
            speed.plot(values, [row - offset] * len(values), ".", color="black", markersize=3)
            speed.text(max(values), row - offset, f" {median(values):.0f}", va="center", fontsize=8)
        for values, offset, alpha in (
            (result.cold_cpu_s_per_1000, 0.2, FAINT),
            (result.warm_cpu_s_per_1000, -0.2, 1.0),
        ):
            cpu.barh(row - offset, median(values), height=0.38, color=color, alpha=alpha)
            cpu.text(median(values), row - offset, f" {median(values):.1f}", va="center", fontsize=8)
    speed.set_yticks(range(len(results)), [result.name for result in results])
    speed.invert_yaxis()
    speed.set_title("images/s: first epoch (pale), later epochs (full)", fontsize=10)
    cpu.set_title("CPU seconds per 1,000 images", fontsize=10)
    for axes in (speed, cpu):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
    figure.savefig(path, dpi=130)
