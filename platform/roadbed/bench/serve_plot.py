"""The picture of `roadbed bench serve`: answers a second by number of askers, and latencies at 70 % of the load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from roadbed.bench.serve_race import ASKERS, OURS, Result

OUR_COLOR, THEIR_COLOR = "#1f77b4", "#8c8c8c"


def draw_serving(results: Sequence[Result], path: Path) -> None:
    """Write a PNG: bars for the medians over the rounds, a dot for each round."""
    figure = Figure(figsize=(10, 0.7 * len(results) + 1.6), layout="constrained")
    speed, latency = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    for row, result in enumerate(results):
        color = OUR_COLOR if result.name.startswith(OURS) else THEIR_COLOR
        for place, askers in enumerate(ASKERS):
            values = result.per_s.get(askers)
            if values:
                at = row + 0.27 * (place - 1)
                speed.barh(at, median(values), height=0.25, color=color, alpha=(place + 1) / len(ASKERS))
                speed.plot(values, [at] * len(values), ".", color="black", markersize=3)
                speed.text(max(values), at, f" {median(values):.0f}", va="center", fontsize=8)
        for values, offset, alpha in ((result.p50_ms, -0.2, 1.0), (result.p99_ms, 0.2, 0.45)):
            if values:
                latency.barh(row + offset, median(values), height=0.38, color=color, alpha=alpha)
                latency.text(median(values), row + offset, f" {median(values):.0f}", va="center", fontsize=8)
    speed.set_yticks(range(len(results)), [result.name for result in results])
    speed.invert_yaxis()
    speed.set_title(f"answers/s of {', '.join(map(str, ASKERS))} askers (pale to full)", fontsize=10)
    latency.set_title("ms at 70 %: p50, p99 (pale)", fontsize=10)
    for axes in (speed, latency):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
    figure.savefig(path, dpi=130)
