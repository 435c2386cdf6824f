"""`roadbed bench scale`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadbed.cli.bench.shared import figure_options, write_figures
from roadbed.cli.store import connection
from roadbed.cli.table import print_table

if TYPE_CHECKING:
    from roadbed.bench.scale import ScaleFigures


@click.command()
@click.option("--samples", default=1_000_000, show_default=True, type=click.IntRange(1_000), help="How large it is.")
@click.option("--ranks", default=1_024, show_default=True, type=click.IntRange(1), help="How many share an epoch.")
@click.option("--at", metavar="URI", help="An empty prefix for the synthetic index.  [default: a temporary folder]")
@figure_options
def scale(samples: int, ranks: int, at: str | None, json_path: Path | None, plot: Path | None) -> None:
    """Measure start, memory and order of a synthetic dataset of a million samples, none of whose pixels exist.

    \b
    roadbed bench scale --samples 10000000 --json scale.json
    """
    from roadbed.bench.order_plots import draw_scale
    from roadbed.bench.scale import measure_scale

    with ExitStack() as stack:
        uri = at or stack.enter_context(tempfile.TemporaryDirectory(prefix="roadbed-"))
        stack.enter_context(connection(uri))
        figures = measure_scale(uri, num_samples=samples, num_ranks=ranks)
    _print_figures(figures)
    write_figures(json_path, asdict(figures), plot, partial(draw_scale, figures))


def _print_figures(figures: ScaleFigures) -> None:
    start, partition = figures.start, figures.partition
    click.echo(
        f"{figures.num_samples:,} samples in {figures.num_shards:,} shards, index of {figures.index_mb:.0f} MB\n"
    )
    print_table(
        ["start of a process", "seconds", "peak MB"],
        [
            ["Python with numpy", "", f"{start['bare_mb']:.0f}"],
            ["imports of the loader", f"{start['imports_s']:.3f}", f"{start['imported_mb']:.0f}"],
            ["dataset.json", f"{start['open_s']:.3f}", ""],
            ["index", f"{start['index_s']:.3f}", ""],
            ["order and first batch", f"{start['first_batch_s']:.3f}", f"{start['peak_mb']:.0f}"],
            ["all but imports", f"{start['start_s']:.3f}", f"{start['above_bare_mb']:.0f} above Python"],
        ],
    )
    click.echo(
        f"\n{partition.num_ranks:,} ranks, global batch {partition.global_batch:,}: one rank's first batch after "
        f"{1e3 * partition.first_batch_s:.1f} ms; all {partition.num_batches:,} batches of all ranks in "
        f"{partition.all_ranks_s:.1f} s, every sample once: {'yes' if partition.is_every_sample_once else 'NO'}\n"
    )
    print_table(
        ["samples", "shards", "start of an epoch, ms", "a batch of 8 lanes, us"],
        [
            [f"{cost.num_samples:,}", f"{cost.num_shards:,}", f"{cost.order_ms:.2f}", f"{cost.batch_us:.1f}"]
            for cost in figures.batches
        ],
    )
