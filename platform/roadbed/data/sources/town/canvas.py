"""A frame and its mask, drawn together, and the camera that leads from metres to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from roadbed.data.labels import CAMVID_COLORS, Color

LABEL_IDS = {name: index for index, name in enumerate(CAMVID_COLORS)}
SHIFT = 4
ONE_PX = 1 << SHIFT
NEAREST_M = 1.2

Point = tuple[float, float]
Spot = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A camera that looks along z, `height_m` above the road; the road bends to one side by `bend` * z^2 metres."""

    focal_px: float
    center_px: float
    horizon_px: float
    height_m: float
    bend: float

    def point(self, spot: Spot) -> Point:
        """Pixel column and row of a spot; what is too near is moved ahead."""
        x, y, z = spot
        z = max(z, NEAREST_M)
        column = self.center_px + self.focal_px * (x / z + self.bend * z)
        return column, self.horizon_px + self.focal_px * (self.height_m - y) / z

    def points(self, spots_N3: np.ndarray) -> np.ndarray:
        """`point` for many spots (..., 3): pixels (..., 2)."""
        x, y, z = spots_N3[..., 0], spots_N3[..., 1], np.maximum(spots_N3[..., 2], NEAREST_M)
        columns = self.center_px + self.focal_px * (x / z + self.bend * z)
        return np.stack([columns, self.horizon_px + self.focal_px * (self.height_m - y) / z], axis=-1)

    def length_px(self, length_m: float, z: float) -> float:
        """How long a length across the line of sight appears at distance z."""
        return self.focal_px * length_m / max(z, NEAREST_M)


class Canvas:
    """image_HW3 (uint8 RGB) and mask_HW (uint8). A label of None leaves the mask as it is (shadows, windows)."""

    def __init__(self, height_px: int, width_px: int) -> None:
        self.image_HW3 = np.zeros((height_px, width_px, 3), np.uint8)
        self.mask_HW = np.full((height_px, width_px), LABEL_IDS["Void"], np.uint8)

    def polygon(self, points: Sequence[Point], color: Color, label: str | None = None) -> None:
        """Fill one polygon."""
        self.polygons(np.array([points]), color, label)

    def polygons(self, points_NP2: np.ndarray, color: Color, label: str | None = None) -> None:
        """Fill polygons that do not overlap, all of one colour."""
        polygons = list(np.rint(points_NP2 * ONE_PX).astype(np.int32))
        cv2.fillPoly(self.image_HW3, polygons, color, cv2.LINE_AA, SHIFT)
        if label is not None:
            cv2.fillPoly(self.mask_HW, polygons, LABEL_IDS[label], cv2.LINE_8, SHIFT)

    def label(self, points: Sequence[Point], label: str) -> None:
        """Fill one polygon in the mask alone."""
        polygon = np.rint(np.array(points) * ONE_PX).astype(np.int32)
        cv2.fillPoly(self.mask_HW, [polygon], LABEL_IDS[label], cv2.LINE_8, SHIFT)

    def ellipse(
        self, center: Point, radii: Point, color: Color, label: str | None = None, *, outline_px: float = 0
    ) -> None:
        """Fill an upright ellipse, or draw its outline alone; the mask is filled either way."""
        middle = (round(center[0] * ONE_PX), round(center[1] * ONE_PX))
        axes = (max(round(radii[0] * ONE_PX), 1), max(round(radii[1] * ONE_PX), 1))
        thickness = max(1, round(outline_px)) if outline_px else cv2.FILLED
        cv2.ellipse(self.image_HW3, middle, axes, 0, 0, 360, color, thickness, cv2.LINE_AA, SHIFT)
        if label is not None:
            cv2.ellipse(self.mask_HW, middle, axes, 0, 0, 360, LABEL_IDS[label], cv2.FILLED, cv2.LINE_8, SHIFT)

    def bar(self, start: Point, end: Point, width_px: float, color: Color, label: str | None = None) -> None:
        """A straight bar of any width from start to end, at least about a pixel wide."""
        along = (end[0] - start[0], end[1] - start[1])
        half = max(width_px, 1.0) / 2 / max((along[0] ** 2 + along[1] ** 2) ** 0.5, 1e-6)
        side = (-along[1] * half, along[0] * half)
        self.polygon(
            [
                (start[0] + side[0], start[1] + side[1]),
                (end[0] + side[0], end[1] + side[1]),
                (end[0] - side[0], end[1] - side[1]),
                (start[0] - side[0], start[1] - side[1]),
            ],
            color,
            label,
        )
