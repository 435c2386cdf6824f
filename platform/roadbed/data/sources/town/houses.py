"""The houses along the street: rows of them with roofs, windows, doors and shops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roadbed.data.labels import Color
from roadbed.data.sources.town.canvas import Point
from roadbed.data.sources.town.dice import Dice
from roadbed.data.sources.town.street import FARTHEST_M, Street
from roadbed.data.sources.town.view import View

WALLS: tuple[Color, ...] = (
    (148, 88, 70),
    (126, 76, 62),
    (168, 112, 84),
    (196, 178, 138),
    (182, 166, 136),
    (214, 206, 190),
    (226, 222, 214),
    (150, 146, 140),
    (120, 118, 118),
    (172, 128, 96),
)
ROOFS: tuple[Color, ...] = ((84, 78, 80), (98, 74, 66), (70, 72, 78), (116, 84, 70))
GLASS: tuple[Color, ...] = ((58, 66, 76), (44, 50, 60), (86, 98, 110), (112, 126, 140))
FRAMES: tuple[Color, ...] = ((232, 230, 224), (210, 206, 198), (66, 60, 56))
SHOPS: tuple[Color, ...] = ((150, 36, 36), (28, 74, 60), (36, 52, 104), (212, 190, 120), (60, 60, 62), (190, 96, 40))
FLOOR_M = 2.9
SMALLEST_WINDOW_PX = 1.5


@dataclass(frozen=True)
class Style:
    """What the houses of a row share."""

    wall: Color
    roof: Color
    glass: Color
    frame: Color
    num_floors: int
    is_pitched: bool
    has_shops: bool
    length_m: float
    window_m: float


def draw_style(dice: Dice) -> Style:
    """A random style."""
    num_floors = dice.choice((2, 2, 2, 3, 3, 4, 5))
    return Style(
        wall=dice.choice(WALLS),
        roof=dice.choice(ROOFS),
        glass=dice.choice(GLASS),
        frame=dice.choice(FRAMES),
        num_floors=num_floors,
        is_pitched=num_floors < 4 and dice.chance(0.75),
        has_shops=dice.chance(0.35),
        length_m=dice.between(5, 13),
        window_m=dice.between(0.9, 1.5),
    )


def plan_row(dice: Dice, gap_share: float) -> list[tuple[float, float, Style | None]]:
    """Stretches of one side from near to far: from, to, and the style of the house there or None for a gap."""
    stretches: list[tuple[float, float, Style | None]] = []
    z = dice.between(-6, 3)
    style = draw_style(dice)
    while z < FARTHEST_M * 0.8:
        if dice.chance(0.3):
            style = draw_style(dice)
        is_gap = dice.chance(gap_share)
        length_m = dice.between(4, 14) if is_gap else style.length_m * dice.between(0.85, 1.25)
        stretches.append((z, z + length_m, None if is_gap else style))
        z += length_m
    return stretches


def paint_house(view: View, street: Street, side: int, start_m: float, end_m: float, style: Style) -> None:
    """One house: the wall towards the camera, the front along the street, the roof."""
    dice = view.dice
    jitter = dice.integer(-10, 10)
    wall = tuple(min(max(value + jitter, 0), 255) for value in style.wall)
    color = (wall[0], wall[1], wall[2])
    front_m = street.front(side)
    back_m = front_m + side * 9
    top_m = style.num_floors * FLOOR_M + dice.between(0.2, 0.8)
    ridge_m = top_m + (2.6 if style.is_pitched else 0)
    middle_m = front_m + side * 4.5
    lit = view.light.of_side(side)

    gable = [(front_m, 0, start_m), (back_m, 0, start_m), (back_m, top_m, start_m)]
    gable += [(middle_m, ridge_m, start_m), (front_m, top_m, start_m)]
    if start_m > 1:
        gable_lit = 0.8 * (lit + 0.1)
        view.face(gable, color, "Building", brightness=gable_lit)
        _paint_gable(view, middle_m, start_m, style, gable_lit)
    if style.is_pitched:
        roof = [
            (front_m, top_m, start_m),
            (front_m, top_m, end_m),
            (middle_m, ridge_m, end_m),
            (middle_m, ridge_m, start_m),
        ]
        view.face(roof, style.roof, "Building", brightness=0.5 + lit * 0.5)
        if dice.chance(0.6):
            _paint_chimney(view, middle_m, ridge_m, (start_m * 3 + end_m) / 4, color)
    front = [(front_m, 0, start_m), (front_m, 0, end_m), (front_m, top_m, end_m), (front_m, top_m, start_m)]
    view.face(front, color, "Building", brightness=lit)
    _paint_band(view, front_m, start_m, end_m, (top_m - 0.28, top_m), style.frame, lit)
    _paint_front(view, front_m, start_m, end_m, style, lit)


def _paint_gable(view: View, x: float, z: float, style: Style, lit: float) -> None:
    """A few windows in the wall towards the camera."""
    if not view.can_see(x, z, 4) or view.camera.length_px(style.window_m, z) < 3:
        return
    half_m = style.window_m * 0.45
    for floor in range(style.num_floors):
        for right in (-2.2, 1.6) if view.dice.chance(0.6) else (0.0,):
            spot = (x + right, floor * FLOOR_M + 1.6, z)
            view.upright(spot, _pane(half_m, 0.62), style.frame, brightness=lit)
            view.upright(spot, _pane(half_m - 0.08, 0.54), style.glass, brightness=lit)


def _pane(half_width_m: float, half_height_m: float) -> list[Point]:
    right, up = half_width_m, half_height_m
    return [(-right, -up), (right, -up), (right, up), (-right, up)]


def _paint_front(view: View, x: float, start_m: float, end_m: float, style: Style, lit: float) -> None:
    visible_start_m = max(start_m, 1.3)
    pitch_m = style.window_m + 1.25
    num_columns = max(int((end_m - start_m) / pitch_m), 1)
    middles_N = start_m + (np.arange(num_columns) + 0.5) * (end_m - start_m) / num_columns
    middles_N = middles_N[middles_N > visible_start_m]
    width_px = abs(view.camera.length_px(x, start_m) - view.camera.length_px(x, start_m + style.window_m))
    if not len(middles_N) or width_px < SMALLEST_WINDOW_PX:
        return
    floors_M = np.arange(1 if style.has_shops else 0, style.num_floors) * FLOOR_M + 0.95
    if style.has_shops:
        _paint_shop(view, x, start_m, end_m, style, lit)
    else:
        door_z = middles_N[view.dice.integer(0, len(middles_N) - 1)]
        door = _windows(x, np.array([door_z]), np.array([0.05]), 1.0, 2.1)
        view.faces(door, view.dice.choice(SHOPS), brightness=lit)
        floors_M = floors_M[1:]
        ground = _windows(x, middles_N[middles_N != door_z], np.array([0.95]), style.window_m + 0.2, 1.5)
        _paint_windows(view, ground, style, lit)
    _paint_windows(view, _windows(x, middles_N, floors_M, style.window_m, 1.45), style, lit)


def _paint_windows(view: View, spots_NP3: np.ndarray, style: Style, lit: float) -> None:
    if not len(spots_NP3):
        return
    view.faces(spots_NP3, style.frame, brightness=lit)
    inset_NP3 = spots_NP3.copy()
    inset_NP3[:, :2, 1] += 0.1
    inset_NP3[:, 2:, 1] -= 0.1
    inset_NP3[:, (0, 3), 2] += 0.1
    inset_NP3[:, 1:3, 2] -= 0.1
    view.faces(inset_NP3, style.glass, brightness=lit)
    bars_NP3 = inset_NP3.copy()
    bars_NP3[:, :2, 1] += 0.6
    bars_NP3[:, 2:, 1] = bars_NP3[:, :2, 1] + 0.07
    view.faces(bars_NP3, style.frame, brightness=lit)


def _paint_shop(view: View, x: float, start_m: float, end_m: float, style: Style, lit: float) -> None:
    color = view.dice.choice(SHOPS)
    _paint_band(view, x, start_m, end_m, (0, 3.0), color, lit * 0.9)
    _paint_band(view, x, start_m + 0.5, end_m - 0.5, (0.6, 2.3), style.glass, lit)
    letters_N = np.arange(max(start_m + 1, 2), min(end_m - 1, 40), 0.45)[: view.dice.integer(4, 12)]
    if len(letters_N):
        first_m, last_m = letters_N[0] - 0.3, letters_N[-1] + 0.3
        corners = [(x, 2.38, first_m), (x, 2.38, last_m), (x, 2.88, last_m), (x, 2.88, first_m)]
        view.canvas.label([view.camera.point(corner) for corner in corners], "Misc_Text")
        view.faces(_windows(x, letters_N, np.array([2.48]), 0.26, 0.3), (236, 232, 220), brightness=lit)


def _paint_band(
    view: View, x: float, start_m: float, end_m: float, heights_m: tuple[float, float], color: Color, lit: float
) -> None:
    low, high = heights_m
    view.face([(x, low, start_m), (x, low, end_m), (x, high, end_m), (x, high, start_m)], color, brightness=lit)


def _paint_chimney(view: View, x: float, ridge_m: float, z: float, color: Color) -> None:
    view.upright(
        (x, ridge_m, z), [(-0.4, -0.6), (0.4, -0.6), (0.4, 1.2), (-0.4, 1.2)], color, "Building", brightness=0.8
    )
    view.upright((x, ridge_m, z), [(-0.25, 1.2), (0.25, 1.2), (0.2, 1.6), (-0.2, 1.6)], (150, 92, 66), "Building")


def _windows(x: float, middles_N: np.ndarray, bottoms_M: np.ndarray, width_m: float, height_m: float) -> np.ndarray:
    """Rectangles in a front at x: (N * M, 4, 3), corners near-bottom, far-bottom, far-top, near-top."""
    z_NM, y_NM = np.meshgrid(middles_N, bottoms_M, indexing="ij")
    z_N, y_N = z_NM.ravel(), y_NM.ravel()
    near, far = z_N - width_m / 2, z_N + width_m / 2
    spots_NP3 = np.empty((len(z_N), 4, 3))
    spots_NP3[..., 0] = x
    spots_NP3[..., 1] = np.stack([y_N, y_N, y_N + height_m, y_N + height_m], axis=-1)
    spots_NP3[..., 2] = np.stack([near, far, far, near], axis=-1)
    return spots_NP3
