"""The picture of `roadbed bench train`: images/s of the contenders, and where the time of a step goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from roadbed.bench.train_phases import PHASES
from roadbed.bench.train_race import OURS, Result

COLORS = {"bare": "#8c8c8c", OURS: "#1f77b4", "reference": "#c7c7c7"}
PHASE_COLORS = ("#d62728", "#1f77b4", "#6baed6", "#2ca02c", "#98df8a", "#bdbdbd")


def draw_training(results: Sequence[Result], path: Path) -> None:
    """Write a PNG with a bar for each contender (the median, a dot for each round) and its phases beside."""
    figure = Figure(figsize=(10, 0.45 * len(results) + 1.8), layout="constrained")
    speed, phases = figure.subplots(1, 2, sharey=True)
    for row, result in enumerate(results):
        speed.barh(row, median(result.images_per_s), height=0.7, color=COLORS[result.name])
        speed.plot(result.images_per_s, [row] * len(result.images_per_s), ".", color="black", markersize=3)
        speed.text(max(result.images_per_s), row, f"  {median(result.images_per_s):.2f}", va="center", fontsize=8)
        left = 0.0
        for phase, color in zip(PHASES, PHASE_COLORS, strict=True):
            share = result.phases.get(phase, 0.0)
            phases.barh(row, share, left=left, height=0.7, color=color, label=phase if row == 0 else None)
            left += share
    names = [f"{result.name}, {result.num_workers} worker{'s' * (result.num_workers > 1)}" for result in results]
    speed.set_yticks(range(len(results)), names)
    speed.invert_yaxis()
    speed.set_title("images/s", fontsize=10)
    phases.set_title("where the time of a step goes", fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(PHASES), fontsize=8, frameon=False)
    for axes in (speed, phases):
        axes.spines[["top", "right"]].set_visible(False)
    speed.margins(x=0.12)
    figure.savefig(path, dpi=130)
