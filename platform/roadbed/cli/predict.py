"""`roadbed predict MODEL IMAGE...`."""

from __future__ import annotations

from pathlib import Path

import click

from roadbed.cli.store import connection, store_option

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for masks and overlays.")
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
@store_option
def predict(
    model: str, images: tuple[Path, ...], output: Path, fast: bool, engine: str, tile: str | None, store: str
) -> None:
    """Segment IMAGES (files, or folders of them) with MODEL: NAME@ALIAS, NAME:NUMBER or a uri.

    Writes NAME.mask.png, an indexed picture of class numbers with the classes' colours, and NAME.overlay.png for every
    image, at its own size. The model sees each image as it was scored: at the sizes of train.eval_scales, and mirrored
    with train.eval_flip.

    \b
    roadbed predict camvid@champion street.jpg -o predictions
    """
    import os

    from roadbed.cli.progress import WorkProgress
    from roadbed.errors import UsageError
    from roadbed.inference.export import open_engine
    from roadbed.inference.predictor import Predictor, read_image
    from roadbed.inference.tiles import Tiles
    from roadbed.inference.views import ONE_VIEW, Views
    from roadbed.registry import Registry
    from roadbed.report.overlay import save_mask, save_overlay
    from roadbed.storage import open_store

    tiles = None if tile is None else Tiles.parse(tile)
    paths = _pictures(images)
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UsageError(f"several images are called {twice[0]}, their masks would overwrite each other; rename one")
    with connection(store, model):
        version = Registry(open_store(store)).resolve(model)
        views = ONE_VIEW if fast else Views.of_card(version.card())
        opened = open_engine(version, engine, threads=os.cpu_count() or 1)
        predictor = Predictor(opened.engine, opened.labels, views=views, tiles=tiles)
    output.mkdir(parents=True, exist_ok=True)
    with WorkProgress("predict") as progress:
        for done, path in enumerate(paths, start=1):
            image_HW3 = read_image(path)
            mask_HW = predictor.predict(image_HW3)
            save_mask(mask_HW, predictor.label_space, output / f"{path.stem}.mask.png")
            save_overlay(image_HW3, mask_HW, predictor.label_space, output / f"{path.stem}.overlay.png")
            progress.update(done, len(paths), path.name)
    click.echo(f"{len(paths)} masks and overlays: {output} ({opened.engine.note})")


def _pictures(images: tuple[Path, ...]) -> list[Path]:
    from roadbed.errors import UsageError

    paths: list[Path] = []
    for image in images:
        if image.is_dir():
            found = sorted(path for path in image.iterdir() if path.suffix.lower() in SUFFIXES)
            if not found:
                raise UsageError(f"{image}: no pictures in this folder (looked for {', '.join(sorted(SUFFIXES))})")
            paths += found
        elif image.exists():
            paths.append(image)
        else:
            raise UsageError(f"{image}: no such file or folder")
    return paths
