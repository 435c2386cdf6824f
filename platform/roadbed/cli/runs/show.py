"""`roadbed runs show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import connection, store_option
from roadbed.words import duration, percent

if TYPE_CHECKING:
    from roadbed.runs import Run, RunFigures


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def show(name: str, store: str, as_json: bool) -> None:
    """Show a run: its state, speed, attempts, checkpoints, evaluations, and the classes of the best one.

    \b
    roadbed runs show camvid-quick
    """
    from rich.console import Console

    from roadbed.cli.runs.existing import existing_run
    from roadbed.cli.table import iou_table
    from roadbed.runs import RunFigures

    with connection(store):
        run, status = existing_run(store, name)
        figures = RunFigures.of(run, status)
        if as_json:
            click.echo(json.dumps({"uri": run.uri} | figures.to_json(), indent=1))
            return
        click.echo(f"{run.uri}: {status.state}" + (f" ({status.reason})" if status.reason else ""))
        click.echo(_speed(figures))
        _show_attempts(run)
    for line in figures.notices:
        click.echo(f"notice: step {line['step']}, {line['notice']}")
    for line in figures.evaluations:
        accuracy = percent(line["pixel_accuracy"])
        click.echo(f"epoch {line['epoch']}: mIoU {percent(line['miou'])}, pixel accuracy {accuracy}")
    if figures.best is not None:
        click.echo(f"best: epoch {figures.best['epoch']}, step {figures.best['step']}")
        Console(highlight=False).print(iou_table(figures.best["iou_per_class"]))


def _speed(figures: RunFigures) -> str:
    """Steps, time, images per second, share of waiting and loss, as far as they are known."""
    parts = [f"step {figures.step} of {figures.num_steps or '?'}", duration(figures.seconds)]
    if figures.images_per_s is not None and figures.data_wait_share is not None:
        parts.append(f"{figures.images_per_s:.1f} images/s")
        parts.append(f"{100 * figures.data_wait_share:.1f} % of the time waiting for data")
    if figures.loss is not None:
        parts.append(f"loss {figures.loss:.4f}")
    return ", ".join(parts)


def _show_attempts(run: Run) -> None:
    for number, claim in run.attempts():
        resumed = f"from step {claim['resumed_step']}" if claim["resumed_attempt"] else "from the start"
        workers = f"{claim['num_workers']} worker{'s' if claim['num_workers'] != 1 else ''}"
        lost = claim.get("lost_steps", 0)
        before = f", {lost} steps of the attempt before were lost" if lost else ""
        click.echo(f"attempt {number}: {resumed}, {workers} on {claim['host']}{before}")
        end = run.end_of(number)
        if end is not None:
            click.echo(f"  ended: {end['cause']}: {end['reason']}; {end['verdict']}")
    for ref in run.pointer().checkpoints:
        click.echo(f"checkpoint: step {ref.step} ({ref.key})")
