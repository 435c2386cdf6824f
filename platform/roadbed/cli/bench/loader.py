"""`roadbed bench loader`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import connection, tell
from roadbed.cli.table import print_table

if TYPE_CHECKING:
    from roadbed.bench.race import Result


@click.command()
@click.option(
    "--camvid",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="CAMVID",
    help="Folder with CamVid; without it frames are painted.  [env: CAMVID]",
)
@click.option("--copies", type=click.IntRange(1), default=4, show_default=True, help="Every frame under so many keys.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Frames in a batch.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Threads; processes of others.")
@click.option(
    "--rival-decoders",
    type=click.Choice(["opencv", "roadbed"]),
    default="opencv",
    show_default=True,
    help="What the others decode with: what albumentations brings, or roadbed's own.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each one runs.")
@click.option("--only", metavar="A,B", help="Which contenders run.  [default: all that are installed]")
@click.option("--at", metavar="URI", default="s3://roadbed/bench/loader", show_default=True, help="Where data is put.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture, a PNG file.")
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
    """
    from roadbed.bench.frames import bench_source
    from roadbed.bench.race import NAMES, installed, race, ratios

    names, left_out = installed(only.split(",") if only else NAMES)
    for line in left_out:
        tell(line)
    source = bench_source(camvid, num_copies=copies)
    frames = f"CamVid from {camvid}" if camvid else "the painted town (--camvid DIR takes CamVid)"
    tell(f"{len(source.splits['train'])} samples of {frames}")
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
    over = {name: ratios(results, over=name) for name in ("litdata", "memory")}
    _print(results, over)
    if json_path is not None:
        document = {
            "samples": len(source.splits["train"]),
            "camvid": camvid is not None,
            "batch": batch,
            "workers": workers,
            "rival_decoders": rival_decoders,
            "cpus": os.cpu_count(),
            "results": [asdict(result) for result in results],
            "ratios": over,
        }
        json_path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        from roadbed.bench.race_plot import draw_race

        draw_race(results, plot)
    if wrong := [result.name for result in results if not result.is_every_key_once]:
        raise click.ClickException(f"{', '.join(wrong)}: an epoch did not hold every sample exactly once")


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
