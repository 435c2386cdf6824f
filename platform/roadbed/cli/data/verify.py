"""`roadbed data verify`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from roadbed.data.verify import Report
    from roadbed.storage import Store

_STRAYS_SHOWN = 10


@click.command()
@click.argument("uri")
@click.option("--quick", is_flag=True, help="Presence and sizes of shards alone, and the indexes.")
@click.option(
    "--repair", is_flag=True, help="Restore what is damaged or missing: indexes from shards, all else from a copy."
)
@click.option("--from", "copy_uri", metavar="URI", help="A copy of the same dataset, for --repair.")
@click.option("--delete-strays", is_flag=True, help="Remove what preparations left behind, if the dataset is whole.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Shards in memory at a time.")
def verify(uri: str, quick: bool, repair: bool, copy_uri: str | None, delete_strays: bool, threads: int) -> None:
    """Check a dataset byte by byte and sample by sample.

    A flipped byte anywhere is found; exit status 1 names every damaged object. --repair puts nothing but the very bytes
    whose sha256 dataset.json names.
    """
    from roadbed.errors import UsageError
    from roadbed.storage import open_store

    if copy_uri and not repair:
        raise UsageError(f"--from {copy_uri}: names a copy to repair from; add --repair")
    if delete_strays and quick:
        raise UsageError("--delete-strays: needs to know that the dataset is whole; leave --quick away")
    with connection(uri, *([copy_uri] if copy_uri else [])):
        store = open_store(uri)
        copy = open_store(copy_uri) if copy_uri else None
        report, failures = _check(store, copy, repair, quick=quick, threads=threads)
        _print_damages(report, failures, is_repaired=repair)
        click.echo(_summary(report, quick=quick))
        _tell_strays(store, report, delete=delete_strays)


def _check(
    store: Store, copy: Store | None, repair: bool, *, quick: bool, threads: int
) -> tuple[Report, Mapping[str, str]]:
    """The report, after repairs if they are wanted, and why objects could not be mended, by key."""
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.manifest import MANIFEST_KEY
    from roadbed.data.repair import restore, restore_manifest
    from roadbed.data.verify import verify as verify_dataset

    def look(title: str) -> Report:
        with WorkProgress(title) as bar:
            return verify_dataset(store, is_quick=quick, num_threads=threads, progress=bar.update)

    if repair and copy is not None and restore_manifest(store, copy):
        click.echo(f"{store.uri}/{MANIFEST_KEY}: restored")
    report = look("verify")
    if report.is_whole or not repair:
        return report, {}
    restored = restore(store, report, copy=copy)
    for key in restored.keys:
        click.echo(f"{store.uri}/{key}: restored")
    return look("verify again"), restored.failures


def _print_damages(report: Report, failures: Mapping[str, str], *, is_repaired: bool) -> None:
    """Every damage on a line of its own. Raises DamagedError that says how many objects are damaged, if any are."""
    from roadbed.errors import DamagedError

    if report.is_whole:
        return
    for damage in report.damages:
        click.echo(f"{report.uri}/{damage.key}: {damage.what}")
    for key, why in failures.items():
        click.echo(f"{report.uri}/{key}: not repaired, {why}")
    num_damaged = len({damage.key for damage in report.damages})
    count = "1 object is damaged" if num_damaged == 1 else f"{num_damaged} objects are damaged"
    remedy = "prepare the dataset again with --replace"
    if not is_repaired:
        remedy = f"try `roadbed data verify {report.uri} --repair`, with `--from URI` if there is a copy, or {remedy}"
    raise DamagedError(f"{report.uri}: {count}; {remedy}")


def _summary(report: Report, *, quick: bool) -> str:
    what = "sizes and indexes are right" if quick else "whole"
    counts = f"{report.num_samples:,} samples in {report.num_objects:,} objects of {report.num_bytes / 1e6:,.1f} MB"
    return f"{report.uri}: {what}, {counts}; digest {report.digest}"


def _tell_strays(store: Store, report: Report, *, delete: bool) -> None:
    """Name what dataset.json does not; with `delete` remove what is ours and old enough."""
    from roadbed.data.repair import delete_strays, strays_kept

    if not report.strays:
        return
    click.echo(f"objects that dataset.json does not name: {len(report.strays)}")
    now = time.time()
    kept = delete_strays(store, report, now=now) if delete else strays_kept(store, report.strays, now=now)
    for item in report.strays[:_STRAYS_SHOWN]:
        fate = kept.get(item.key) or ("deleted" if delete else "--delete-strays removes it")
        click.echo(f"  {item.key} ({item.num_bytes:,} bytes): {fate}")
    if len(report.strays) > _STRAYS_SHOWN:
        click.echo(f"  ... and {len(report.strays) - _STRAYS_SHOWN} more")
