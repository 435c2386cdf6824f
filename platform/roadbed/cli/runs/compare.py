"""`roadbed runs compare`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import connection, store_option
from roadbed.cli.table import print_table
from roadbed.words import duration, percent

if TYPE_CHECKING:
    from roadbed.runs import Run, RunFigures


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME NAME...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw their curves: a PNG or SVG file.")
@store_option
def compare(names: tuple[str, ...], as_json: bool, output: Path | None, store: str) -> None:
    """Set runs beside each other: figures, the fields of their specs that differ, IoU per class.

    Differences (in brackets, in points) are to the first run.

    \b
    roadbed runs compare camvid-quick camvid-best
    roadbed runs compare camvid-quick camvid-best -o curves.png
    """
    from roadbed.cli.runs.existing import existing_run
    from roadbed.errors import UsageError
    from roadbed.report.pictures import check_picture
    from roadbed.runs import RunFigures
    from roadbed.spec.load import differing_values

    if len(names) < 2:
        raise UsageError(f"runs compare {names[0]}: name the runs to compare it with; see `roadbed runs list`")
    if output is not None:
        check_picture(output)
    with connection(store):
        found = [existing_run(store, name) for name in names]
        figures = [RunFigures.of(run, status) for run, status in found]
        differing = differing_values([run.spec() or "" for run, _ in found])
        if output is not None:
            _draw([run for run, _ in found], output)
    if as_json:
        click.echo(json.dumps({"runs": [one.to_json() for one in figures], "spec": differing}, indent=1))
    else:
        print_table(["", *names], _rows(figures, differing))
        if output is not None:
            click.echo(f"curves: {output}")


def _rows(figures: Sequence[RunFigures], differing: dict[str, list[Any]]) -> list[list[str]]:
    """The table: what came out, then what was asked, then the classes."""
    rows = [
        _row("state", figures, lambda one: one.state),
        _row("steps", figures, lambda one: f"{one.step}/{one.num_steps or '?'}"),
        _row("time", figures, lambda one: duration(one.seconds)),
        _row("images/s", figures, lambda one: "-" if one.images_per_s is None else f"{one.images_per_s:.1f}"),
        _row("waiting for data", figures, lambda one: percent(one.data_wait_share)),
        _row("loss at the end", figures, lambda one: "-" if one.loss is None else f"{one.loss:.4f}"),
        ["best mIoU", *_beside([_score(one, "miou") for one in figures])],
        _row("  in epoch", figures, lambda one: "-" if one.best is None else str(one.best["epoch"])),
        ["last mIoU", *_beside([one.last["miou"] if one.last else None for one in figures])],
        ["pixel accuracy", *_beside([_score(one, "pixel_accuracy") for one in figures])],
    ]
    rows += [
        [key, *("-" if value is None else json.dumps(value) for value in values)] for key, values in differing.items()
    ]
    classes = [one.best["iou_per_class"] if one.best else {} for one in figures]
    for name in dict.fromkeys(name for ious in classes for name in ious):
        rows.append([f"IoU {name}", *_beside([ious.get(name) for ious in classes])])
    return rows


def _row(title: str, figures: Sequence[RunFigures], cell: Callable[[RunFigures], str]) -> list[str]:
    return [title, *(cell(one) for one in figures)]


def _score(one: RunFigures, key: str) -> float | None:
    return None if one.best is None else float(one.best[key])


def _beside(shares: Sequence[float | None]) -> list[str]:
    """Shares in percent, all but the first with their difference to it in points."""
    first, *others = shares
    return [
        percent(first),
        *(
            percent(share) if first is None or share is None else f"{percent(share)} ({100 * (share - first):+.1f})"
            for share in others
        ),
    ]


def _draw(found: Sequence[Run], output: Path) -> None:
    from roadbed.errors import NotFoundError
    from roadbed.report.comparison import draw_comparison

    lines = {run.name: run.lines("metrics") for run in found}
    for name, of_run in lines.items():
        if not of_run:
            raise NotFoundError(f"run {name}: no metrics to draw yet; see `roadbed runs show {name}`")
    draw_comparison(lines, output)
