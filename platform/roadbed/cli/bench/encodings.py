"""`roadbed bench encodings`."""

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
    from roadbed.bench.encodings import EncodingFigures


@click.command()
@frame_options(copies=2)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="That decode.")
@click.option("--only", metavar="A,B", help="Which encodings, as in jpeg-png,zstd-zstd.  [default: all]")
@click.option("--at", metavar="URI", default="s3://roadbed/bench/encodings", show_default=True, help="Where data is.")
@figure_options
def encodings(
    camvid: Path | None,
    copies: int,
    batch: int,
    threads: int,
    rounds: int,
    only: str | None,
    at: str,
    json_path: Path | None,
    plot: Path | None,
) -> None:
    """Compare the ways to store frames and masks: bytes, CPU, and cold epochs of the loader behind links.

    The datasets stay below the URI of --at (some 1.2 GB for CamVid twice).

    \b
    roadbed bench encodings --copies 1 --rounds 5 --json encodings.json
    """
    from roadbed.bench.encodings import ENCODINGS, chosen, measure_encodings
    from roadbed.bench.encodings_plot import draw_encodings
    from roadbed.bench.frames import bench_source

    names = chosen(only.split(",") if only else list(ENCODINGS))
    source = bench_source(camvid, num_copies=copies)
    num_samples = len(source.splits["train"])
    tell(said_frames(num_samples, camvid))
    with connection(at):
        figures = measure_encodings(
            source, at, names=names, num_rounds=rounds, batch_size=batch, num_threads=threads, tell=tell
        )
    _print_figures(figures)
    setting = {"samples": num_samples, "camvid": camvid is not None, "batch": batch, "threads": threads}
    document = {**setting, "cpus": os.cpu_count(), "encodings": [asdict(figure) for figure in figures]}
    write_figures(json_path, document, plot, partial(draw_encodings, figures))
    refuse_inexact({figure.name: figure.is_every_sample_once for figure in figures})


def _print_figures(figures: list[EncodingFigures]) -> None:
    from roadbed.bench.encodings import LINKS, best

    print_table(
        [
            "frames-masks",
            "kB/frame",
            "kB/mask",
            "encode ms",
            "decode ms",
            "of a crop",
            *(f"{link}, images/s" for link in LINKS),
        ],
        [
            [
                figure.name,
                f"{figure.image_bytes / 1000:.1f}",
                f"{figure.mask_bytes / 1000:.1f}",
                f"{figure.encode_ms:.2f}",
                f"{figure.decode_ms:.2f}",
                f"{figure.crop_decode_ms:.2f}",
                *(f"{median(figure.images_per_s[link]):.0f}" for link in LINKS),
            ]
            for figure in figures
        ],
    )
    for link in LINKS:
        click.echo(f"{link}: {_verdict(*best(figures, link))}")


def _verdict(name: str, ratios: tuple[float, ...]) -> str:
    """Who won, and whether that is more than noise: whoever did not win every round against the default did not win."""
    from roadbed.bench.encodings import DEFAULT

    if name == DEFAULT:
        return f"{name}, the default, is the fastest"
    if not ratios:
        return f"{name} is the fastest of those measured"
    figures = f"{median(ratios):.2f} x the default {DEFAULT} in the median, {min(ratios):.2f} in its worst round"
    return f"{name} is the fastest, {figures}" if min(ratios) > 1 else f"nothing beats {DEFAULT}, the default, for sure"
