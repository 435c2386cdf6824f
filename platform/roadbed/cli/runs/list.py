"""`roadbed runs list`."""

from __future__ import annotations

import json
from textwrap import shorten

import click

from roadbed.cli.store import connection, store_option


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def list_all(store: str, as_json: bool) -> None:
    """List all runs; one whose heartbeat stopped is shown as lost.

    \b
    roadbed runs list
    roadbed runs list --json
    """
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
