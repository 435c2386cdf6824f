"""Learning curves as drawings inside a page: loss, learning rate, and scores over optimiser steps."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from roadbed.report.curves import SMOOTHING_SHARE, Lines, smooth
from roadbed.report.inline import (
    FAILED,
    FAINT,
    INK,
    POINTS_PER_INCH,
    SCORE_INKS,
    WINNER,
    drawing,
    inline_svg,
)
from roadbed.words import percent

# What the page shows on wide and on narrow screens: a point of the drawing is about a pixel of the page.
SIZES_PT = {"wide": (1100, 560), "narrow": (350, 520)}
# A curve of more steps is drawn through so many of them.
MOST_POINTS = 500


def curves_for_page(lines: Lines) -> str:
    """The curves: a drawing for wide screens, one for narrow ones."""
    steps = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "miou" in line]
    drawings = []
    with drawing():
        for name, (width_pt, height_pt) in SIZES_PT.items():
            figure = Figure(figsize=(width_pt / POINTS_PER_INCH, height_pt / POINTS_PER_INCH), layout="constrained")
            loss_axes, rate_axes, score_axes = figure.subplots(3, 1, sharex=True, height_ratios=(4, 1, 4))
            _draw_loss(loss_axes, steps)
            _draw_rate(rate_axes, steps)
            _draw_scores(score_axes, evaluations)
            drawings.append(inline_svg(figure, name=f"curves-{name}", label=_label(steps, evaluations)))
    return "".join(drawings)


def _label(steps: Lines, evaluations: Lines) -> str:
    """The curves for who does not see them."""
    told = [f"Loss over {len(steps)} steps, from {steps[0]['loss']:.3f} to {steps[-1]['loss']:.3f}."] if steps else []
    told += [f"mIoU after epoch {line['epoch']}: {percent(line['miou'])}." for line in evaluations]
    return " ".join(told) or "No step yet."


def _draw_loss(axes: Axes, steps: Lines) -> None:
    axes.set_ylabel("loss")
    losses = np.array([line["loss"] for line in steps], dtype=float)
    if len(losses):
        at = np.array([line["step"] for line in steps])
        smoothed = smooth(losses, round(SMOOTHING_SHARE * len(losses) / 2))
        chosen = slice(None, None, -(-len(losses) // MOST_POINTS))
        axes.plot(at[chosen], losses[chosen], color=SCORE_INKS[0], linewidth=0.8)
        axes.plot(at[chosen], smoothed[chosen], color=SCORE_INKS[4], linewidth=2)
        axes.set_ylim(0, 1.2 * float(np.percentile(losses, 99.5)) or 1.0)
    _finish(axes)


def _draw_rate(axes: Axes, steps: Lines) -> None:
    axes.set_ylabel("rate")
    there = [line for line in steps if "learning_rate" in line][:: -(-max(len(steps), 1) // MOST_POINTS)]
    axes.plot([line["step"] for line in there], [line["learning_rate"] for line in there], color=FAINT)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(2))
    _finish(axes)


def _draw_scores(axes: Axes, evaluations: Lines) -> None:
    axes.set_ylabel("on frames not trained on, %")
    axes.set_ylim(0, 100)
    at = [line["step"] for line in evaluations]
    for key, words, color, marker in (
        ("pixel_accuracy", "pixel accuracy", FAILED, "s"),
        ("miou", "mIoU", WINNER, "o"),
    ):
        values = [100 * line[key] for line in evaluations]
        axes.plot(at, values, color=color, marker=marker, markersize=5, linewidth=2, label=words)
    if evaluations:
        axes.legend(loc="lower right")
    else:
        axes.text(0.5, 0.5, "not evaluated yet", transform=axes.transAxes, ha="center", color=INK)
    axes.set_xlabel("optimiser steps")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
