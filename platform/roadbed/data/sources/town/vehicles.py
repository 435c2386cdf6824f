"""Cars, vans and buses along the street, seen from the front or from behind."""

from __future__ import annotations

from dataclasses import dataclass

from roadbed.data.labels import Color
from roadbed.data.sources.town.canvas import Spot
from roadbed.data.sources.town.view import View

PAINTS: tuple[Color, ...] = (
    (184, 188, 192),
    (150, 154, 160),
    (58, 62, 68),
    (30, 32, 36),
    (150, 30, 34),
    (34, 58, 116),
    (70, 104, 150),
    (222, 222, 218),
    (44, 84, 60),
    (126, 110, 84),
)
GLASS: Color = (38, 46, 56)
TYRE: Color = (28, 28, 30)
HUB: Color = (140, 142, 146)


@dataclass(frozen=True)
class Build:
    """The shape of a kind of vehicle. `rear` and `front` lead over it from the end seen, as (metres along, height);
    `rear_glass` and `front_glass` say which stretch of the outline is a window; `side_glass` is the windows' outline.
    """

    label: str
    length_m: float
    width_m: float
    rear: tuple[tuple[float, float], ...]
    rear_glass: int
    front: tuple[tuple[float, float], ...]
    front_glass: int
    side_glass: tuple[tuple[float, float], ...]
    wheel_m: float


CAR = Build(
    "Car",
    4.2,
    1.75,
    ((0.05, 0.28), (0, 0.6), (0.12, 0.95), (0.62, 1.42), (2.4, 1.44), (3.2, 0.95), (4.1, 0.76), (4.2, 0.28)),
    2,
    ((0.05, 0.26), (0, 0.58), (0.14, 0.76), (1.05, 0.95), (1.85, 1.42), (3.6, 1.42), (4.1, 0.92), (4.2, 0.28)),
    3,
    ((0.5, 0.95), (0.86, 1.34), (2.35, 1.36), (2.95, 0.95)),
    0.31,
)
VAN = Build(
    "SUVPickupTruck",
    4.9,
    1.95,
    ((0.03, 0.35), (0, 0.9), (0.06, 1.2), (0.2, 1.95), (3.5, 2.0), (4.3, 1.15), (4.8, 0.95), (4.9, 0.35)),
    2,
    ((0.05, 0.33), (0, 0.8), (0.2, 1.0), (0.7, 1.2), (1.4, 1.95), (4.8, 1.98), (4.88, 1.1), (4.9, 0.35)),
    3,
    ((2.6, 1.2), (2.6, 1.8), (3.4, 1.8), (4.0, 1.2)),
    0.36,
)
BUS = Build(
    "Truck_Bus",
    10.0,
    2.5,
    ((0, 0.4), (0, 1.2), (0, 1.5), (0.05, 2.6), (0.2, 3.0), (9.9, 3.0), (10, 1.2), (10, 0.4)),
    2,
    ((0, 0.4), (0, 0.9), (0, 1.1), (0.1, 2.5), (0.2, 3.0), (9.9, 3.0), (10, 1.2), (10, 0.4)),
    2,
    ((0.5, 1.4), (0.5, 2.4), (9.4, 2.4), (9.4, 1.4)),
    0.48,
)


def paint_vehicle(view: View, build: Build, x: float, z: float, *, is_facing: bool, color: Color | None = None) -> None:
    """A vehicle whose middle runs at x and whose nearer end is at z; `is_facing` shows its front."""
    paint = color or view.dice.choice(PAINTS)
    outline = build.front if is_facing else build.rear
    glass = build.front_glass if is_facing else build.rear_glass
    left, right, far = x - build.width_m / 2, x + build.width_m / 2, z + build.length_m
    view.shadow(
        [(left - 0.1, 0, z - 0.15), (right + 0.1, 0, z - 0.15), (right + 0.1, 0, far), (left - 0.1, 0, far)], 0.6
    )
    _paint_tyres(view, build, x, z)
    bend_m = view.camera.bend * z * z
    if left + bend_m > 0:
        _paint_side(view, build, left, z, outline, paint, is_facing=is_facing)
    elif right + bend_m < 0:
        _paint_side(view, build, right, z, outline, paint, is_facing=is_facing)
    for stretch in range(len(outline) - 2):
        (along, up), (next_along, next_up) = outline[stretch], outline[stretch + 1]
        if next_up < up:
            break
        half, next_half = (_half_width(build, height) for height in (up, next_up))
        face: list[Spot] = [(x - half, up, z + along), (x + half, up, z + along)]
        face += [(x + next_half, next_up, z + next_along), (x - next_half, next_up, z + next_along)]
        slope = (next_along - along) / max(next_up - up, 0.02)
        view.face(face, paint, build.label, brightness=0.82 + min(slope, 2.5) * 0.12)
        if stretch == glass:
            _paint_pane(view, face)
    _paint_lamps(view, build, x, z, outline, is_facing=is_facing)


