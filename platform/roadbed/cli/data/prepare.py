"""`roadbed data prepare ...`: one command per kind of source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from roadbed.cli.data.making import make_dataset, making_options
from roadbed.cli.data.splitting import splitting_options, take_splitting
from roadbed.cli.store import connection, tell


@click.group()
def prepare() -> None:
    """Write shards, index and dataset.json to DEST: s3://BUCKET/PREFIX, file:///FOLDER or a folder.

    Sources are folders or s3:// prefixes. A dataset that is there already, of the same source and options, is used as
    it is.

    \b
    roadbed data prepare painted s3://roadbed/datasets/town
    roadbed data prepare camvid CAMVID_FOLDER s3://roadbed/datasets/camvid
    """


def _size(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """WxH as (height, width)."""
    if text is None:
        return None
    width, separator, height = text.lower().partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{text!r} is not a size; write WIDTHxHEIGHT in pixels, as in 480x360")
    return int(height), int(width)


def _words(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """Words between commas, one at least."""
    if text is None:
        return None
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise click.BadParameter(f"{text!r} names nothing; write words between commas, or leave it out")
    return words


@prepare.command()
@click.argument("src")
@click.argument("dest")
@click.option("--classes", type=click.Choice(["11", "32"]), default="11", show_default=True, help="Label space.")
@click.option(
    "--holdout",
    type=float,
    default=0.0,
    metavar="X",
    help="Share of each training sequence, 0..1, that becomes the split `holdout`: the last frames.",
)
@making_options
def camvid(src: str, dest: str, classes: str, holdout: float, **shared: Any) -> None:
    """CamVid from SRC, a folder or s3:// prefix.

    SRC is in SegNet's arrangement (train/, trainannot/, ...), the original one (701_StillsRaw_full/,
    LabeledApproved_full/) or a common variant of it (train/, train_labels/, ... or images/, labels/).

    \b
    roadbed data prepare camvid CAMVID_FOLDER s3://roadbed/datasets/camvid
    roadbed data prepare camvid s3://raw/camvid s3://roadbed/datasets/camvid32 --classes 32 --workers 8
    """
    from roadbed.data.labels import CAMVID_11, CAMVID_32
    from roadbed.data.sources.camvid import CamvidSource

    _check_reach(shared["workers"], src)
    with connection(src, dest):
        label_space = CAMVID_11 if classes == "11" else CAMVID_32
        source = CamvidSource(src, label_space=label_space, holdout_share=holdout)
        _tell_all(source.notes)
        make_dataset(source, dest, **shared)


@prepare.command()
@click.argument("src")
@click.argument("dest")
@click.option("--classes", type=click.Choice(["19", "30"]), default="19", show_default=True, help="Label space.")
@click.option(
    "--labels",
    type=click.Choice(["labelIds", "labelTrainIds"]),
    default="labelIds",
    show_default=True,
    help="Which masks to read; labelTrainIds know the 19 classes alone.",
)
@click.option("--splits", callback=_words, metavar="A,B", help="Which splits.  [default: train,val]")
@click.option("--cities", callback=_words, metavar="A,B", help="These cities alone.  [default: all]")
@click.option("--resize", callback=_size, metavar="WxH", help="Store frames in this size.")
@click.option("--tiles", callback=_size, metavar="WxH", help="Cut frames into tiles of this size, a sample each.")
@click.option("--tile-overlap", type=click.IntRange(0), default=0, metavar="PX", help="Least overlap of tiles.")
@making_options
def cityscapes(
    src: str,
    dest: str,
    classes: str,
    labels: Any,
    splits: tuple[str, ...] | None,
    cities: tuple[str, ...] | None,
    resize: tuple[int, int] | None,
    tiles: tuple[int, int] | None,
    tile_overlap: int,
    **shared: Any,
) -> None:
    """Cityscapes from SRC, a folder or s3:// prefix that holds leftImg8bit/ and gtFine/.

    Frames are stored whole (2048x1024), resized, or as tiles.

    \b
    roadbed data prepare cityscapes CITYSCAPES_FOLDER s3://roadbed/datasets/cityscapes
    roadbed data prepare cityscapes s3://raw/cityscapes s3://roadbed/datasets/half --resize 1024x512
    """
    from roadbed.data.labels import CITYSCAPES_19, CITYSCAPES_30
    from roadbed.data.sources.cityscapes import CityscapesSource
    from roadbed.data.sources.cityscapes_frames import Framing

    framing = Framing(resize_px=resize, tile_px=tiles, overlap_px=tile_overlap)
    label_space = CITYSCAPES_19 if classes == "19" else CITYSCAPES_30
    _check_reach(shared["workers"], src)
    with connection(src, dest):
        source = CityscapesSource(
            src, label_space=label_space, labels=labels, splits=splits, cities=cities, framing=framing
        )
        _tell_all(source.notes)
        make_dataset(source, dest, **shared)


@prepare.command()
@click.argument("dest")
@click.option("--images", required=True, metavar="DIR", help="Frames, in sub-folders or not: a folder or s3:// prefix.")
@click.option("--masks", required=True, metavar="DIR", help="Their masks, under the same names.")
@click.option("--classes", required=True, metavar="FILE", help="classes.yaml: names, colours, raw ids, what to ignore.")
@click.option("--mask-suffix", metavar="TEXT", help="End of the masks' names, as _mask.  [default: common ones]")
@splitting_options
@making_options
def folder(dest: str, images: str, masks: str, classes: str, mask_suffix: str | None, **options: Any) -> None:
    """Frames and masks of your own, with the classes of a classes.yaml.

    Splits come from folders named train/, val/ and test/ under both, from lists, or from shares. Shares keep sequences
    whole, so that near-duplicates do not get into two splits.

    \b
    roadbed data prepare folder s3://roadbed/datasets/own --images own/images --masks own/masks \
        --classes own/classes.yaml
    """
    from roadbed.data.sources.folder import FolderSource

    _check_reach(options["workers"], images, masks)
    with connection(images, masks, classes, dest):
        splitting = take_splitting(options)
        source = FolderSource(images, masks, classes, mask_suffix=mask_suffix, splitting=splitting)
        _tell_all(source.notes)
        make_dataset(source, dest, **options)


def _check_reach(workers: int | None, *sources: str) -> None:
    """Raises UsageError if workers on other machines could not read a folder of this one."""
    from roadbed.errors import UsageError
    from roadbed.runtime.session import is_ray_remote

    near = [src for src in sources if not src.startswith("s3://")]
    if workers is not None and near and is_ray_remote():
        raise UsageError(
            f"{near[0]}: workers on the Ray cluster at {os.environ['RAY_ADDRESS']} cannot read a folder of this "
            "machine; put the files into an s3:// prefix, or leave --workers out"
        )


def _tell_all(notes: Sequence[str]) -> None:
    for note in notes:
        tell(note)


@prepare.command()
@click.argument("dest")
@click.option("--train", type=click.IntRange(1), default=200, show_default=True, help="Frames to train on.")
@click.option("--val", type=click.IntRange(0), default=40, show_default=True, help="Frames to evaluate on.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, another town.")
@click.option("--size", callback=_size, default="480x360", show_default=True, metavar="WxH", help="Pixels of a frame.")
@making_options
def painted(dest: str, train: int, val: int, seed: int, size: tuple[int, int], **shared: Any) -> None:
    """A painted town with CamVid's 11 classes; needs no download.

    \b
    roadbed data prepare painted s3://roadbed/datasets/town
    roadbed data prepare painted town --train 20 --val 5 --size 240x180
    """
    from roadbed.data.sources.painted import PaintedSource

    make_dataset(PaintedSource({"train": train, "val": val}, seed=seed, size_px=size), dest, **shared)
