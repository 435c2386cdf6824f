"""Drawings of an evaluation's page: the reliability diagram."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from roadbed.evaluation import Evaluation
from roadbed.evaluation.calibration import NUM_BINS, UNIT
from roadbed.report.inline import FAINT, INK, LINE, POINTS_PER_INCH, SCORE_INKS, WINNER, drawing, inline_svg
from roadbed.words import percent

# What the page shows on wide and on narrow screens: a point of the drawing is about a pixel of the page.
SIZES_PT = {"wide": (520, 420), "narrow": (350, 330)}


def reliability_for_page(evaluation: Evaluation) -> str:
    """Share of right pixels over confidence, and how many pixels are how sure; "" if no confidences were counted."""
    bins_3B = evaluation.tallies.calibration_3B
    ece = evaluation.overall.get("ece")
    if bins_3B is None or ece is None:
        return ""
    label = f"{_label(bins_3B)} The calibration error is {percent(ece.value)}."
    drawings = []
    with drawing():
        for name, (width_pt, height_pt) in SIZES_PT.items():
            figure = Figure(figsize=(width_pt / POINTS_PER_INCH, height_pt / POINTS_PER_INCH), layout="constrained")
            _draw(figure, bins_3B)
            drawings.append(inline_svg(figure, name=f"reliability-{name}", label=label))
    return "".join(drawings)


def _label(bins_3B: np.ndarray) -> str:
    told = [
        f"{100 * number / NUM_BINS:.0f} to {100 * (number + 1) / NUM_BINS:.0f} % sure: {percent(right / pixels)} right"
        for number, (pixels, right, _) in enumerate(bins_3B.T.tolist())
        if pixels
    ]
    return f"Share of right pixels by confidence: {'; '.join(told)}."


def _draw(figure: Figure, bins_3B: np.ndarray) -> None:
    """Above, bars of right pixels and the line on which they would end; below, how many pixels."""
    axes, count_axes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    pixels_B, right_B, units_B = bins_3B.astype(float)
    there = np.flatnonzero(pixels_B)
    left_B = 100 * there / NUM_BINS
    width = 100 / NUM_BINS
    shares = 100 * right_B[there] / pixels_B[there]
    axes.bar(left_B, shares, width, align="edge", color=SCORE_INKS[3], edgecolor=LINE, linewidth=0.8)
    axes.plot([0, 100], [0, 100], color=FAINT, linestyle=(0, (4, 3)), linewidth=1.2)
    sure = 100 * units_B[there] / UNIT / pixels_B[there]
    axes.plot(sure, shares, color=WINNER, marker="o", markersize=5, linewidth=1.6)
    axes.set_ylabel("right, %")
    axes.set_ylim(0, 100)
    axes.text(2, 96, "dashed: as sure as right", color=INK, va="top")
    count_axes.bar(left_B, 100 * pixels_B[there] / pixels_B.sum(), width, align="edge", color=SCORE_INKS[1])
    count_axes.set_ylabel("pixels, %")
    count_axes.set_xlabel("sure, %")
    count_axes.set_xlim(0, 100)
    for one in (axes, count_axes):
        one.grid(visible=True, axis="y")
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
