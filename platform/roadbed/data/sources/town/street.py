"""The ground of the town: road, lane markings, kerbs, pavements, verges, and shadows upon them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roadbed.data.labels import Color
from roadbed.data.sources.town.canvas import Camera
from roadbed.data.sources.town.dice import Dice
from roadbed.data.sources.town.light import haze_ground
from roadbed.data.sources.town.view import View

FARTHEST_M = 140.0
STATIONS_N = np.array([1.2, 2, 3, 4, 5.5, 7.5, 10, 13, 17, 22, 29, 38, 50, 66, 88, FARTHEST_M])
KERB_M = 0.13
WHITE: Color = (222, 222, 216)
YELLOW: Color = (206, 178, 74)


@dataclass(frozen=True)
class Street:
    """Where things run along the road: x of its edges, widths of both pavements and of the strips behind them."""

    left_m: float
    right_m: float
    pavement_m: float
    verge_m: float

    def edge(self, side: int) -> float:
        """x of the road's edge at the left (-1) or right (1)."""
        return self.left_m if side < 0 else self.right_m

    def pavement_end(self, side: int) -> float:
        """x where the pavement ends."""
        return self.edge(side) + side * self.pavement_m

    def front(self, side: int) -> float:
        """x of the fronts of the houses."""
        return self.pavement_end(side) + side * self.verge_m

    @property
    def middle_m(self) -> float:
        """x of the middle of the road."""
        return (self.left_m + self.right_m) / 2


def draw_street(dice: Dice) -> Street:
    """A random street; the camera keeps left on most, in the middle of its lane."""
    half_m = dice.between(3.0, 4.6)
    middle_m = (half_m / 2 + dice.between(-0.3, 0.3)) * (1 if dice.chance(0.8) else -1)
    pavement_m = dice.between(1.6, 3.2)
    verge_m = dice.choice((0.0, 0.0, dice.between(1.5, 5)))
    return Street(middle_m - half_m, middle_m + half_m, pavement_m, verge_m)


def draw_camera(dice: Dice, height_px: int, width_px: int) -> Camera:
    """A camera behind a windscreen, that looks along the lane."""
    return Camera(
        focal_px=width_px * dice.between(0.85, 1.05),
        center_px=width_px * dice.between(0.42, 0.58),
        horizon_px=round(height_px * dice.between(0.4, 0.52)),
        height_m=dice.between(1.25, 1.6),
        bend=dice.between(-0.0012, 0.0012),
    )


def paint_ground(view: View, street: Street) -> None:
    """Everything flat."""
    dice = view.dice
    horizon_px = int(view.camera.horizon_px)
    grass = (dice.integer(70, 104), dice.integer(96, 126), dice.integer(52, 72))
    _paint_plain(view, horizon_px, grass)
    grey = dice.integer(76, 122)
    asphalt = (grey, grey, grey + dice.integer(0, 8))
    slab = min(grey + dice.integer(18, 56), 186)
    paved = (slab, slab - 3, slab - dice.integer(2, 14))
    for side in (-1, 1):
        behind = paved if street.verge_m < 1 or dice.chance(0.4) else grass
        label = "Sidewalk" if behind is paved else "VegetationMisc"
        _strip(view, street.pavement_end(side), street.front(side) + side * 0.3, behind, label)
        _strip(view, street.edge(side), street.pavement_end(side), paved, "Sidewalk")
    _strip(view, street.left_m, street.right_m, asphalt, "Road")
    _paint_patches(view, street, grey)
    _paint_markings(view, street)
    for side in (-1, 1):
        edge = street.edge(side)
        kerb = (paved[0] + 12, paved[1] + 12, paved[2] + 12)
        _strip(view, edge, edge + side * 0.16, kerb, "Sidewalk", height_m=KERB_M)
    haze_ground(view.canvas, horizon_px, view.light, focal_px=view.camera.focal_px, height_m=view.camera.height_m)


