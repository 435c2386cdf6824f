"""What every painter of the town holds: canvas, camera, light and dice, and how flat things in space are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from roadbed.data.labels import Color
from roadbed.data.sources.town.canvas import ONE_PX, SHIFT, Camera, Canvas, Point, Spot
from roadbed.data.sources.town.dice import Dice
from roadbed.data.sources.town.light import Light


@dataclass(frozen=True)
class View:
    """One frame in the making."""

    canvas: Canvas
    camera: Camera
    light: Light
    dice: Dice

    def face(self, spots: Sequence[Spot], color: Color, label: str | None = None, *, brightness: float = 1.0) -> None:
        """A flat face with these corners, lit with `brightness`, hazy by the distance of its nearest corner."""
        z = min(spot[2] for spot in spots)
        points = [self.camera.point(spot) for spot in spots]
        self.canvas.polygon(points, self.light.tint(color, brightness=brightness, z=max(z, 0)), label)

    def faces(self, spots_NP3: np.ndarray, color: Color, label: str | None = None, *, brightness: float = 1.0) -> None:
        """Faces that do not overlap, all of one colour."""
        if len(spots_NP3):
            z = float(spots_NP3[..., 2].min())
            points_NP2 = self.camera.points(spots_NP3)
            self.canvas.polygons(points_NP2, self.light.tint(color, brightness=brightness, z=max(z, 0)), label)

    def upright(
        self, spot: Spot, outline: Sequence[Point], color: Color, label: str | None = None, *, brightness: float = 1.0
    ) -> None:
        """A flat figure that faces the camera: `outline` are metres to the right of and above `spot`."""
        column, row = self.camera.point(spot)
        scale = self.camera.length_px(1, spot[2])
        points = [(column + right * scale, row - up * scale) for right, up in outline]
        self.canvas.polygon(points, self.light.tint(color, brightness=brightness, z=spot[2]), label)

    def disc(
        self,
        spot: Spot,
        radii_m: Point,
        color: Color,
        label: str | None = None,
        *,
        brightness: float = 1.0,
        line_m: float = 0,
    ) -> None:
        """An ellipse that faces the camera, or its outline of `line_m`."""
        radii_px = (self.camera.length_px(radii_m[0], spot[2]), self.camera.length_px(radii_m[1], spot[2]))
        tinted = self.light.tint(color, brightness=brightness, z=spot[2])
        outline_px = max(self.camera.length_px(line_m, spot[2]), 0.6) if line_m else 0
        self.canvas.ellipse(self.camera.point(spot), radii_px, tinted, label, outline_px=outline_px)

    def bar(self, start: Spot, end: Spot, width_m: float, color: Color, label: str | None = None) -> None:
        """A bar between two spots, as wide as it is at the nearer one."""
        z = min(start[2], end[2])
        width_px = self.camera.length_px(width_m, z)
        tinted = self.light.tint(color, z=z)
        self.canvas.bar(self.camera.point(start), self.camera.point(end), width_px, tinted, label)

    def can_see(self, x: float, z: float, half_width_m: float) -> bool:
        """Whether something of this width at x, z reaches into the frame."""
        column, _ = self.camera.point((x, 0, z))
        reach_px = self.camera.length_px(half_width_m, z)
        return -reach_px < column < self.canvas.mask_HW.shape[1] + reach_px

    def shadow(self, spots: Sequence[Spot], darkness: float) -> None:
        """Darken what lies within these corners, by a share of 0..1; the edge is a little soft."""
        points_P2 = np.array([self.camera.point(spot) for spot in spots])
        height_px, width_px = self.canvas.mask_HW.shape
        left, top = np.floor(points_P2.min(axis=0)).astype(int).clip(0)
        right, bottom = np.ceil(points_P2.max(axis=0)).astype(int) + 1
        right, bottom = min(right, width_px), min(bottom, height_px)
        if left >= right or top >= bottom:
            return
        shape = np.zeros((bottom - top, right - left), np.uint8)
        corners_1P2 = np.rint((points_P2 - (left, top)) * ONE_PX).astype(np.int32)[None]
        cv2.fillPoly(shape, corners_1P2, int(255 * darkness), cv2.LINE_AA, SHIFT)
        keep_HW3 = cv2.cvtColor(cv2.bitwise_not(cv2.blur(shape, (3, 3))), cv2.COLOR_GRAY2RGB)
        region_HW3 = self.canvas.image_HW3[top:bottom, left:right]
        region_HW3[:] = cv2.multiply(region_HW3, keep_HW3, scale=1 / 255)
