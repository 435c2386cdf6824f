"""What the benchmarks share at the command line: which frames, how often, and where the figures go."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def frame_options(*, copies: int) -> Callable[[Command], Command]:
    """--camvid, --copies (by default `copies`), --batch and --rounds."""
    return _all(
        click.option(
            "--camvid",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            envvar="CAMVID",
            help="Folder with CamVid; without it frames are painted.  [env: CAMVID]",
        ),
        click.option(
            "--copies",
            type=click.IntRange(1),
            default=copies,
            show_default=True,
            help="Every frame under so many keys.",
        ),
        click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Frames in a batch."),
        click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each one runs."),
    )


def figure_options(function: Command) -> Command:
    """--json and --plot."""
    path = click.Path(path_type=Path, dir_okay=False)
    return _all(
        click.option("--json", "json_path", type=path, help="Write the figures."),
        click.option("--plot", type=path, help="Write a picture, a PNG file."),
    )(function)


def said_frames(num_samples: int, camvid: Path | None) -> str:
    """Which frames a benchmark runs on, for people."""
    frames = f"CamVid from {camvid}" if camvid else "the painted town (--camvid DIR takes CamVid)"
    return f"{num_samples} samples of {frames}"


def write_figures(json_path: Path | None, document: object, plot: Path | None, draw: Callable[[Path], None]) -> None:
    """The document as JSON and the picture that `draw` makes, each where it was asked for; folders are made."""
    for path in (json_path, plot):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        draw(plot)


def refuse_inexact(is_every_sample_once: Mapping[str, bool]) -> None:
    """Raises ClickException that names the contenders whose epochs did not hold every sample exactly once."""
    wrong = [name for name, is_exact in is_every_sample_once.items() if not is_exact]
    if wrong:
        raise click.ClickException(f"{', '.join(wrong)}: an epoch did not hold every sample exactly once")


def _all(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(function: Command) -> Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
