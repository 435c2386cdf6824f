"""`roadbed bench encodings`."""

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
    from roadbed.bench.encodings import EncodingFigures


@click.command()
@click.option(
    "--camvid",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="CAMVID",
    help="Folder with CamVid; without it frames are painted.  [env: CAMVID]",
)
@click.option("--copies", type=click.IntRange(1), default=2, show_default=True, help="Every frame under so many keys.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Frames in a batch.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="That decode.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each one runs.")
@click.option("--only", metavar="A,B", help="Which encodings, as in jpeg-png,zstd-zstd.  [default: all]")
@click.option("--at", metavar="URI", default="s3://roadbed/bench/encodings", show_default=True, help="Where data is.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture, a PNG file.")
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
    """
    from roadbed.bench.encodings import ENCODINGS, chosen, measure_encodings
    from roadbed.bench.frames import bench_source

    names = chosen(only.split(",") if only else list(ENCODINGS))
    source = bench_source(camvid, num_copies=copies)
    num_samples = len(source.splits["train"])
    tell(f"{num_samples} samples of " + ("CamVid" if camvid else "the painted town (--camvid DIR takes CamVid)"))
    with connection(at):
        figures = measure_encodings(
            source, at, names=names, num_rounds=rounds, batch_size=batch, num_threads=threads, tell=tell
        )
    _print_figures(figures)
    for path in (json_path, plot):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if json_path is not None:
        setting = {"samples": num_samples, "camvid": camvid is not None, "batch": batch, "threads": threads}
        document = {**setting, "cpus": os.cpu_count(), "encodings": [asdict(figure) for figure in figures]}
        json_path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        from roadbed.bench.encodings_plot import draw_encodings

        draw_encodings(figures, plot)
    _refuse_inexact(figures)


def _print_figures(figures: list[EncodingFigures]) -> None:
    from roadbed.bench.encodings import LINKS, best

    print_table(
        ["frames-masks", "kB/frame", "kB/mask", "encode ms", "decode ms", *(f"{link}, images/s" for link in LINKS)],
        [
            [
                figure.name,
                f"{figure.image_bytes / 1000:.1f}",
                f"{figure.mask_bytes / 1000:.1f}",
                f"{figure.encode_ms:.2f}",
                f"{figure.decode_ms:.2f}",
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


def _refuse_inexact(figures: list[EncodingFigures]) -> None:
    wrong = [figure.name for figure in figures if not figure.is_every_sample_once]
    if wrong:
        raise click.ClickException(f"{', '.join(wrong)}: an epoch did not hold every sample exactly once")
