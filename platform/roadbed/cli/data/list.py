"""`roadbed data list`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import connection, store_option
from roadbed.cli.table import print_table

if TYPE_CHECKING:
    from roadbed.data.catalog import DatasetEntry


@click.command("list")
@click.argument("uri", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def list_all(uri: str | None, as_json: bool, store: str) -> None:
    """List the datasets below URI.

    URI is datasets/ in the store where it is not given. Nothing but dataset.json files is read.

    \b
    roadbed data list
    roadbed data list s3://team/datasets --json
    """
    from roadbed.data.catalog import list_datasets
    from roadbed.storage import open_store

    root = uri or f"{store.rstrip('/')}/datasets"
    with connection(root):
        entries = list_datasets(open_store(root))
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=1))
    elif entries:
        _print_entries(entries)
    else:
        click.echo(f"no datasets below {root}; make one with `roadbed data prepare painted {root}/town`")


def _print_entries(entries: list[DatasetEntry]) -> None:
    head = ["dataset", "digest", "source", "classes", "samples", "MB"]
    print_table(head, [_row(entry) for entry in entries])
    for entry in entries:
        if entry.problem is not None:
            click.echo(f"{entry.uri}: {entry.problem}")


def _row(entry: DatasetEntry) -> list[str]:
    if entry.problem is not None:
        return [entry.uri, "damaged", "", "", "", ""]
    samples = ", ".join(f"{count:,} {name}" for name, count in entry.splits.items())
    classes = f"{entry.label_space} ({entry.num_classes})"
    return [entry.uri, entry.digest[:12], entry.source, classes, samples, f"{entry.num_bytes / 1e6:,.1f}"]
