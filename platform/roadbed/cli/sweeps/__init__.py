"""`roadbed sweeps ...`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from roadbed.cli.store import connection, store_option


@click.group()
def sweeps() -> None:
    """Sweeps: what state they are in, and what their trials came to.

    \b
    roadbed sweeps list
    roadbed sweeps show camvid-tune --page sweep.html
    """


@sweeps.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def list_all(store: str, as_json: bool) -> None:
    """List all sweeps; one whose heartbeat stopped is shown as lost.

    \b
    roadbed sweeps list --json
    """
    from roadbed.cli.table import print_table
    from roadbed.storage import open_store
    from roadbed.tuning.sweep import Sweep, list_sweeps

    with connection(store):
        root = open_store(store)
        statuses = {name: Sweep(root, name).run.status() for name in list_sweeps(root)}
    rows = [
        {"name": name, "state": status.state, "trials_over": status.step, "trials": status.progress.get("trials")}
        for name, status in statuses.items()
        if status is not None
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif not rows:
        click.echo(f"no sweeps under {store}/sweeps yet; start one with `roadbed tune jobs/NAME.yaml`")
    else:
        print_table(
            ["sweep", "state", "trials over"],
            [[str(row["name"]), str(row["state"]), f"{row['trials_over']}/{row['trials'] or '?'}"] for row in rows],
        )


@sweeps.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the sweep's report there, as HTML.")
@store_option
def show(name: str, store: str, as_json: bool, page: Path | None) -> None:
    """Show a sweep: its trials by rank, rebuilt from what lies in the store.

    \b
    roadbed sweeps show camvid-tune
    roadbed sweeps show camvid-tune --page sweep.html
    """
    from roadbed.cli.tune import print_result, write_page
    from roadbed.storage import open_store
    from roadbed.tuning.sweep import Sweep, read_result

    with connection(store):
        result = read_result(Sweep(open_store(store), name))
        if as_json:
            click.echo(json.dumps(result.to_json(), indent=1))
        else:
            print_result(result)
        if page is not None:
            write_page(result, page, as_json=as_json)