def paint_long_shadows(view: View, street: Street) -> None:
    """The shadow that the row of houses on the sunny side throws over pavement and road, with the gaps of the row."""
    light, dice = view.light, view.dice
    if light.shade > 0.8:
        return
    side = light.sun_side
    reach_m = street.pavement_m + dice.between(-0.3, 0.8) * (street.right_m - street.left_m)
    z = dice.between(-4, 6)
    while z < 90:
        edge_spots, last_m = [], z
        for _ in range(dice.integer(1, 4)):
            next_m = last_m + dice.between(5, 14)
            x = street.pavement_end(side) - side * max(reach_m + dice.between(-0.7, 0.7), 0.4)
            edge_spots += [(x, 0.0, last_m + 0.6), (x, 0.0, next_m + 0.6)]
            last_m = next_m
        outer_m = street.front(side)
        view.shadow([(outer_m, 0, z), *edge_spots, (outer_m, 0, last_m)], 0.34)
        z = last_m + dice.between(2, 12)


def _paint_plain(view: View, horizon_px: int, color: Color) -> None:
    height_px, width_px = view.canvas.mask_HW.shape
    corners = [(0, horizon_px), (width_px, horizon_px), (width_px, height_px), (0, height_px)]
    view.canvas.polygon(corners, color, "VegetationMisc")


def _strip(view: View, inner_m: float, outer_m: float, color: Color, label: str, *, height_m: float = 0.0) -> None:
    there = np.stack([np.full_like(STATIONS_N, inner_m), np.full_like(STATIONS_N, height_m), STATIONS_N], axis=-1)
    back = there[::-1].copy()
    back[:, 0] = outer_m
    points_P2 = view.camera.points(np.concatenate([there, back]))
    view.canvas.polygons(points_P2[None], color, label)


def _paint_patches(view: View, street: Street, grey: int) -> None:
    """Repairs of the asphalt, worn wheel tracks, a manhole."""
    dice = view.dice
    for _ in range(dice.integer(1, 5)):
        x = dice.between(street.left_m, street.right_m - 1)
        z, shade = dice.between(3, 30), grey + dice.integer(-20, 12)
        width_m, length_m = dice.between(0.5, 1.8), dice.between(1, 9)
        width_m = min(width_m, street.right_m - x)
        view.face(_flat(x, x + width_m, z, z + length_m), (shade, shade, shade))
    if dice.chance(0.4):
        spot = (dice.between(street.left_m + 0.5, street.right_m - 0.5), 0.0, dice.between(5, 14))
        view.disc(spot, (0.32, 0.32 * view.camera.height_m / spot[2]), (grey - 34, grey - 36, grey - 36))


def _paint_markings(view: View, street: Street) -> None:
    dice = view.dice
    gap_m, dash_m = dice.choice(((4.0, 2.0), (2.0, 4.0), (5.0, 1.0), (0.2, 5.8)))
    starts_N = np.arange(dice.between(0, 4), 90, gap_m + dash_m)
    spots_NP3 = np.stack([_flat_array(street.middle_m, 0.12, start, start + dash_m) for start in starts_N])
    if not dice.chance(0.12):
        view.faces(spots_NP3, WHITE, "LaneMkgsDriv")
    if dice.chance(0.45):
        color = dice.choice((YELLOW, YELLOW, WHITE))
        for side in (-1, 1):
            for inset_m in (0.3, 0.5)[: 2 if color is YELLOW else 1]:
                x = street.edge(side) - side * inset_m
                _strip(view, x, x + 0.08, color, "LaneMkgsDriv")
    if dice.chance(0.22):
        z, depth_m = dice.between(8, 26), dice.between(2.4, 3.2)
        stripes = np.arange(street.left_m + 0.3, street.right_m - 0.5, 1.1)
        view.faces(np.stack([_flat_array(x + 0.28, 0.55, z, z + depth_m) for x in stripes]), WHITE, "LaneMkgsDriv")


def _flat(left: float, right: float, near: float, far: float) -> list[tuple[float, float, float]]:
    return [(left, 0, near), (left, 0, far), (right, 0, far), (right, 0, near)]


def _flat_array(middle: float, width_m: float, near: float, far: float) -> np.ndarray:
    return np.array(_flat(middle - width_m / 2, middle + width_m / 2, near, far), np.float64)
