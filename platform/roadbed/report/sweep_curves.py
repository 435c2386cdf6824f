"""The trials of a sweep over epochs: how each of them scored and where it ended, and what values it had when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from roadbed.report.inline import CARD, CHOICE_LETTERS, FAILED, FAINT, NAME_LETTERS, SCORE_INKS, WINNER, drawn_words
from roadbed.report.scales import Scale
from roadbed.report.sweep_table import is_share, metric_name, numbers_words, score_words
from roadbed.tuning.results import SweepResult, Trial

# A curve of more evaluations is drawn through so many of them.
MOST_POINTS = 150
# More trials than this are a crowd: no dots for evaluations, thinner lines, and only the best few in dark inks.
MOST_APART = 40
# How a curve ends, by the trial's state: marker and size.
ENDS = {"finished": ("o", 6), "stopped": ("s", 6), "running": (">", 7), "waiting": (">", 7), "failed": ("x", 9)}
HALO = {"facecolor": CARD, "edgecolor": "none", "alpha": 0.8, "pad": 1.5}


def draw_trials(axes: Axes, result: SweepResult) -> None:
    """Every trial's metric over epochs: the winner in front, others by score, each end marked by its state."""
    ranked = [trial for trial in result.ranked() if trial.sound_curve]
    inks = score_inks(result)
    for trial in reversed(ranked):
        if trial is not result.winner:
            _draw_trial(axes, trial, FAILED if trial.state == "failed" else inks[trial.number], len(ranked))
    if result.winner is not None:
        _draw_winner(axes, result, result.winner)
    if result.baseline is not None:
        axes.axhline(result.baseline.score, color=FAINT, linestyle=(0, (6, 4)), linewidth=1.2, zorder=1)
    _finish(axes, result, ranked)


def trials_without_curve(result: SweepResult) -> str:
    """A sentence about the trials that have no evaluation to draw; "" if all have one."""
    absent = [trial for trial in result.trials if not trial.sound_curve]
    states = dict.fromkeys(trial.state for trial in absent)
    told = [f"{numbers_words(trial.number for trial in absent if trial.state == state)} ({state})" for state in states]
    return f"Without an evaluation: {', '.join(told)}." if told else ""


def score_inks(result: SweepResult) -> dict[int, str]:
    """The ink of each trial that has a score, by its number; by rank, so that an outlier leaves the others apart."""
    scored = [trial for trial in reversed(result.ranked()) if result.score(trial) is not None]
    power = 1 if len(scored) <= MOST_APART else 3
    shares = [(place / max(1, len(scored) - 1)) ** power for place in range(len(scored))]
    return {
        trial.number: SCORE_INKS[int(share * (len(SCORE_INKS) - 1))]
        for share, trial in zip(shares, scored, strict=True)
    }


def draw_values(axes: Axes, result: SweepResult, key: str) -> None:
    """The value of one key over epochs, a line of steps per trial; those that led to the winner's weights in front."""
    scale = Scale.of([values[key] for values in _all_values(result) if key in values])
    for trial in result.trials:
        marks = [0.0, *(change.epoch for change in trial.changes)]
        places = [scale.place(trial.values_from(mark).get(key)) for mark in marks]
        epochs = [*marks, max(trial.epochs, marks[-1])]
        axes.step(epochs, [*places, places[-1]], where="post", color=SCORE_INKS[2], linewidth=1.2, alpha=0.8)
    if result.winner is not None:
        for stretch in result.lineage(result.winner):
            place = scale.place(stretch.values.get(key))
            axes.plot([stretch.begin, stretch.end], [place, place], color=WINNER, linewidth=3, solid_capstyle="butt")
    axes.set_yticks(
        [place for place, _ in scale.ticks], [drawn_words(words, CHOICE_LETTERS) for _, words in scale.ticks]
    )
    axes.set_ylim(-0.08, 1.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True)
    axes.spines[["top", "right"]].set_visible(False)


def changed_keys(result: SweepResult) -> list[str]:
    """The keys whose values any trial changed on its way."""
    changed = {key for trial in result.trials for change in trial.changes for key in change.values}
    return [key for key in result.parameters if key in changed]


