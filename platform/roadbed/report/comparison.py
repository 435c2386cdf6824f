"""Several trainings in one picture: loss and mIoU of each over optimiser steps. Reads what `curves` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from roadbed.report.curves import SMOOTHING_SHARE, Lines, finish_axes, smooth
from roadbed.report.pictures import save_figure


def draw_comparison(lines_of_runs: Mapping[str, Lines], path: Path) -> None:
    """Write the curves of runs, given by name, over each other as PNG or SVG. Raises ValueError if there is no run."""
    if not lines_of_runs:
        raise ValueError("there are no runs to draw")
    figure = Figure(figsize=(10, 8), dpi=120, layout="constrained")
    loss_axes, score_axes = figure.subplots(2, 1, sharex=True)
    figure.suptitle(" / ".join(lines_of_runs), fontsize=14)
    loss_axes.set_ylabel("loss, nats per pixel (smoothed)")
    score_axes.set_ylabel("mIoU, %")
    colors = matplotlib.color_sequences["tab10"]
    for place, (name, lines) in enumerate(lines_of_runs.items()):
        color = colors[place % len(colors)]
        steps = [line for line in lines if "loss" in line]
        losses = np.array([line["loss"] for line in steps], dtype=float)
        half_window = round(SMOOTHING_SHARE * len(losses) / 2)
        loss_axes.plot([line["step"] for line in steps], smooth(losses, half_window), color=color, label=name)
        evaluations = [line for line in lines if "miou" in line]
        scores = [100 * line["miou"] for line in evaluations]
        label = f"{name}: best {max(scores):.1f}" if scores else f"{name}: not evaluated yet"
        score_axes.plot([line["step"] for line in evaluations], scores, color=color, marker="o", label=label)
    loss_axes.set_ylim(bottom=0)
    score_axes.set_ylim(0, 100)
    loss_axes.legend(frameon=False, loc="upper right")
    score_axes.legend(frameon=False, loc="lower right")
    finish_axes([loss_axes, score_axes])
    save_figure(figure, path)
