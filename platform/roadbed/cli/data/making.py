"""What all `data prepare` commands share: their options, and the making itself with its progress and report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import connection
from roadbed.errors import UsageError

if TYPE_CHECKING:
    from roadbed.data.parallel import Mapper
    from roadbed.data.prepare import PrepareOptions
    from roadbed.data.sources import Source

MOST_THREADS = 8
BEST_QUALITY = 95


def making_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that all sources share."""
    options = (
        click.option(
            "--image-encoding",
            type=click.Choice(["jpeg", "png", "zstd"]),
            default="jpeg",
            show_default=True,
            help="How frames are stored; zstd is raw pixels compressed, read by roadbed alone.",
        ),
        click.option("--jpeg-quality", type=click.IntRange(1, 100), help=f"Of JPEG frames.  [default: {BEST_QUALITY}]"),
        click.option(
            "--mask-encoding",
            type=click.Choice(["png", "zstd"]),
            default="png",
            show_default=True,
            help="How masks are stored, without loss.",
        ),
        click.option(
            "--samples-per-shard", type=click.IntRange(1), default=32, show_default=True, help="Samples in a tar."
        ),
        click.option("--threads", type=click.IntRange(1), help=f"[default: one per CPU, at most {MOST_THREADS}]"),
        click.option(
            "--workers",
            type=click.IntRange(1),
            metavar="N",
            help="Work on N CPUs of the Ray cluster of RAY_ADDRESS, or of this machine, instead of in threads.",
        ),
        click.option("--replace", is_flag=True, help="Put it in the place of another dataset at DEST."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def make_dataset(
    source: Source[Any],
    dest: str,
    *,
    threads: int | None,
    workers: int | None,
    replace: bool,
    as_json: bool,
    **encoding: Any,
) -> None:
    """Make the dataset of `source` at `dest` with a bar, and say what there is now.

    Takes the values of `making_options`. Raises UsageError for options that cannot be meant together.
    """
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.prepare import prepare as prepare_dataset
    from roadbed.storage import open_store

    options = _options(**encoding)
    was_made = False
    with (
        connection(dest, needs_ray=workers is not None),
        _mapper(dest, threads, workers) as mapper,
        WorkProgress(f"prepare {source.kind}") as bar,
    ):

        def follow(done: int, total: int) -> None:
            nonlocal was_made
            was_made = done == total
            bar.update(done, total)

        dataset = prepare_dataset(
            source, open_store(dest), options=options, mapper=mapper, replace=replace, progress=follow
        )
    samples = {name: split.num_samples for name, split in dataset.splits.items()}
    if as_json:
        told = {"uri": dataset.uri, "digest": dataset.digest, "is_new": was_made, "samples": samples}
        click.echo(json.dumps(told, indent=1))
        return
    counts = ", ".join(f"{count} {name}" for name, count in samples.items())
    what = "prepared" if was_made else "already prepared, used as it is"
    click.echo(f"{dataset.uri}: {counts} samples {what}; digest {dataset.digest}")


def _options(
    *, image_encoding: Any, jpeg_quality: int | None, mask_encoding: Any, samples_per_shard: int
) -> PrepareOptions:
    from roadbed.data.prepare import PrepareOptions

    if jpeg_quality is not None and image_encoding != "jpeg":
        raise UsageError(
            f"--jpeg-quality {jpeg_quality}: {image_encoding} frames have no quality; leave one of the two out"
        )
    return PrepareOptions(
        samples_per_shard=samples_per_shard,
        image_encoding=image_encoding,
        jpeg_quality=jpeg_quality or BEST_QUALITY,
        mask_encoding=mask_encoding,
    )


@contextmanager
def _mapper(dest: str, threads: int | None, workers: int | None) -> Iterator[Mapper]:
    """Threads of this process, or tasks of the Ray that `connection` found."""
    from roadbed.data.parallel import Threads

    if workers is None:
        yield Threads(default_threads(threads))
        return
    from roadbed.runtime.map import ray_tasks
    from roadbed.runtime.session import is_ray_remote

    if threads is not None:
        raise UsageError(f"--threads {threads} and --workers {workers}: samples are packed by one or the other")
    if is_ray_remote() and not dest.startswith("s3://"):
        raise UsageError(
            f"{dest}: workers on the Ray cluster at {os.environ['RAY_ADDRESS']} cannot write into a folder of this "
            "machine; name an s3:// destination, or leave --workers out"
        )
    with ray_tasks(workers) as mapper:
        yield mapper


def default_threads(threads: int | None) -> int:
    """As many as were asked for, else one per CPU, within bounds."""
    return threads or min(os.cpu_count() or 1, MOST_THREADS)
