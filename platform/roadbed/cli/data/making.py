"""What all `data prepare` commands share: their options, and the making itself with its progress and report."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import connection

if TYPE_CHECKING:
    from roadbed.data.sources import Source

MOST_THREADS = 8


def making_options(function: Callable[..., Any]) -> Callable[..., Any]:
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


def make_dataset(
    source: Source[Any], dest: str, *, image_encoding: Any, samples_per_shard: int, threads: int | None, replace: bool
) -> None:
    """Make the dataset of `source` at `dest` with a bar, and say what there is now."""
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
