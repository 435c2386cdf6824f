"""`roadbed bench loader`."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from roadbed.cli.bench.shared import figure_options, frame_options, refuse_inexact, said_frames, write_figures
from roadbed.cli.store import connection, tell
from roadbed.cli.table import print_table

if TYPE_CHECKING:
    from roadbed.bench.race import Result


@click.command()
@frame_options(copies=4)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Threads; processes of others.")
@click.option(
    "--rival-decoders",
    type=click.Choice(["opencv", "roadbed"]),
    default="opencv",
    show_default=True,
    help="What the others decode with: what albumentations brings, or roadbed's own.",
)
@click.option("--only", metavar="A,B", help="Which contenders run.  [default: all that are installed]")
@click.option("--at", metavar="URI", default="s3://roadbed/bench/loader", show_default=True, help="Where data is put.")
@figure_options
def loader(
    camvid: Path | None,
    copies: int,
    batch: int,
    workers: int,
    rival_decoders: str,
    rounds: int,
    only: str | None,
    at: str,
    json_path: Path | None,
    plot: Path | None,
) -> None:
    """Compare this loader with others on the same store, frames, augmentation and batches.

    Every contender runs in fresh processes: one cold epoch, its caches empty, and two warm ones. The data stays at the
    URI of --at (some 300 MB for CamVid four times) and is used again.

    \b
    roadbed bench loader --rounds 5 --json loader.json --plot loader.png
    """
    from roadbed.bench.frames import bench_source, prepared
    from roadbed.bench.parts import measure_parts
    from roadbed.bench.race import NAMES, installed, race, ratios
    from roadbed.bench.race_plot import draw_race

    names, left_out = installed(only.split(",") if only else NAMES)
    for line in left_out:
        tell(line)
    source = bench_source(camvid, num_copies=copies)
    num_samples = len(source.splits["train"])
    tell(said_frames(num_samples, camvid))
    with connection(at):
        results = race(
            source,
            at,
            names=names,
            num_rounds=rounds,
            batch_size=batch,
            num_workers=workers,
            rival_decoders=rival_decoders,
            tell=tell,
        )
        parts_ms = measure_parts(prepared(source, f"{at}/dataset"))
    over = {name: ratios(results, over=name) for name in ("litdata", "memory")}
    _print(results, over)
    _print_parts(parts_ms)
    document = {
        "samples": num_samples,
        "camvid": camvid is not None,
        "batch": batch,
        "workers": workers,
        "rival_decoders": rival_decoders,
        "cpus": os.cpu_count(),
        "results": [asdict(result) for result in results],
        "ratios": over,
        "parts_ms": parts_ms,
    }
    write_figures(json_path, document, plot, partial(draw_race, results))
    refuse_inexact({result.name: result.is_every_key_once for result in results})


def _print(results: list[Result], over: dict[str, dict[str, dict[str, float]]]) -> None:
    print_table(
        [
            "loader",
            "cold, images/s",
            "warm, images/s",
            "CPU s per 1000",
            "peak MB",
            "every sample once",
        ],
        [
            [
                result.name,
                f"{median(result.cold_per_s):.0f}",
                f"{median(result.warm_per_s):.0f}",
                f"{median(result.cold_cpu_s_per_1000):.2f}, {median(result.warm_cpu_s_per_1000):.2f}",
                f"{median(result.peak_mb):.0f}",
                "yes" if result.is_every_key_once else "NO",
            ]
            for result in results
        ],
    )
    for name, modes in over.items():
        for mode, ratio in modes.items():
            click.echo(
                f"{mode} against {name}: {ratio['cold']:.2f} x cold, {ratio['warm']:.2f} x warm, "
                f"CPU seconds fewer by {ratio['cold_cpu']:.2f} x cold, {ratio['warm_cpu']:.2f} x warm"
            )


def _print_parts(parts_ms: dict[str, float]) -> None:
    """What roadbed's cold images cost, the largest part first."""
    total_ms = sum(parts_ms.values())
    click.echo(f"an image of roadbed's cold epoch takes {total_ms:.2f} ms of one core, its parts by themselves:")
    for name, part_ms in sorted(parts_ms.items(), key=lambda part: -part[1]):
        click.echo(f"  {name:<30}{part_ms:6.3f} ms {100 * part_ms / total_ms:4.0f} %")
