"""The pictures of `roadbed bench scale` and `roadbed bench order`, as small PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roadbed.bench.order import Mixing, Samples, full_batches
from roadbed.bench.scale import ScaleFigures
from roadbed.report.files import replacing

BLUE, ORANGE, GREY = "#1f5fa8", "#c2410c", "#6b6b6b"
MAX_POINTS = 2_000


def draw_scale(figures: ScaleFigures, path: Path) -> None:
    """Cost per batch, start of an epoch, and start of a process. Writes PNG."""
    figure = Figure(figsize=(11, 3.6), dpi=100, layout="constrained")
    batch_axes, order_axes, start_axes = figure.subplots(1, 3)
    sizes = [cost.num_samples for cost in figures.batches]
    _draw_line(batch_axes, sizes, [cost.batch_us for cost in figures.batches], "order of a batch, microseconds")
    batch_axes.set_ylim(bottom=0, top=2 * max(cost.batch_us for cost in figures.batches))
    _draw_line(order_axes, sizes, [cost.order_ms for cost in figures.batches], "start of an epoch, milliseconds")
    order_axes.set_yscale("log")
    _draw_start(start_axes, figures)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def draw_mixing(samples: Samples, rows: Sequence[Mixing], path: Path, *, global_batch: int) -> None:
    """For each row when each sample is seen: place in the shards against batch. Writes PNG."""
    figure = Figure(figsize=(3 * len(rows), 3.4), dpi=100, layout="constrained")
    all_axes = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    for axes, row in zip(all_axes, rows, strict=True):
        batches_BG = full_batches(samples, global_batch=global_batch, window_shards=row.window_shards, epoch=0)
        drawn = np.stack([np.arange(batches_BG.size) // global_batch, batches_BG.ravel()])
        batches, places = drawn[:, drawn[1] % max(1, batches_BG.size // MAX_POINTS) == 0]
        axes.plot(batches, places, linestyle="none", marker=".", markersize=2, color=BLUE)
        axes.set_title("full permutation" if row.is_full else f"window of {row.window_shards}", fontsize=10)
        axes.set_xlabel("global batch")
    all_axes[0].set_ylabel("place in the shards")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def _draw_line(axes: Axes, sizes: Sequence[int], values: Sequence[float], title: str) -> None:
    axes.plot(sizes, values, color=BLUE, marker="o", linewidth=2)
    axes.set_xscale("log")
    axes.set_xlabel("samples")
    axes.set_title(title, fontsize=10)
    axes.grid(visible=True, color="#e3e3e3", linewidth=0.8)


def _draw_start(axes: Axes, figures: ScaleFigures) -> None:
    start = figures.start
    parts = {
        "Python, numpy": start["bare_mb"],
        "imports": start["imported_mb"] - start["bare_mb"],
        "the dataset": start["peak_mb"] - start["imported_mb"],
    }
    left = 0.0
    for (name, megabytes), color in zip(parts.items(), (GREY, ORANGE, BLUE), strict=True):
        axes.barh(0, megabytes, left=left, color=color, label=f"{name}: {megabytes:.0f} MB")
        left += megabytes
    axes.set_xlim(0, max(200, 1.05 * left))
    axes.set_ylim(-1, 1.6)
    axes.set_yticks([])
    axes.set_xlabel("peak memory of a process, MB")
    axes.set_title(f"{figures.num_samples:,} samples, started in {start['start_s']:.2f} s", fontsize=10)
    axes.legend(frameon=False, loc="upper left")
