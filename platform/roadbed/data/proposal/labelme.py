"""Files of labelme: one JSON per frame, with shapes in the order in which they were drawn.

Format: https://github.com/wkentaro/labelme (LabelFile; shape_type polygon, rectangle, circle, mask, ...).
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from roadbed.data.proposal.polygons import Drawing, Drawings, Point, Shape
from roadbed.errors import DataError

FRAME_SUFFIX = ".json"


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)

    label: str = Field(min_length=1)
    points: tuple[Point, ...]
    shape_type: str | None = None
    mask: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)

    shapes: tuple[_Shape, ...]
    imageHeight: int = Field(gt=0)
    imageWidth: int = Field(gt=0)


def read_labelme(top: Path, names: Sequence[str], images: str) -> Drawings:
    """The drawings of the files `names` below `top`; frames lie in the folder `images`, with the files or beside them.

    Raises DataError that names the file, the shape and what is wrong.
    """
    found = Drawings()
    for name in names:
        file = _parse(top / name)
        shapes = [_shape(shape, number, top / name, found) for number, shape in enumerate(file.shapes, 1)]
        drawn = tuple(shape for shape in shapes if shape is not None)
        found.drawings.append(Drawing(_frame_name(name, images), file.imageHeight, file.imageWidth, drawn))
    return found


def _parse(path: Path) -> _File:
    try:
        return _File.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise DataError(f"{path}: {where}: {fault['msg']}; export it from labelme again") from None


def _frame_name(name: str, images: str) -> str:
    """The frame's path below the folder of frames: that of the file, without its first folder if it has one alone."""
    path = PurePosixPath(name).with_suffix("")
    if images != "." and path.is_relative_to(images):
        return str(path.relative_to(images))
    return str(path) if images == "." or len(path.parts) == 1 else str(PurePosixPath(*path.parts[1:]))


def _shape(shape: _Shape, number: int, path: Path, found: Drawings) -> Shape | None:
    """A shape with an area; others are counted and left out."""
    kind = shape.shape_type or "polygon"
    if kind == "polygon":
        if len(shape.points) < 3:
            raise DataError(
                f"{path}: shape {number} ({shape.label}) is a polygon of {len(shape.points)} points; mend it"
            )
        return Shape(shape.label, "polygon", shape.points)
    if kind not in ("rectangle", "circle", "mask"):
        found.leave_out(kind)
        return None
    if len(shape.points) != 2:
        raise DataError(f"{path}: shape {number} ({shape.label}) is a {kind} of {len(shape.points)} points; mend it")
    if kind == "rectangle":
        return Shape(shape.label, "rectangle", shape.points)
    if kind == "circle":
        return Shape(shape.label, "ellipse", _around(*shape.points))
    return Shape(shape.label, "bitmap", shape.points[:1], _bitmap(shape.mask, number, path))


def _around(center: Point, edge: Point) -> tuple[Point, Point]:
    """The corners of the square around a circle."""
    radius = math.dist(center, edge)
    return (center[0] - radius, center[1] - radius), (center[0] + radius, center[1] + radius)


def _bitmap(text: Any, number: int, path: Path) -> np.ndarray:
    """A PNG in base64 as bool (H, W)."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text or "", validate=True))) as image:
            return np.asarray(image.convert("L")) > 0
    except (binascii.Error, UnidentifiedImageError, OSError):
        raise DataError(f"{path}: shape {number}: its mask is no PNG in base64; export it from labelme again") from None
