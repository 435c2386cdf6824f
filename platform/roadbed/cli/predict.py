"""`roadbed predict MODEL INPUT...`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from roadbed.cli.store import connection, store_option, tell
from roadbed.cli.workers import check_reach, chosen_mapper, default_threads, workers_option

if TYPE_CHECKING:
    from roadbed.inference.predictor import Predictor
    from roadbed.inference.tiles import Tiles
    from roadbed.prediction import Predicted
    from roadbed.registry import Version


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--output", required=True, metavar="DIR", help="A folder, or an s3:// prefix.")
@click.option(
    "--write",
    "words",
    default="masks,overlays",
    show_default=True,
    metavar="LIST",
    help="What is written: masks, overlays, side-by-side.",
)
@click.option("--every", type=click.IntRange(1), default=1, metavar="N", help="See every Nth frame of videos.")
@click.option("--fast", is_flag=True, help="Look at each image once, also where the model was scored over more views.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="What computes: torch, inductor, openvino, onnxruntime; auto: the fastest that the version is exported for.",
)
@click.option(
    "--tile", metavar="WxH", help="See larger images through overlapping windows of this size, as in 1024x512."
)
@workers_option
@click.option("--overwrite", is_flag=True, help="Delete the predictions that are in DIR, and begin anew.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@store_option
def predict(
    model: str,
    inputs: tuple[str, ...],
    output: str,
    words: str,
    every: int,
    fast: bool,
    engine: str,
    tile: str | None,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
    store: str,
) -> None:
    """Segment pictures and videos with MODEL: NAME@ALIAS, NAME:NUMBER or a uri.

    Each INPUT is a file, a folder with all that is below it, a glob in quotes, an s3:// object or an s3:// prefix.

    Of every picture DIR has NAME.mask.png, an indexed picture of class numbers with the classes' colours,
    NAME.overlay.png, and if asked for NAME.side.png. Of every video it has the mask of each frame,
    NAME/000123.mask.png, and NAME.overlay.mp4. Started again, it goes on with what is not there yet.

    The model sees each image as it was scored: at the sizes of train.eval_scales, and mirrored with train.eval_flip.

    \b
    roadbed predict camvid@champion street.jpg -o predictions
    roadbed predict camvid@champion drives 'more/**/*.png' -o predictions --write masks,side-by-side
    roadbed predict camvid@champion drive.mp4 --every 5 -o predictions
    roadbed predict camvid@champion s3://fleet/monday -o s3://fleet/monday-masks --workers 16
    """
    from roadbed.cli.progress import WorkProgress
    from roadbed.errors import DataError
    from roadbed.inference.tiles import Tiles
    from roadbed.prediction import Making, ShotPredictor, claim, find_inputs, parse_writes, predict_all
    from roadbed.registry import Registry
    from roadbed.storage import open_store

    tiles, writes = None if tile is None else Tiles.parse(tile), parse_writes(words)
    check_reach(workers, (store, model, output, *inputs))
    with connection(store, model, output, *inputs, needs_ray=workers is not None):
        found, num_left_out = find_inputs(inputs)
        if num_left_out:
            tell(f"left out, as no pictures or videos, or as predictions by their names: {num_left_out}")
        version, target = Registry(open_store(store)).resolve(model), open_store(output)
        predictor = _opened(version, engine, fast, tiles)
        making = Making.of(version, predictor, target, writes=writes, every=every)
        shots = ShotPredictor(making, ready=[predictor])
        there = claim(target, making.to_json(), found, overwrite=overwrite)
        num_workers = workers or default_threads(predictor.engine.name)
        with WorkProgress("predict") as progress, chosen_mapper(num_workers, workers) as mapper:
            done = predict_all(
                shots,
                found,
                there,
                mapper=mapper,
                num_workers=num_workers,
                progress=progress.update,
                notify=progress.say,
            )
    told = {"model": f"{version.name}:{version.number}", "engine": predictor.engine.note, "output": output}
    click.echo(_json(told, done) if as_json else _words(told, done))
    if done.failures:
        reasons = "\n".join(f"  {failure.reason}" for failure in done.failures)
        raise DataError(f"{len(done.failures)} of {len(found)} inputs could not be predicted:\n{reasons}")


def _opened(version: Version, engine: str, is_fast: bool, tiles: Tiles | None) -> Predictor:
    """A predictor of one thread; why it has this engine and no other is told."""
    from roadbed.inference.export import open_engine
    from roadbed.inference.predictor import Predictor
    from roadbed.inference.views import ONE_VIEW, Views

    opened = open_engine(version, engine, threads=1)
    for reason in opened.reasons:
        tell(reason)
    views = ONE_VIEW if is_fast else Views.of_card(version.card())
    return Predictor(opened.engine, opened.labels, views=views, tiles=tiles)


def _json(told: dict[str, str], done: Predicted) -> str:
    return json.dumps(told | done.to_json(), indent=1, ensure_ascii=False)


def _words(told: dict[str, str], done: Predicted) -> str:
    counts = {"picture": done.pictures, "frame": done.frames, "video": done.videos}
    new = [f"{count} {noun}{'s' * (count != 1)}" for noun, count in counts.items() if count] or ["nothing new"]
    before = f", {done.already_there} of the inputs were there already" if done.already_there else ""
    pace = f", {done.images_per_s:.1f} images/s" if done.images_per_s else ""
    return f"{', '.join(new)}{before}: {told['output']} ({told['engine']}{pace})"
