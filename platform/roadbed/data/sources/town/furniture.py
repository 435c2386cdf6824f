"""Street furniture: lamps, traffic lights, signs, fences, walls and bins."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from roadbed.data.labels import Color
from roadbed.data.sources.town.view import View

STEEL: tuple[Color, ...] = ((104, 108, 110), (70, 74, 74), (132, 134, 132), (52, 62, 56))
RED: Color = (196, 36, 34)
WHITE: Color = (236, 236, 232)
BLUE: Color = (34, 74, 160)


def paint_lamp(view: View, x: float, z: float, *, side: int) -> None:
    """A lamp post whose arm reaches over the road."""
    color = view.dice.choice(STEEL)
    height_m, arm_m = view.dice.between(5, 8), view.dice.between(0.5, 1.6)
    view.bar((x, 0, z), (x, height_m, z), 0.15, color, "Column_Pole")
    view.bar((x, 0, z), (x, 1.2, z), 0.24, color, "Column_Pole")
    view.bar((x, height_m, z), (x - side * arm_m, height_m + 0.25, z), 0.1, color, "Column_Pole")
    view.disc((x - side * arm_m, height_m + 0.2, z), (0.32, 0.12), (214, 214, 206), "Column_Pole")


def paint_pole(view: View, x: float, z: float) -> None:
    """A plain pole, for wires or nothing at all; or a bollard."""
    height_m = view.dice.choice((1.0, 1.0, 6.5, 8.0))
    color = view.dice.choice(STEEL) if height_m < 2 else (104, 88, 72)
    view.bar((x, 0, z), (x, height_m, z), 0.16 if height_m < 2 else 0.22, color, "Column_Pole")
    if height_m > 2:
        view.bar((x - 0.7, height_m - 0.5, z), (x + 0.7, height_m - 0.5, z), 0.1, color, "Column_Pole")


def paint_traffic_light(view: View, x: float, z: float) -> None:
    """A traffic light on its pole, one lamp lit."""
    view.bar((x, 0, z), (x, 2.4, z), 0.12, STEEL[1], "Column_Pole")
    box = [(-0.2, 2.3), (0.2, 2.3), (0.2, 3.35), (-0.2, 3.35)]
    view.upright((x, 0, z), box, (30, 32, 32), "TrafficLight")
    lit = view.dice.integer(0, 2)
    for number, color in enumerate(((60, 210, 120), (240, 170, 40), (235, 50, 40))):
        view.disc((x, 2.5 + number * 0.32, z), (0.11, 0.11), color, brightness=1.0 if number == lit else 0.25)


def paint_sign(view: View, x: float, z: float) -> None:
    """A road sign: a red ring, a red triangle, a blue disc, a direction board or a stop for buses."""
    dice = view.dice
    up_m, size_m = dice.between(2.0, 2.7), dice.between(0.36, 0.62)
    view.bar((x, 0, z), (x, up_m, z), 0.09, STEEL[2], "Column_Pole")
    kind = dice.choice(("ring", "triangle", "disc", "board", "plate"))
    if kind == "ring":
        view.disc((x, up_m, z), (size_m, size_m), RED, "SignSymbol")
        view.disc((x, up_m, z), (size_m * 0.72, size_m * 0.72), WHITE)
        view.upright((x, up_m, z), _box(size_m * 0.36, size_m * 0.28), (40, 40, 44))
    elif kind == "triangle":
        view.upright((x, up_m, z), _regular(3, size_m * 1.2), RED, "SignSymbol")
        view.upright((x, up_m, z), _regular(3, size_m * 0.7), WHITE)
    elif kind == "disc":
        view.disc((x, up_m, z), (size_m, size_m), BLUE, "SignSymbol")
        view.upright((x, up_m, z), _box(size_m * 0.15, size_m * 0.55), WHITE)
    elif kind == "board":
        color = dice.choice(((24, 92, 60), BLUE, (230, 228, 220)))
        width_m = dice.between(0.8, 1.6)
        view.upright((x, up_m, z), _box(width_m, 0.42), color, "SignSymbol")
        ink = (60, 60, 60) if color[0] > 200 else WHITE
        for row in (-0.16, 0.14):
            view.upright((x, up_m + row, z), _box(width_m * dice.between(0.5, 0.85), 0.05), ink)
    else:
        view.upright((x, up_m, z), _box(0.3, 0.42), dice.choice((RED, (236, 196, 40), BLUE)), "SignSymbol")
        view.upright((x, up_m + 0.1, z), _box(0.18, 0.08), WHITE)


def paint_fence(view: View, x: float, start_m: float, end_m: float) -> None:
    """Railings, boards or a wall along the street at x; the mask of railings covers what is seen between the bars."""
    dice = view.dice
    kind = dice.choice(("railings", "railings", "boards", "wall"))
    height_m = dice.between(0.9, 1.3) if kind == "railings" else dice.between(1.1, 1.9) if kind == "boards" else 1.0
    face = [(x, 0, start_m), (x, 0, end_m), (x, height_m, end_m), (x, height_m, start_m)]
    lit = view.light.of_side(1 if x > 0 else -1)
    if kind == "wall":
        view.face(face, dice.choice(((150, 92, 74), (164, 156, 142))), "Wall", brightness=lit)
        view.face([(a, b + (height_m - 0.1) * (b == 0), c) for a, b, c in face], (176, 170, 160), brightness=lit)
        return
    color = dice.choice(STEEL) if kind == "railings" else dice.choice(((126, 96, 66), (104, 84, 64), (150, 132, 108)))
    step_m, bar_m = (0.16, 0.05) if kind == "railings" else (0.34, 0.31)
    if kind == "boards":
        view.face(face, color, "Fence", brightness=lit * 0.62)
    else:
        view.canvas.label([view.camera.point(spot) for spot in face], "Fence")
    starts_N = np.arange(max(start_m, 1.3), min(end_m, 34), step_m)
    bars_NP3 = np.zeros((len(starts_N), 4, 3))
    bars_NP3[..., 0] = x
    bars_NP3[:, 2:, 1] = height_m
    bars_NP3[..., 2] = starts_N[:, None] + np.array([0, bar_m, bar_m, 0])
    view.faces(bars_NP3, color, brightness=lit)
    for up in (0.12, height_m - 0.08):
        rail = [(x, up, start_m), (x, up, end_m), (x, up + 0.07, end_m), (x, up + 0.07, start_m)]
        view.face(rail, color, brightness=lit)


def paint_bin(view: View, x: float, z: float) -> None:
    """A bin, which CamVid does not label."""
    color = view.dice.choice(((40, 84, 54), (52, 52, 58), (52, 62, 104)))
    view.upright((x, 0, z), [(-0.28, 0), (0.28, 0), (0.32, 1.0), (-0.32, 1.0)], color, "Void")
    view.upright((x, 0, z), [(-0.34, 0.98), (0.34, 0.98), (0.3, 1.1), (-0.3, 1.1)], color, "Void", brightness=1.3)


def _box(half_width_m: float, half_height_m: float) -> list[tuple[float, float]]:
    return [
        (-half_width_m, -half_height_m),
        (half_width_m, -half_height_m),
        (half_width_m, half_height_m),
        (-half_width_m, half_height_m),
    ]


def _regular(num_corners: int, radius_m: float) -> list[tuple[float, float]]:
    angles = [pi / 2 + 2 * pi * corner / num_corners for corner in range(num_corners)]
    return [(radius_m * cos(angle), radius_m * sin(angle)) for angle in angles]
