"""`roadbed data show`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadbed.cli.completion import files
from roadbed.cli.store import connection
from roadbed.cli.table import print_table

if TYPE_CHECKING:
    from roadbed.data.dataset import Dataset


@click.command()
@click.argument("uri", shell_complete=files)
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Write a contact sheet, a PNG file.")
@click.option("--split", help="The split on the sheet.  [default: train]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(uri: str, sheet: Path | None, split: str | None, as_json: bool) -> None:
    """Print splits, counts and the classes' shares of pixels; with --sheet draw frames with their masks.

    \b
    roadbed data show s3://roadbed/datasets/camvid
    roadbed data show s3://roadbed/datasets/camvid --sheet sheet.png --split val
    """
    from roadbed.data.dataset import Dataset
    from roadbed.data.sheet import draw_sheet
    from roadbed.errors import UsageError

    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet {sheet}: the sheet is a PNG file, give a name that ends in .png")
    with connection(uri):
        dataset = Dataset.open(uri)
        chosen = dataset.split(split) if split else next(iter(dataset.splits.values()))
        if as_json:
            click.echo(json.dumps(_document(dataset), indent=1, ensure_ascii=False))
        else:
            _print_dataset(dataset)
        if sheet is not None:
            picture = draw_sheet(dataset, chosen)
            sheet.parent.mkdir(parents=True, exist_ok=True)
            picture.save(sheet)
            click.echo(f"\ncontact sheet of {chosen.name}: {sheet}", err=as_json)


def _document(dataset: Dataset) -> dict[str, object]:
    source, options = dataset.manifest.source, dataset.manifest.options
    splits = {
        name: {
            "samples": split.num_samples,
            "shards": len(split.shards),
            "bytes": sum(shard.num_bytes for shard in split.shards),
            "pixels": dict(zip(dataset.label_space.class_names, map(int, split.class_pixels), strict=True)),
            "ignored_pixels": int(split.ignored_pixels),
        }
        for name, split in dataset.splits.items()
    }
    return {
        "uri": dataset.uri,
        "digest": dataset.digest,
        "source": {"kind": source.kind, "fingerprint": source.fingerprint},
        "options": asdict(options),
        "label_space": dataset.label_space.name,
        "splits": splits,
    }


def _print_dataset(dataset: Dataset) -> None:
    manifest = dataset.manifest
    encoding = manifest.options.image_encoding
    quality = f" of quality {manifest.options.jpeg_quality}" if encoding == "jpeg" else ""
    splits = [
        [
            name,
            f"{split.num_samples:,}",
            f"{len(split.shards):,}",
            f"{sum(s.num_bytes for s in split.shards) / 1e6:,.1f}",
        ]
        for name, split in dataset.splits.items()
    ]
    totals = {name: max(int(s.class_pixels.sum()) + s.ignored_pixels, 1) for name, s in dataset.splits.items()}
    classes = [
        [name, *(f"{100 * split.class_pixels[row] / totals[key]:.2f} %" for key, split in dataset.splits.items())]
        for row, name in enumerate(dataset.label_space.class_names)
    ]
    classes.append(["ignored", *(f"{100 * s.ignored_pixels / totals[key]:.2f} %" for key, s in dataset.splits.items())])
    click.echo(f"{dataset.uri}\ndigest {dataset.digest}")
    click.echo(
        f"from {manifest.source.kind} {manifest.source.fingerprint[:12]}..., frames as {encoding}{quality}, "
        f"{manifest.options.samples_per_shard} samples per shard\n"
    )
    print_table(["split", "samples", "shards", "MB"], splits)
    click.echo()
    print_table([f"share of pixels ({dataset.label_space.name})", *dataset.splits], classes)
