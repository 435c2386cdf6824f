"""`roadbed bench train`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from roadbed.cli.bench.shared import figure_options, frame_options, said_frames, write_figures
from roadbed.cli.store import connection, tell
from roadbed.cli.table import print_table

if TYPE_CHECKING:
    from roadbed.bench.train_race import Result


@click.command()
@frame_options(copies=4)
@click.option("--steps", type=click.IntRange(1), default=4, show_default=True, help="Steps of a turn.")
@click.option(
    "--crop",
    type=(int, int),
    default=(240, 320),
    show_default=True,
    metavar="HEIGHT WIDTH",
    help="Size of the crops, pixels.",
)
@click.option(
    "--workers",
    type=click.Choice(["1", "2", "both"]),
    default="both",
    show_default=True,
    help="Training processes that share the cores.",
)
@click.option("--cpus", type=click.IntRange(1), help="Threads in all.  [default: 2, or the CPUs if fewer]")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Of the bare step and the loop, as train.precision; the reference is float32.",
)
@click.option("--only", metavar="A,B", help="Which contenders run.  [default: all]")
@click.option("--at", metavar="URI", default="s3://roadbed/bench/train", show_default=True, help="Where data is put.")
@figure_options
def train(
    camvid: Path | None,
    copies: int,
    batch: int,
    steps: int,
    crop: tuple[int, int],
    workers: str,
    cpus: int | None,
    precision: str,
    rounds: int,
    only: str | None,
    at: str,
    json_path: Path | None,
    plot: Path | None,
) -> None:
    """Compare the training loop with its step alone, and with torchvision's recipe written plainly.

    All take turns of --steps steps. The step alone, on a batch in memory, is the limit of what a loop can reach. Ratios
    come with the bounds in which their median lies with 95 %; ten rounds or more make these narrow.

    \b
    roadbed bench train --rounds 10 --workers 1 --json train.json
    """
    from roadbed.bench.frames import bench_source, prepared
    from roadbed.bench.train_plot import draw_training
    from roadbed.bench.train_race import NAMES, Plan, chosen, document, race

    names = chosen(only.split(",") if only else NAMES)
    numbers = (1, 2) if workers == "both" else (int(workers),)
    plan = Plan(crop, batch, numbers, cpus or min(2, os.cpu_count() or 1), rounds, steps, precision)
    source = bench_source(camvid, num_copies=copies)
    tell(said_frames(len(source.splits["train"]), camvid))
    with connection(at):
        dataset = prepared(source, f"{at}/dataset")
        results = race(dataset, at, plan, names=names, tell=tell)
    _print(results)
    figures = {"samples": len(source.splits["train"]), "camvid": camvid is not None} | document(results, plan)
    write_figures(json_path, figures, plot, partial(draw_training, results))


def _print(results: list[Result]) -> None:
    from roadbed.bench.train_phases import PHASES
    from roadbed.bench.train_race import OURS, ratios

    print_table(
        ["contender", "workers", "images/s", *PHASES],
        [
            [
                result.name,
                str(result.num_workers),
                f"{median(result.images_per_s):.2f}",
                *(f"{result.phases[phase]:.1%}" if result.phases else "" for phase in PHASES),
            ]
            for result in results
        ],
    )
    for ratio in ratios(results):
        click.echo(
            f"{OURS} against {ratio.over}, workers={ratio.num_workers}: {ratio.median:.3f} x "
            f"({ratio.low:.3f} to {ratio.high:.3f})"
        )
