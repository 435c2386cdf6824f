"""Files of COCO's kind: one JSON with images, categories, and the polygons of objects, as many tools export it.

Format: https://cocodataset.org/#format-data (object detection). It knows no order of shapes: the larger lies below.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from roadbed.data.proposal.polygons import Drawing, Drawings, Shape
from roadbed.errors import DataError


class _Image(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: int
    file_name: str
    height: int = Field(gt=0)
    width: int = Field(gt=0)


class _Runs(BaseModel):
    model_config = ConfigDict(frozen=True)

    counts: tuple[int, ...] | str
    size: tuple[int, int]


class _Annotation(BaseModel):
    model_config = ConfigDict(frozen=True)

    image_id: int
    category_id: int
    segmentation: tuple[tuple[float, ...], ...] | _Runs | None = None
    area: float = 0.0


class _Category(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: int
    name: str = Field(min_length=1)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)

    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


def read_coco(top: Path, names: Sequence[str]) -> Drawings:
    """The drawings of the files `names` below `top`. Raises DataError that names the file and what is wrong."""
    found = Drawings()
    for name in names:
        _read(top / name, found)
    return found


def _read(path: Path, found: Drawings) -> None:
    try:
        file = _File.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise DataError(f"{path}: {where}: {fault['msg']}; export it again") from None
    labels = {category.id: category.name for category in file.categories}
    found.labels += [name for name in labels.values() if name not in found.labels]
    shapes: dict[int, list[Shape]] = {image.id: [] for image in file.images}
    for annotation in sorted(file.annotations, key=lambda annotation: -annotation.area):
        if annotation.category_id not in labels or annotation.image_id not in shapes:
            raise DataError(
                f"{path}: an annotation of image {annotation.image_id} and category {annotation.category_id}, one of "
                "which the file does not have; export it again"
            )
        shapes[annotation.image_id] += _shapes(annotation, labels[annotation.category_id], path, found)
    for image in file.images:
        name = str(PurePosixPath(image.file_name).with_suffix(""))
        found.drawings.append(Drawing(name, image.height, image.width, tuple(shapes[image.id])))


def _shapes(annotation: _Annotation, label: str, path: Path, found: Drawings) -> list[Shape]:
    """The parts of an object; boxes without an outline are counted and left out."""
    outline = annotation.segmentation
    if not outline:
        found.leave_out("box")
        return []
    if isinstance(outline, _Runs):
        return [Shape(label, "bitmap", ((0.0, 0.0),), _bitmap(outline, annotation, path))]
    if any(len(values) < 6 or len(values) % 2 for values in outline):
        raise DataError(f"{path}: image {annotation.image_id}: a polygon of {label} has no three points; mend it")
    return [Shape(label, "polygon", tuple(zip(values[::2], values[1::2], strict=True))) for values in outline]


def _bitmap(runs: _Runs, annotation: _Annotation, path: Path) -> np.ndarray:
    """Runs of pixels, column by column, the first of them outside, as bool (H, W)."""
    if isinstance(runs.counts, str):
        raise DataError(
            f"{path}: image {annotation.image_id}: an outline in compressed runs; export polygons, or uncompressed runs"
        )
    height, width = runs.size
    if sum(runs.counts) != height * width or min(runs.counts, default=0) < 0:
        raise DataError(f"{path}: image {annotation.image_id}: runs of {sum(runs.counts)} pixels for {width}x{height}")
    pixels = np.repeat(np.arange(len(runs.counts)) % 2 == 1, runs.counts)
    return pixels.reshape(width, height).T
