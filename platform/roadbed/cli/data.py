"""`roadbed data prepare|show`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import connection

if TYPE_CHECKING:
    from roadbed.data.dataset import Dataset
    from roadbed.data.sources import Source

MOST_THREADS = 8


@click.group()
def data() -> None:
    """Prepare datasets in a store, and look at them."""


@data.group()
def prepare() -> None:
    """Write shards, index and dataset.json to DEST: s3://BUCKET/PREFIX, file:///FOLDER or a folder.

    A dataset that is there already, of the same source and options, is used as it is.
    """


def _size(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, int]:
    """WxH as (height, width)."""
    width, separator, height = text.lower().partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{text!r} is not a size; write WIDTHxHEIGHT in pixels, as in 480x360")
    return int(height), int(width)


def _prepare_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that all sources share."""
    options = (
        click.option(
            "--image-encoding",
            type=click.Choice(["jpeg", "png"]),
            default="jpeg",
            show_default=True,
            help="How frames are stored; masks are PNG, without loss.",
        ),
        click.option("--samples-per-shard", type=click.IntRange(1), default=32, show_default=True),
        click.option("--threads", type=click.IntRange(1), help=f"[default: one per CPU, at most {MOST_THREADS}]"),
        click.option("--replace", is_flag=True, help="Delete another dataset at DEST first."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@prepare.command()
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dest")
@click.option("--classes", type=click.Choice(["11", "32"]), default="11", show_default=True, help="Label space.")
@_prepare_options
def camvid(src: Path, dest: str, classes: str, **shared: Any) -> None:
    """CamVid from the folder SRC.

    SRC is in SegNet's arrangement (train/, trainannot/, ...), the original one (701_StillsRaw_full/,
    LabeledApproved_full/) or a common variant of it (train/, train_labels/, ... or images/, labels/).
    """
    from roadbed.data.labels import CAMVID_11, CAMVID_32
    from roadbed.data.sources.camvid import CamvidSource

    _prepare(CamvidSource(src, label_space=CAMVID_11 if classes == "11" else CAMVID_32), dest, **shared)


@prepare.command()
@click.argument("dest")
@click.option("--train", type=click.IntRange(1), default=200, show_default=True, help="Frames to train on.")
@click.option("--val", type=click.IntRange(0), default=40, show_default=True, help="Frames to evaluate on.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, another town.")
@click.option("--size", callback=_size, default="480x360", show_default=True, metavar="WxH", help="Pixels of a frame.")
@_prepare_options
def painted(dest: str, train: int, val: int, seed: int, size: tuple[int, int], **shared: Any) -> None:
    """A painted town with CamVid's 11 classes; needs no download."""
    from roadbed.data.sources.painted import PaintedSource

    _prepare(PaintedSource({"train": train, "val": val}, seed=seed, size_px=size), dest, **shared)


@data.command()
@click.argument("uri")
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Write a contact sheet, a PNG file.")
@click.option("--split", help="The split on the sheet.  [default: train]")
def show(uri: str, sheet: Path | None, split: str | None) -> None:
    """Print splits, counts and the classes' shares of pixels; with --sheet draw frames with their masks."""
    from roadbed.data.dataset import Dataset
    from roadbed.data.sheet import draw_sheet
    from roadbed.errors import UsageError

    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet {sheet}: the sheet is a PNG file, give a name that ends in .png")
    with connection(uri):
        dataset = Dataset.open(uri)
        chosen = dataset.split(split) if split else next(iter(dataset.splits.values()))
        _print_dataset(dataset)
        if sheet is not None:
            picture = draw_sheet(dataset, chosen)
            sheet.parent.mkdir(parents=True, exist_ok=True)
            picture.save(sheet)
            click.echo(f"\ncontact sheet of {chosen.name}: {sheet}")


def _prepare(
    source: Source[Any], dest: str, *, image_encoding: Any, samples_per_shard: int, threads: int | None, replace: bool
) -> None:
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.prepare import PrepareOptions
    from roadbed.data.prepare import prepare as prepare_dataset
    from roadbed.storage import open_store

    options = PrepareOptions(samples_per_shard=samples_per_shard, image_encoding=image_encoding)
    num_threads = threads or min(os.cpu_count() or 1, MOST_THREADS)
    was_made = False
    with connection(dest), WorkProgress(f"prepare {source.kind}") as bar:

        def follow(done: int, total: int) -> None:
            nonlocal was_made
            was_made = True
            bar.update(done, total)

        dataset = prepare_dataset(
            source, open_store(dest), options=options, num_threads=num_threads, replace=replace, progress=follow
        )
    counts = ", ".join(f"{split.num_samples} {name}" for name, split in dataset.splits.items())
    what = "prepared" if was_made else "already prepared, used as it is"
    click.echo(f"{dataset.uri}: {counts} samples {what}; digest {dataset.digest}")


def _print_dataset(dataset: Dataset) -> None:
    manifest = dataset.manifest
    encoding = manifest.options.image_encoding
    quality = f" of quality {manifest.options.jpeg_quality}" if encoding == "jpeg" else ""
    splits = [
        [
            name,
            f"{split.num_samples:,}",
            f"{len(split.shards):,}",
            f"{sum(s.num_bytes for s in split.shards) / 1e6:,.1f}",
        ]
        for name, split in dataset.splits.items()
    ]
    totals = {name: max(int(s.class_pixels.sum()) + s.ignored_pixels, 1) for name, s in dataset.splits.items()}
    classes = [
        [name, *(f"{100 * split.class_pixels[row] / totals[key]:.2f} %" for key, split in dataset.splits.items())]
        for row, name in enumerate(dataset.label_space.class_names)
    ]
    classes.append(["ignored", *(f"{100 * s.ignored_pixels / totals[key]:.2f} %" for key, s in dataset.splits.items())])
    click.echo(f"{dataset.uri}\ndigest {dataset.digest}")
    click.echo(
        f"from {manifest.source.kind} {manifest.source.fingerprint[:12]}..., frames as {encoding}{quality}, "
        f"{manifest.options.samples_per_shard} samples per shard\n"
    )
    _print_table(["split", "samples", "shards", "MB"], splits)
    click.echo()
    _print_table([f"share of pixels ({dataset.label_space.name})", *dataset.splits], classes)


def _print_table(head: list[str], rows: list[list[str]]) -> None:
    """A table on a terminal, aligned plain text elsewhere; the first column to the left, the others to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(head[0], header_style="bold")
        for name in head[1:]:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        click.echo("  ".join(cells).rstrip())
