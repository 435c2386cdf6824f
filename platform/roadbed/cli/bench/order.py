"""`roadbed bench order`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadbed.cli.bench.shared import figure_options, write_figures
from roadbed.cli.store import connection
from roadbed.cli.table import print_table

if TYPE_CHECKING:
    from roadbed.bench.order import Mixing, Samples


@click.command()
@click.argument("uri", required=False)
@click.option("--split", default="train", show_default=True, help="The split of the dataset at URI.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(2), help="Samples in a global batch.")
@figure_options
def order(uri: str | None, split: str, batch: int, json_path: Path | None, plot: Path | None) -> None:
    """Measure how well the order mixes the samples of the dataset at URI, or of a synthetic one of long videos.

    \b
    roadbed bench order
    roadbed bench order s3://roadbed/datasets/cityscapes --plot mixing.png
    """
    from roadbed.bench.order import measure_mixing
    from roadbed.bench.order_plots import draw_mixing
    from roadbed.errors import UsageError

    samples = _samples(uri, split)
    if 2 * batch > sum(samples.shard_sizes):
        raise UsageError(f"--batch {batch}: there are {sum(samples.shard_sizes)} samples; take at most half of them")
    rows = measure_mixing(samples, global_batch=batch)
    _print_rows(rows)
    document = [asdict(row) for row in rows]
    write_figures(json_path, document, plot, lambda path: draw_mixing(samples, rows, path, global_batch=batch))


def _samples(uri: str | None, split: str) -> Samples:
    from roadbed.bench.order import samples_of, synthetic_samples
    from roadbed.data.dataset import Dataset

    if uri is None:
        return synthetic_samples()
    with connection(uri):
        dataset = Dataset.open(uri)
        num_classes = dataset.label_space.num_classes
        return samples_of(dataset.split(split), num_classes=num_classes, digest=dataset.digest)


def _print_rows(rows: list[Mixing]) -> None:
    print_table(
        ["window, shards", "near", "apart", "sequences", "batch", "drift"],
        [
            [
                f"all {row.window_shards}" if row.is_full else str(row.window_shards),
                f"{row.near_percent:.2f} %",
                f"{row.apart_percent:.1f} %",
                f"{row.sequences:.2f}",
                f"{row.batch_deviation:.2f}",
                f"{row.drift:.2f}",
            ]
            for row in rows
        ],
    )
