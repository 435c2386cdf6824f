"""`roadbed gc`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import connection, store_option, tell
from roadbed.cli.table import print_table
from roadbed.words import duration

if TYPE_CHECKING:
    from roadbed.leftovers import Leftover

_DAY_S = 86400.0
# An hour, and in as few figures as the help can say it.
_SHORTEST_DAYS = 0.042


@click.command()
@click.option("--older-than", "days", type=click.FloatRange(min=_SHORTEST_DAYS), default=1.0, show_default=True,
              metavar="DAYS", help="Leave alone what came later; an hour (0.042) at least.")  # fmt: skip
@click.option("--delete/--dry-run", "deletes", default=False, help="Delete it; without, it is only told.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def gc(store: str, days: float, deletes: bool, as_json: bool) -> None:
    """Find what nobody refers to in the store: what killed writers and policies left behind.

    Checkpoints that their run's latest.json does not name, publications and exports without a manifest, shards that no
    dataset.json names, uploads that never ended. Nothing of a run that lives, nothing that a manifest or pointer names.

    \b
    roadbed gc
    roadbed gc --older-than 7 --delete
    """
    from roadbed.leftovers import find_leftovers
    from roadbed.storage import open_store

    rows: list[tuple[Leftover, bool]] = []
    with connection(store):
        root = open_store(store)
        found = find_leftovers(root, older_than_s=days * _DAY_S, spare=lambda text: tell(f"left alone: {text}"))
        rows += [(leftover, deletes and leftover.delete()) for leftover in found]
    if as_json:
        click.echo(json.dumps([_document(leftover, is_deleted) for leftover, is_deleted in rows], indent=1))
        return
    if rows:
        now = time.time()
        head = ["what", "objects", "MB", "age", "where and why"]
        print_table(head, [_row(leftover, now, root.uri) for leftover, _ in rows])
    click.echo(_summary(rows, store, days, deletes=deletes))


def _document(leftover: Leftover, is_deleted: bool) -> dict[str, object]:
    told = {key: value for key, value in vars(leftover).items() if key != "delete"}
    return told | {"is_deleted": is_deleted}


def _row(leftover: Leftover, now: float, root_uri: str) -> list[str]:
    place = leftover.uri.removeprefix(f"{root_uri}/").rstrip("/")
    age = duration(max(0.0, now - leftover.touched_at))
    return [leftover.kind, str(leftover.num_objects), _megabytes(leftover.num_bytes), age, f"{place}: {leftover.why}"]


def _summary(rows: list[tuple[Leftover, bool]], store: str, days: float, *, deletes: bool) -> str:
    if not rows:
        return f"nothing to delete under {store} that is older than {duration(days * _DAY_S)}"
    num_bytes = sum(leftover.num_bytes for leftover, is_deleted in rows if is_deleted or not deletes)
    if not deletes:
        return f"{len(rows)} leftovers, {_megabytes(num_bytes)} MB; --delete deletes them"
    num_kept = sum(not is_deleted for _, is_deleted in rows)
    kept = f"; {num_kept} were taken up meanwhile and stay" if num_kept else ""
    return f"deleted {len(rows) - num_kept} leftovers, {_megabytes(num_bytes)} MB{kept}"


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f}"
