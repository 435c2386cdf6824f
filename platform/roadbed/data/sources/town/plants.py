"""Trees and hedges, and the far skyline behind everything."""

from __future__ import annotations

from roadbed.data.labels import Color
from roadbed.data.sources.town.street import FARTHEST_M
from roadbed.data.sources.town.view import View

LEAVES: tuple[Color, ...] = ((74, 100, 50), (62, 88, 48), (92, 110, 54), (58, 80, 56), (110, 104, 48), (84, 96, 62))
BARK: Color = (84, 70, 58)


def paint_skyline(view: View) -> None:
    """Far roofs and trees along the horizon."""
    dice, camera = view.dice, view.camera
    width_px = view.canvas.mask_HW.shape[1]
    column = -10.0
    while column < width_px:
        wide_px = camera.length_px(dice.between(8, 26), FARTHEST_M)
        high_px = camera.length_px(dice.between(6, 17), FARTHEST_M)
        bottom = camera.horizon_px + 3
        if dice.chance(0.5):
            color = view.light.tint((132, 112, 100), z=FARTHEST_M)
            left, right, top = column, column + wide_px, bottom - high_px
            ridge = top - wide_px * 0.2
            corners = [(left, bottom), (left, top), ((left + right) / 2, ridge), (right, top), (right, bottom)]
            view.canvas.polygon(corners, color, "Building")
        else:
            color = view.light.tint(dice.choice(LEAVES), z=FARTHEST_M)
            center = (column + wide_px / 2, bottom - high_px * 0.35)
            view.canvas.ellipse(center, (wide_px * 0.6, high_px * 0.6), color, "Tree")
        column += wide_px * dice.between(0.6, 1.0)


def paint_tree(view: View, x: float, z: float, *, height_m: float) -> None:
    """A tree: trunk, a few boughs, and a crown of clumps that are lighter towards the sun."""
    dice, light = view.dice, view.light
    if not view.can_see(x, z, height_m * 0.36):
        return
    leaf = dice.choice(LEAVES)
    crown_m = height_m * dice.between(0.26, 0.36)
    middle_m = height_m - crown_m
    trunk_m = 0.05 + height_m * 0.025
    trunk = [(-trunk_m, 0), (trunk_m, 0), (trunk_m * 0.7, middle_m), (-trunk_m * 0.7, middle_m)]
    view.upright((x, 0, z), trunk, BARK, "Tree", brightness=0.9)
    radius_px = view.camera.length_px(crown_m, z)
    view.disc((x, middle_m, z), (crown_m * 0.88, crown_m * 0.92), leaf, "Tree", brightness=0.62)
    num_clumps = 6 if radius_px < 12 else 12 if radius_px < 40 else 26
    for step in range(num_clumps):
        rise = step / num_clumps
        clump_m = crown_m * dice.between(0.24, 0.4) * (1.15 - 0.5 * rise)
        right = dice.between(-0.8, 0.8) * crown_m * (1 - 0.25 * rise) + light.sun_side * crown_m * 0.22 * rise
        up = dice.between(-0.75 + 0.7 * rise, 0.3 + 0.5 * rise) * crown_m
        brightness = 0.66 + 0.5 * rise + dice.between(-0.07, 0.07)
        view.disc((x + right, middle_m + up, z), (clump_m, clump_m * 0.85), leaf, "Tree", brightness=brightness)


def paint_hedge(view: View, x: float, start_m: float, end_m: float, *, height_m: float) -> None:
    """A hedge along the street at x."""
    leaf = view.dice.choice(LEAVES)
    face = [(x, 0, start_m), (x, 0, end_m), (x, height_m, end_m), (x, height_m, start_m)]
    view.face(face, leaf, "VegetationMisc", brightness=0.7)
    z = max(start_m, 1.5)
    while z < end_m:
        bump_m = view.dice.between(0.18, 0.34)
        spot = (x, height_m * view.dice.between(0.55, 1), z)
        view.disc(spot, (bump_m * 1.5, bump_m), leaf, "VegetationMisc", brightness=view.dice.between(0.7, 1.05))
        z += view.dice.between(0.4, 0.9) * (1 + z / 12)