def _all_values(result: SweepResult) -> list[dict[str, Any]]:
    return [
        trial.values_from(mark)
        for trial in result.trials
        for mark in (0.0, *(change.epoch for change in trial.changes))
    ]


def _draw_trial(axes: Axes, trial: Trial, color: str, num_curves: int) -> None:
    epochs, scores = _thinned(trial.sound_curve)
    style = (0, (4, 2)) if trial.state == "failed" else "-"
    dots = "." if num_curves <= MOST_APART else ""
    axes.plot(epochs, scores, color=color, linestyle=style, linewidth=1.4, marker=dots, markersize=4, in_layout=False)
    _draw_end(axes, trial, color)


def _draw_winner(axes: Axes, result: SweepResult, winner: Trial) -> None:
    epochs, scores = _thinned(winner.sound_curve)
    axes.plot(epochs, scores, color=WINNER, linewidth=3, marker=".", markersize=8, zorder=5)
    _draw_end(axes, winner, WINNER)
    evaluation = winner.best_evaluation(result.mode)
    assert evaluation is not None, "a winner has a score"
    is_late = evaluation[0] > max(epoch for trial in result.trials for epoch, _ in trial.sound_curve) / 2
    axes.annotate(
        f"trial {winner.number}: {score_words(result.metric, evaluation[1])}",
        evaluation,
        xytext=(0, 10 if result.mode == "max" else -18),
        textcoords="offset points",
        ha="right" if is_late else "left",
        color=WINNER,
        weight="bold",
        bbox=HALO,
        zorder=6,
    )


def _draw_end(axes: Axes, trial: Trial, color: str) -> None:
    marker, size = ENDS[trial.state]
    axes.plot(*trial.sound_curve[-1], color=color, marker=marker, markersize=size, markeredgewidth=2, zorder=4)


def _thinned(curve: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Epochs and scores of at most MOST_POINTS evaluations, the first and the last among them."""
    places = np.linspace(0, len(curve) - 1, min(len(curve), MOST_POINTS)).round().astype(int)
    return [curve[place][0] for place in places], [curve[place][1] for place in places]


def _finish(axes: Axes, result: SweepResult, ranked: Sequence[Trial]) -> None:
    axes.set_xlabel("epoch")
    unit = ", %" if is_share(result.metric) else ""
    axes.set_ylabel(drawn_words(metric_name(result.metric), NAME_LETTERS) + unit)
    if is_share(result.metric):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=0)
    axes.grid(visible=True)
    axes.spines[["top", "right"]].set_visible(False)
    scores = [score for trial in ranked for _, score in trial.sound_curve]
    if not scores:
        axes.text(0.5, 0.5, "no evaluation", transform=axes.transAxes, ha="center", va="center", color=FAINT)
        return
    axes.margins(y=0.12)
    _cut_outliers(axes, result, scores)
    handles = _legend_handles(result, ranked)
    columns = 6 if axes.figure.bbox.width > 600 else 2
    below = (0, -64 / axes.figure.bbox.height)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=below, ncols=columns, borderaxespad=0)


def _cut_outliers(axes: Axes, result: SweepResult, scores: Sequence[float]) -> None:
    """A loss that explodes leaves the others on one line; so the axis ends above most of a metric to be kept low."""
    usual, highest, lowest = float(np.percentile(scores, 90)), max(scores), min(scores)
    if result.mode == "min" and highest - lowest > 4 * (usual - lowest) > 0:
        axes.set_ylim(lowest - 0.12 * (usual - lowest), usual + 0.12 * (usual - lowest))


def _legend_handles(result: SweepResult, ranked: Sequence[Trial]) -> list[Line2D]:
    """What the inks and the ends mean, as far as they occur."""
    handles = [] if result.winner is None else [Line2D([], [], color=WINNER, linewidth=3, label="the best trial")]
    for state in dict.fromkeys(trial.state for trial in ranked):
        marker, size = ENDS[state]
        color, style = (FAILED, (0, (4, 2))) if state == "failed" else (SCORE_INKS[3], "-")
        handles.append(
            Line2D([], [], color=color, linestyle=style, marker=marker, markersize=size, markeredgewidth=2, label=state)
        )
    if result.baseline is not None:
        handles.append(Line2D([], [], color=FAINT, linestyle=(0, (6, 4)), label="before the sweep"))
    return handles
