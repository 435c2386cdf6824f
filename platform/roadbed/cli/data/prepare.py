"""`roadbed data prepare ...`: one command per kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from roadbed.cli.data.making import make_dataset, making_options


@click.group()
def prepare() -> None:
    """Write shards, index and dataset.json to DEST: s3://BUCKET/PREFIX, file:///FOLDER or a folder.

    A dataset that is there already, of the same source and options, is used as it is.
    """


def _size(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, int]:
    """WxH as (height, width)."""
    width, separator, height = text.lower().partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{text!r} is not a size; write WIDTHxHEIGHT in pixels, as in 480x360")
    return int(height), int(width)


@prepare.command()
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dest")
@click.option("--classes", type=click.Choice(["11", "32"]), default="11", show_default=True, help="Label space.")
@making_options
def camvid(src: Path, dest: str, classes: str, **shared: Any) -> None:
    """CamVid from the folder SRC.

    SRC is in SegNet's arrangement (train/, trainannot/, ...), the original one (701_StillsRaw_full/,
    LabeledApproved_full/) or a common variant of it (train/, train_labels/, ... or images/, labels/).
    """
    from roadbed.data.labels import CAMVID_11, CAMVID_32
    from roadbed.data.sources.camvid import CamvidSource

    make_dataset(CamvidSource(src, label_space=CAMVID_11 if classes == "11" else CAMVID_32), dest, **shared)


@prepare.command()
@click.argument("dest")
@click.option("--train", type=click.IntRange(1), default=200, show_default=True, help="Frames to train on.")
@click.option("--val", type=click.IntRange(0), default=40, show_default=True, help="Frames to evaluate on.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, another town.")
@click.option("--size", callback=_size, default="480x360", show_default=True, metavar="WxH", help="Pixels of a frame.")
@making_options
def painted(dest: str, train: int, val: int, seed: int, size: tuple[int, int], **shared: Any) -> None:
    """A painted town with CamVid's 11 classes; needs no download."""
    from roadbed.data.sources.painted import PaintedSource

    make_dataset(PaintedSource({"train": train, "val": val}, seed=seed, size_px=size), dest, **shared)
