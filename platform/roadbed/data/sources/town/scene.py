"""One frame of the town: where everything stands, and the order in which it is drawn, far things first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from roadbed.data.sources.town.canvas import Canvas
from roadbed.data.sources.town.dice import Dice
from roadbed.data.sources.town.furniture import (
    paint_bin,
    paint_fence,
    paint_lamp,
    paint_pole,
    paint_sign,
    paint_traffic_light,
)
from roadbed.data.sources.town.houses import paint_house, plan_row
from roadbed.data.sources.town.light import develop, draw_light, paint_sky
from roadbed.data.sources.town.people import paint_cyclist, paint_pedestrian
from roadbed.data.sources.town.plants import paint_hedge, paint_skyline, paint_tree
from roadbed.data.sources.town.street import Street, draw_camera, draw_street, paint_ground, paint_long_shadows
from roadbed.data.sources.town.vehicles import BUS, CAR, VAN, paint_vehicle
from roadbed.data.sources.town.view import View

SIDES = (-1, 1)
Thing = tuple[float, Callable[[], None]]


def paint_town(seed: Sequence[int], height_px: int, width_px: int) -> tuple[np.ndarray, np.ndarray]:
    """image_HW3 (uint8 RGB) and mask_HW (uint8, places in CAMVID_COLORS); the same seed gives the same bytes."""
    dice = Dice(seed)
    light = draw_light(dice)
    view = View(Canvas(height_px, width_px), draw_camera(dice, height_px, width_px), light, dice)
    street = draw_street(dice)
    paint_sky(view.canvas, int(view.camera.horizon_px), light, dice)
    paint_skyline(view)
    paint_ground(view, street)
    _paint_far_to_near(_houses(view, street))
    paint_long_shadows(view, street)
    for side in SIDES:
        _paint_far_to_near(_verge(view, street, side))
    _paint_far_to_near([*_furniture(view, street), *_traffic(view, street), *_people(view, street)])
    return develop(view.canvas, light, dice), view.canvas.mask_HW


def _paint_far_to_near(things: list[Thing]) -> None:
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()


def _houses(view: View, street: Street) -> list[Thing]:
    """Both rows of houses, with trees in their gaps."""
    dice = view.dice
    things: list[Thing] = []
    for side in SIDES:
        for start_m, end_m, style in plan_row(dice, dice.choice((0.06, 0.2, 0.7))):
            if end_m < 2:
                continue
            if style is not None:
                things.append((start_m, partial(paint_house, view, street, side, start_m, end_m, style)))
                continue
            for _ in range(dice.integer(1, 2)):
                x = street.front(side) + side * dice.between(1, 8)
                z = max(dice.between(start_m, end_m), 7)
                things.append((z, partial(paint_tree, view, x, z, height_m=dice.between(5, 11))))
    return things


def _verge(view: View, street: Street, side: int) -> list[Thing]:
    """What stands between the pavement and the houses: small trees, and a fence or hedge along the pavement."""
    dice = view.dice
    things: list[Thing] = []
    if street.verge_m > 1:
        for _ in range(dice.integer(0, 4)):
            x = street.pavement_end(side) + side * dice.between(0.8, street.verge_m)
            z = dice.between(6, 50)
            things.append((z, partial(paint_tree, view, x, z, height_m=dice.between(3, 7))))
    if dice.chance(0.85 if street.verge_m > 1 else 0.3):
        x = street.pavement_end(side) + side * 0.05
        z = dice.between(1, 14)
        for _ in range(dice.integer(1, 3)):
            end_m = z + dice.between(6, 24)
            if dice.chance(0.25):
                things.append((z, partial(paint_hedge, view, x, z, end_m, height_m=dice.between(0.8, 1.7))))
            else:
                things.append((z, partial(paint_fence, view, x, z, end_m)))
            z = end_m + dice.between(2, 10)
    return things


def _furniture(view: View, street: Street) -> list[Thing]:
    """What stands on the pavements."""
    dice = view.dice
    things: list[Thing] = []
    lamps_m, first_m = dice.between(16, 28), dice.between(5, 20)
    for side in SIDES if dice.chance(0.6) else (dice.choice(SIDES),):
        for number in range(4):
            z = first_m + number * lamps_m + (lamps_m / 2 if side > 0 else 0)
            things.append((z, partial(paint_lamp, view, street.edge(side) + side * 0.5, z, side=side)))
    for paint, most, nearest_m in ((paint_sign, 4, 5), (paint_pole, 2, 4), (paint_bin, 1, 5)):
        for _ in range(dice.integer(0, most)):
            side, z = dice.choice(SIDES), dice.between(nearest_m, 38)
            x = street.edge(side) + side * dice.between(0.4, 0.8)
            things.append((z, partial(paint, view, x, z)))
    if dice.chance(0.3):
        z = dice.between(9, 26)
        for side in SIDES:
            things.append((z, partial(paint_traffic_light, view, street.edge(side) + side * 0.6, z)))
    for _ in range(dice.choice((0, 0, 1, 4))):
        side, z = dice.choice(SIDES), dice.between(8, 60)
        x = street.edge(side) + side * min(0.9, street.pavement_m / 2)
        things.append((z, partial(paint_tree, view, x, z, height_m=dice.between(5, 9))))
    return things


def _traffic(view: View, street: Street) -> list[Thing]:
    """Cars parked along the kerbs, cars ahead and cars that come towards the camera."""
    dice = view.dice
    things: list[Thing] = []
    own_side = -1 if street.middle_m > 0 else 1
    for side in SIDES:
        if not dice.chance(0.6):
            continue
        x = street.edge(side) - side * 1.05
        z = dice.between(4.5, 16) if side == own_side else dice.between(2.5, 12)
        is_facing = dice.chance(0.25 if side == own_side else 0.75)
        for _ in range(dice.integer(1, 6)):
            build = dice.choice((CAR, CAR, CAR, VAN))
            things.append((z, partial(paint_vehicle, view, build, x, z, is_facing=is_facing)))
            z += build.length_m + dice.choice((0.9, 1.5, 7.0))
    lane_m = (street.right_m - street.left_m) / 4
    for side, is_facing, probability in ((own_side, False, 0.55), (-own_side, True, 0.5)):
        z = dice.between(8, 30)
        while z < 90 and dice.chance(probability):
            build = dice.choice((CAR, CAR, CAR, CAR, VAN, BUS))
            x = street.middle_m + side * lane_m * dice.between(0.8, 1.05)
            things.append((z, partial(paint_vehicle, view, build, x, z, is_facing=is_facing)))
            z += build.length_m + dice.between(4, 25)
    return things


def _people(view: View, street: Street) -> list[Thing]:
    """People on the pavements and crossing; cyclists along the kerb and crossing."""
    dice = view.dice
    things: list[Thing] = []
    for _ in range(dice.choice((0, 1, 2, 3, 4, 6))):
        side, z = dice.choice(SIDES), dice.between(5, 40)
        x = street.edge(side) + side * dice.between(0.5, max(street.pavement_m - 0.3, 0.6))
        things.append((z, partial(paint_pedestrian, view, x, z)))
    if dice.chance(0.2):
        z = dice.between(9, 28)
        for _ in range(dice.integer(1, 3)):
            x = dice.between(street.left_m, street.right_m)
            things.append((z, partial(paint_pedestrian, view, x, z + dice.between(0, 1))))
    for _ in range(dice.choice((0, 0, 1, 1, 2))):
        side, z = dice.choice(SIDES), dice.between(5, 26)
        x = street.edge(side) - side * dice.between(0.5, 0.9)
        things.append((z, partial(paint_cyclist, view, x, z, is_crossing=False)))
    if dice.chance(0.22):
        z = dice.between(7, 22)
        x = dice.between(street.left_m, street.right_m)
        things.append((z, partial(paint_cyclist, view, x, z, is_crossing=True)))
    return things
