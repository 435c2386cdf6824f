"""`roadbed runs list|show|logs|curves`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import connection, store_option

if TYPE_CHECKING:
    from roadbed.runs import Run, RunStatus


@click.group()
def runs() -> None:
    """Training runs: what state they are in, what they logged."""


@runs.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def list_all(store: str, as_json: bool) -> None:
    """List all runs; one whose heartbeat stopped is shown as lost."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from roadbed.runs import Run, list_runs
    from roadbed.storage import open_store

    with connection(store):
        root = open_store(store)
        statuses = [status for name in list_runs(root) if (status := Run(root, name).status()) is not None]
    if as_json:
        click.echo(json.dumps([asdict(status) for status in statuses], indent=1))
        return
    if not statuses:
        click.echo(f"no runs under {store}/runs yet; start one with `roadbed train jobs/NAME.yaml`")
        return
    table = Table("run", "state", "attempt", "step", "mIoU", "reason", box=None, header_style="bold")
    for status in statuses:
        miou = status.progress.get("miou")
        steps = f"{status.step}/{status.progress.get('num_steps', '?')}"
        shown = "" if miou is None else f"{100 * miou:.1f} %"
        table.add_row(status.name, status.state, str(status.attempt), steps, shown, shorten(status.reason or "", 60))
    Console(highlight=False).print(table)


@runs.command()
@click.argument("name")
@store_option
def show(name: str, store: str) -> None:
    """Show a run: its state, attempts, checkpoints and evaluations."""
    with connection(store):
        run, status = _existing(store, name)
        click.echo(f"{run.uri}: {status.state}" + (f" ({status.reason})" if status.reason else ""))
        for number, claim in run.attempts():
            resumed = f"from step {claim['resumed_step']}" if claim["resumed_attempt"] else "from the start"
            lost = claim.get("lost_steps", 0)
            before = f", {lost} steps of the attempt before were lost" if lost else ""
            click.echo(f"attempt {number}: {resumed}, {claim['num_workers']} workers on {claim['host']}{before}")
        pointer = run.pointer()
        for ref in pointer.checkpoints:
            click.echo(f"checkpoint: step {ref.step} ({ref.key})")
        if pointer.best is not None and pointer.best.score is not None:
            click.echo(f"best: step {pointer.best.step}, mIoU {100 * pointer.best.score:.1f} %")
        for line in run.lines("metrics"):
            if "notice" in line:
                click.echo(f"notice: step {line['step']}, {line['notice']}")
            if "miou" in line:
                accuracy = f"pixel accuracy {100 * line['pixel_accuracy']:.1f} %"
                click.echo(f"epoch {line['epoch']}: mIoU {100 * line['miou']:.1f} %, {accuracy}")


@runs.command()
@click.argument("name")
@store_option
def logs(name: str, store: str) -> None:
    """Print what a run logged, over all its attempts."""
    with connection(store):
        run, _ = _existing(store, name)
        for line in run.lines("log"):
            at = datetime.fromtimestamp(line["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
            click.echo(f"{at} {line['level']:<7} {line['text']}")


@runs.command()
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="PNG file (default: NAME.png).")
@store_option
def curves(name: str, output: Path | None, store: str) -> None:
    """Draw loss, mIoU and pixel accuracy over the steps as a PNG."""
    from roadbed.errors import NotFoundError
    from roadbed.report.curves import draw_curves

    with connection(store):
        run, status = _existing(store, name)
        lines = run.lines("metrics")
    if not lines:
        raise NotFoundError(f"{run.uri}: no metrics yet (it is {status.state}); see `roadbed runs show {name}`")
    path = output or Path(f"{name}.png")
    draw_curves(lines, path, title=name)
    click.echo(f"curves: {path}")


def _existing(store: str, name: str) -> tuple[Run, RunStatus]:
    from roadbed.errors import NotFoundError
    from roadbed.runs import Run
    from roadbed.storage import open_store

    run = Run(open_store(store), name)
    status = run.status()
    if status is None:
        raise NotFoundError(f"{run.uri}: no such run; see `roadbed runs list`")
    return run, status
