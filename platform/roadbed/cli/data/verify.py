"""`roadbed data verify`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from roadbed.cli.completion import files
from roadbed.cli.store import connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from roadbed.data.verify import Report
    from roadbed.storage import Store

_STRAYS_SHOWN = 10


@click.command()
@click.argument("uri", shell_complete=files)
@click.option("--quick", is_flag=True, help="Presence and sizes of shards alone, and the indexes.")
@click.option(
    "--repair", is_flag=True, help="Restore what is damaged or missing: indexes from shards, all else from a copy."
)
@click.option("--from", "copy_uri", metavar="URI", help="A copy of the same dataset, for --repair.")
@click.option("--delete-strays", is_flag=True, help="Remove what preparations left behind, if the dataset is whole.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Shards in memory at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    uri: str, quick: bool, repair: bool, copy_uri: str | None, delete_strays: bool, threads: int, as_json: bool
) -> None:
    """Check a dataset byte by byte and sample by sample.

    A flipped byte anywhere is found; exit status 1 names every damaged object. --repair puts nothing but the very bytes
    whose sha256 dataset.json names. Exit status: 0 the dataset is whole (after repairs), 1 it is damaged.

    \b
    roadbed data verify s3://roadbed/datasets/camvid
    roadbed data verify s3://roadbed/datasets/camvid --repair --from backup/camvid
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
        report, restored, failures = _check(store, copy, repair, quick=quick, threads=threads, as_json=as_json)
        fates = _fates(store, report, delete=delete_strays) if report.is_whole else {}
        if as_json:
            click.echo(json.dumps(_document(report, restored, failures, fates), indent=1))
        else:
            _print_damages(report, failures)
        _refuse_damage(report, is_repaired=repair)
        if not as_json:
            click.echo(_summary(report, quick=quick))
            _print_strays(report, fates)


def _check(
    store: Store, copy: Store | None, repair: bool, *, quick: bool, threads: int, as_json: bool
) -> tuple[Report, Sequence[str], Mapping[str, str]]:
    """The report, after repairs if they are wanted, what was mended, and why other objects could not be, by key."""
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.manifest import MANIFEST_KEY
    from roadbed.data.repair import restore, restore_manifest
    from roadbed.data.verify import verify as verify_dataset

    def look(title: str) -> Report:
        with WorkProgress(title) as bar:
            return verify_dataset(store, is_quick=quick, num_threads=threads, progress=bar.update)

    mended: list[str] = []

    def tell_mended(key: str) -> None:
        mended.append(key)
        click.echo(f"{store.uri}/{key}: restored", err=as_json)

    if repair and copy is not None and restore_manifest(store, copy):
        tell_mended(MANIFEST_KEY)
    report = look("verify")
    if report.is_whole or not repair:
        return report, mended, {}
    restored = restore(store, report, copy=copy)
    for key in restored.keys:
        tell_mended(key)
    return look("verify again"), mended, restored.failures


def _document(
    report: Report, restored: Sequence[str], failures: Mapping[str, str], fates: Mapping[str, str]
) -> dict[str, object]:
    counts = {name: getattr(report, name) for name in ("uri", "is_whole", "digest")}
    counts |= {"samples": report.num_samples, "objects": report.num_objects, "bytes": report.num_bytes}
    damages = [{"key": damage.key, "what": damage.what} for damage in report.damages]
    return counts | {"damages": damages, "restored": restored, "not_repaired": failures, "strays": fates}


def _print_damages(report: Report, failures: Mapping[str, str]) -> None:
    """Every damage on a line of its own."""
    for damage in report.damages:
        click.echo(f"{report.uri}/{damage.key}: {damage.what}")
    for key, why in failures.items():
        click.echo(f"{report.uri}/{key}: not repaired, {why}")


def _refuse_damage(report: Report, *, is_repaired: bool) -> None:
    """Raises DamagedError that says how many objects are damaged, if any are."""
    from roadbed.errors import DamagedError

    if report.is_whole:
        return
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


def _fates(store: Store, report: Report, *, delete: bool) -> dict[str, str]:
    """What becomes of each object that dataset.json does not name; with `delete` what is ours and old enough goes."""
    from roadbed.data.repair import delete_strays, strays_kept

    if not report.strays:
        return {}
    now = time.time()
    kept = delete_strays(store, report, now=now) if delete else strays_kept(store, report.strays, now=now)
    otherwise = "deleted" if delete else "--delete-strays removes it"
    return {item.key: kept.get(item.key) or otherwise for item in report.strays}


def _print_strays(report: Report, fates: Mapping[str, str]) -> None:
    if not report.strays:
        return
    click.echo(f"objects that dataset.json does not name: {len(report.strays)}")
    for item in report.strays[:_STRAYS_SHOWN]:
        click.echo(f"  {item.key} ({item.num_bytes:,} bytes): {fates[item.key]}")
    if len(report.strays) > _STRAYS_SHOWN:
        click.echo(f"  ... and {len(report.strays) - _STRAYS_SHOWN} more")
