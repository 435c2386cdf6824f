"""Shapes that people drew upon frames, and the masks that they make.

A later shape lies upon an earlier one, as in the tools that they come from. Edges belong to their shape, as labelme and
CVAT have it: drawn by Pillow, which counts pixels by their upper left corner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from roadbed.data.labels import IGNORE_ID

Point = tuple[float, float]
Kind = Literal["polygon", "rectangle", "ellipse", "bitmap"]
# Labels that say that nobody labelled it.
IGNORED_LABELS = frozenset({"__ignore__", "_ignore_", "ignore", "void", "unlabeled", "unlabelled"})


@dataclass(frozen=True)
class Shape:
    """A shape of one label: x and y of its points, in pixels.

    A rectangle has two opposite corners, so has an ellipse, of the rectangle around it; a bitmap has its upper left
    corner, and its pixels in `bitmap_HW`.
    """

    label: str
    kind: Kind
    points: tuple[Point, ...]
    bitmap_HW: np.ndarray | None = None


@dataclass(frozen=True)
class Drawing:
    """All shapes upon one frame, the lowest first. `name` is the frame's path without suffix."""

    name: str
    height_px: int
    width_px: int
    shapes: tuple[Shape, ...]


@dataclass
class Drawings:
    """What was read: drawings, colours that labels have, and how many shapes of a kind were left out."""

    drawings: list[Drawing] = field(default_factory=list)
    colors: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, kind: str) -> None:
        """Count a shape that has no area."""
        self.left_out[kind] = self.left_out.get(kind, 0) + 1

    def class_names(self) -> list[str]:
        """The labels that are classes: as the file lists them, else by name."""
        used = {shape.label for drawing in self.drawings for shape in drawing.shapes}
        listed = [label for label in self.labels if label not in IGNORED_LABELS]
        return [*listed, *sorted(label for label in used - set(listed) if label not in IGNORED_LABELS)]


def draw(drawing: Drawing, ids: Mapping[str, int], *, rest: int = IGNORE_ID) -> np.ndarray:
    """The mask of a drawing, uint8 (H, W): the id of each shape's label, `rest` where there is none."""
    mask_HW = np.full((drawing.height_px, drawing.width_px), rest, np.uint8)
    for shape in drawing.shapes:
        mask_HW[_covered(shape, drawing)] = IGNORE_ID if shape.label in IGNORED_LABELS else ids[shape.label]
    return mask_HW


def _covered(shape: Shape, drawing: Drawing) -> np.ndarray:
    """The pixels of a shape, bool (H, W)."""
    if shape.kind == "bitmap":
        return _pasted(shape, drawing)
    canvas = Image.new("1", (drawing.width_px, drawing.height_px))
    pen = ImageDraw.Draw(canvas)
    if shape.kind == "polygon":
        pen.polygon(list(shape.points), fill=1, outline=1)
    elif shape.kind == "rectangle":
        pen.rectangle(_box(shape.points), fill=1, outline=1)
    else:
        pen.ellipse(_box(shape.points), fill=1, outline=1)
    return np.asarray(canvas)


def _box(points: Sequence[Point]) -> tuple[float, float, float, float]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _pasted(shape: Shape, drawing: Drawing) -> np.ndarray:
    """A bitmap in its place, cut off where it reaches over the frame."""
    assert shape.bitmap_HW is not None
    covered_HW = np.zeros((drawing.height_px, drawing.width_px), np.bool_)
    left, top = (round(value) for value in shape.points[0])
    height, width = shape.bitmap_HW.shape
    inside_HW = shape.bitmap_HW[max(-top, 0) : drawing.height_px - top, max(-left, 0) : drawing.width_px - left]
    top, left = max(top, 0), max(left, 0)
    covered_HW[top : top + min(height, len(inside_HW)), left : left + min(width, inside_HW.shape[1])] = inside_HW > 0
    return covered_HW