def _half_width(build: Build, height_m: float) -> float:
    belt_m = build.rear[2][1]
    taper = 0.16 if build is CAR else 0.05
    return build.width_m / 2 * (1 - taper * max(height_m - belt_m, 0) / 0.5)


def _paint_pane(view: View, face: list[Spot]) -> None:
    middle = [sum(spot[axis] for spot in face) / len(face) for axis in range(3)]
    pane = [(x + (middle[0] - x) * 0.12, y + (middle[1] - y) * 0.16, z + (middle[2] - z) * 0.16) for x, y, z in face]
    view.face(pane, GLASS)
    gleam = [pane[3], (pane[3][0] * 0.55 + pane[2][0] * 0.45, pane[2][1], pane[2][2]), pane[0]]
    view.face(gleam, (84, 96, 110))


def _paint_side(
    view: View,
    build: Build,
    x: float,
    z: float,
    outline: tuple[tuple[float, float], ...],
    paint: Color,
    *,
    is_facing: bool,
) -> None:
    lit = view.light.of_side(1 if x > 0 else -1)
    view.face([(x, up, z + along) for along, up in outline], paint, build.label, brightness=0.55 + 0.35 * lit)
    panes = [(build.length_m - along if is_facing else along, up) for along, up in build.side_glass]
    view.face([(x, up, z + along) for along, up in panes], GLASS, brightness=1.2)
    for along in (build.length_m * 0.19, build.length_m * 0.8):
        near, far = (
            view.camera.point((x, build.wheel_m, z + along + step)) for step in (-build.wheel_m, build.wheel_m)
        )
        middle = ((near[0] + far[0]) / 2, (near[1] + far[1]) / 2)
        radii = (max(abs(far[0] - near[0]) / 2, 0.6), view.camera.length_px(build.wheel_m, z + along))
        view.canvas.ellipse(middle, radii, view.light.tint(TYRE, z=z), build.label)
        view.canvas.ellipse(middle, (radii[0] * 0.55, radii[1] * 0.55), view.light.tint(HUB, brightness=lit, z=z))


def _paint_tyres(view: View, build: Build, x: float, z: float) -> None:
    for side in (-1, 1):
        outer, inner = x + side * (build.width_m / 2 - 0.05), x + side * (build.width_m / 2 - 0.28)
        tyre = [(outer, 0, z + 0.3), (inner, 0, z + 0.3), (inner, 0.45, z + 0.3), (outer, 0.45, z + 0.3)]
        view.face(tyre, TYRE, build.label)


def _paint_lamps(
    view: View, build: Build, x: float, z: float, outline: tuple[tuple[float, float], ...], *, is_facing: bool
) -> None:
    half, lamp_m = build.width_m / 2, outline[1][1]
    bumper = [(x - half, lamp_m - 0.32), (x + half, lamp_m - 0.32), (x + half, lamp_m - 0.2), (x - half, lamp_m - 0.2)]
    view.face([(right, up, z) for right, up in bumper], (46, 48, 52))
    color = (240, 240, 226) if is_facing else (176, 22, 22)
    for side in (-1, 1):
        outer, inner = x + side * (half - 0.06), x + side * (half - 0.34)
        low, high = lamp_m - 0.06, lamp_m + 0.14
        view.face([(outer, low, z), (inner, low, z), (inner, high, z), (outer, high, z)], color)
    plate = (232, 232, 224) if is_facing else (222, 192, 70)
    view.face(
        [
            (x - 0.26, lamp_m - 0.17, z),
            (x + 0.26, lamp_m - 0.17, z),
            (x + 0.26, lamp_m - 0.05, z),
            (x - 0.26, lamp_m - 0.05, z),
        ],
        plate,
    )
