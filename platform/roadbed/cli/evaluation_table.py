"""Evaluations as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from roadbed.cli.table import print_table
from roadbed.words import duration, percent

if TYPE_CHECKING:
    from roadbed.evaluation import Comparison, Evaluation
    from roadbed.evaluation.result import Estimate


def print_evaluations(found: Sequence[Evaluation], comparison: Comparison | None) -> None:
    """Figures of one version by class, or of two beside each other."""
    from roadbed.evaluation.result import NAMES
    from roadbed.report.evaluation_words import points

    first = found[0]
    scoring = first.scoring
    for one in found:
        click.echo(_head(one))
    beside = [one.overall for one in found]
    names = [one.scoring.reference for one in found]
    rows = [[NAMES[name], *(_estimate(overall[name]) for overall in beside)] for name in first.overall]
    print_table([f"{scoring.split}, {len(first.frames)} frames", *names], rows)
    if comparison is None:
        _print_classes(first)
        return
    rows = [
        [
            one.name,
            percent(one.first),
            percent(one.second),
            points(one.difference),
            percent(one.probability),
            one.verdict,
        ]
        for one in comparison.classes
    ]
    print_table(["IoU", *names, "points", f"{names[1]} better", "verdict"], rows)
    click.echo(comparison.sentence)


def _print_classes(one: Evaluation) -> None:
    rows = [
        [
            of_class.name,
            _estimate(of_class.iou),
            percent(of_class.accuracy.value),
            percent(of_class.boundary_iou.value),
            f"{of_class.num_frames}",
        ]
        for of_class in one.classes
    ]
    print_table(["class", "IoU (95 %)", "accuracy", "boundary IoU", "frames"], rows)


def _head(one: Evaluation) -> str:
    read_s, predict_s, count_s = one.seconds
    total_s = read_s + predict_s + count_s
    return (
        f"{one.scoring.reference} ({one.engine_note}, views {one.scoring.views.words}): {len(one.frames)} frames in "
        f"{duration(one.wall_s)}, {len(one.frames) / one.wall_s:.2f} frames/s by {one.workers}; "
        f"prediction {100 * predict_s / total_s:.0f} %, reading {100 * read_s / total_s:.0f} %"
    )


def _estimate(estimate: Estimate) -> str:
    """A figure with its interval: "61.2 % (58.0-64.1)"."""
    if estimate.value is None or estimate.interval is None:
        return "-"
    low, high = estimate.interval
    return f"{percent(estimate.value)} ({100 * low:.1f}-{100 * high:.1f})"
