"""How a training went, as one picture: loss, learning rate and scores over optimiser steps.

Reads the metric lines of a run (`Run.lines("metrics")`): steps carry `step`, `loss` and `learning_rate`, evaluations
carry `step`, `epoch`, `miou`, `pixel_accuracy` and perhaps `iou_per_class`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from roadbed.report.pictures import save_figure

LOSS_COLOR = "#1f5fa8"
RATE_COLOR = "#6b6b6b"
MIOU_COLOR = "#c2410c"
ACCURACY_COLOR = "#15803d"
# Ten that are told apart; beyond ten classes they come again with dashes.
CLASS_COLORS = tuple(matplotlib.color_sequences["tab10"])
CLASS_STYLES = ("-", "--", ":")
# The smoothed loss averages over this share of all steps.
SMOOTHING_SHARE = 0.03

Lines = Sequence[Mapping[str, Any]]


def draw_curves(lines: Lines, path: Path, *, title: str) -> None:
    """Write the curves as PNG or SVG. Raises ValueError if there is no line at all."""
    if not lines:
        raise ValueError("there are no metric lines to draw")
    evaluations = [line for line in lines if "miou" in line]
    has_classes = any("iou_per_class" in line for line in evaluations)
    heights = (3, 1, 3, 4) if has_classes else (3, 1, 3)
    figure = Figure(figsize=(10, 13 if has_classes else 9), dpi=120, layout="constrained")
    loss_axes, rate_axes, *score_axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    figure.suptitle(title, fontsize=14)
    _draw_loss(loss_axes, [line for line in lines if "loss" in line])
    _draw_rate(rate_axes, [line for line in lines if "learning_rate" in line])
    _draw_scores(score_axes[0], evaluations)
    if has_classes:
        _draw_classes(score_axes[1], [line for line in evaluations if "iou_per_class" in line])
    finish_axes([loss_axes, rate_axes, *score_axes])
    save_figure(figure, path)


def finish_axes(stacked: Sequence[Axes]) -> None:
    """What all panels over the same steps have in common: the grid, the steps below."""
    stacked[-1].set_xlabel("optimiser steps")
    stacked[-1].set_xlim(left=0)
    stacked[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in stacked:
        axes.grid(visible=True, color="#e3e3e3", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)


def smooth(values_N: np.ndarray[Any, Any], half_window: int) -> np.ndarray[Any, Any]:
    """Means of each value and `half_window` neighbours on either side, as many of them as there are."""
    kernel = np.ones(2 * half_window + 1)
    inner = slice(half_window, half_window + len(values_N))
    counts_N = np.convolve(np.ones(len(values_N)), kernel)[inner]
    return np.asarray(np.convolve(values_N, kernel)[inner] / counts_N)


def _draw_loss(axes: Axes, lines: Lines) -> None:
    axes.set_ylabel("loss, nats per pixel")
    if not lines:
        _say(axes, "no step yet")
        return
    steps = [line["step"] for line in lines]
    losses = np.array([line["loss"] for line in lines], dtype=float)
    half_window = round(SMOOTHING_SHARE * len(losses) / 2)
    axes.plot(steps, losses, color=LOSS_COLOR, linewidth=0.8, alpha=0.35, label="every step")
    if half_window:
        label = f"mean over {2 * half_window + 1} steps"
        axes.plot(steps, smooth(losses, half_window), color=LOSS_COLOR, linewidth=2, label=label)
    axes.set_ylim(0, 1.2 * float(np.percentile(losses, 99.5)))
    axes.legend(frameon=False, loc="upper right")


def _draw_rate(axes: Axes, lines: Lines) -> None:
    axes.set_ylabel("learning rate")
    axes.plot([line["step"] for line in lines], [line["learning_rate"] for line in lines], color=RATE_COLOR)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))


def _draw_scores(axes: Axes, lines: Lines) -> None:
    axes.set_ylabel("evaluation, %")
    axes.set_ylim(0, 100)
    if not lines:
        _say(axes, "not evaluated yet")
        return
    steps = [line["step"] for line in lines]
    for key, label, color in (("pixel_accuracy", "pixel accuracy", ACCURACY_COLOR), ("miou", "mIoU", MIOU_COLOR)):
        axes.plot(
            steps, [100 * line[key] for line in lines], color=color, marker="o", markersize=5, linewidth=2, label=label
        )
    best = max(lines, key=lambda line: float(line["miou"]))
    axes.annotate(
        f"best {100 * best['miou']:.1f} % (epoch {best['epoch']})",
        (best["step"], 100 * best["miou"]),
        xytext=(0, -18),
        textcoords="offset points",
        ha="right" if len(lines) > 1 else "left",
        color=MIOU_COLOR,
    )
    axes.legend(frameon=False, loc="lower right")


def _draw_classes(axes: Axes, lines: Lines) -> None:
    """A line per class, named beside its end by its last IoU, the best class on top."""
    axes.set_ylabel("IoU of the classes, %")
    axes.set_ylim(0, 100)
    last = {name: iou for name, iou in lines[-1]["iou_per_class"].items() if iou is not None}
    for place, name in enumerate(sorted(last, key=lambda name: -last[name])):
        told = [(line["step"], line["iou_per_class"].get(name)) for line in lines]
        steps, ious = zip(*((step, 100 * iou) for step, iou in told if iou is not None), strict=True)
        color, style = CLASS_COLORS[place % len(CLASS_COLORS)], CLASS_STYLES[place // len(CLASS_COLORS) % 3]
        label = f"{name} {ious[-1]:.1f}"
        axes.plot(steps, ious, color=color, linestyle=style, marker="o", markersize=3, linewidth=1.5, label=label)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=RATE_COLOR)
