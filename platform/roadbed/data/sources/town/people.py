"""People on foot and on bicycles."""

from __future__ import annotations

from roadbed.data.labels import Color
from roadbed.data.sources.town.canvas import Point
from roadbed.data.sources.town.view import View

CLOTHES: tuple[Color, ...] = (
    (38, 40, 52),
    (92, 36, 40),
    (56, 76, 110),
    (120, 112, 100),
    (190, 182, 170),
    (54, 84, 64),
    (170, 60, 46),
    (214, 168, 60),
    (84, 66, 96),
    (28, 28, 30),
)
TROUSERS: tuple[Color, ...] = ((44, 50, 70), (34, 34, 38), (96, 84, 68), (66, 66, 72))
SKIN: tuple[Color, ...] = ((222, 178, 148), (196, 148, 116), (140, 98, 72), (92, 64, 50))
HAIR: tuple[Color, ...] = ((40, 30, 26), (86, 60, 36), (170, 140, 90), (120, 116, 112), (24, 22, 22))


def paint_pedestrian(view: View, x: float, z: float) -> None:
    """Somebody who walks or stands."""
    dice = view.dice
    tall = dice.between(0.88, 1.08)
    coat, trousers, skin, hair = (dice.choice(colors) for colors in (CLOTHES, TROUSERS, SKIN, HAIR))
    stride = dice.between(0.02, 0.26) * dice.choice((-1, 1))
    width = dice.between(0.2, 0.27)
    spot = (x, 0.0, z)

    def part(outline: list[Point], color: Color, brightness: float = 1.0) -> None:
        scaled = [(right, up * tall) for right, up in outline]
        view.upright(spot, scaled, color, "Pedestrian", brightness=brightness)

    view.shadow([(x - 0.3, 0, z - 0.1), (x + 0.3, 0, z - 0.1), (x + 0.5, 0, z + 0.5), (x - 0.1, 0, z + 0.5)], 0.4)
    for foot, brightness in ((-stride, 0.8), (stride, 1.0)):
        part([(-0.1, 0.86), (0.1, 0.86), (foot + 0.07, 0.04), (foot - 0.07, 0.04)], trousers, brightness)
        part([(foot - 0.08, 0.07), (foot + 0.12, 0.07), (foot + 0.14, 0), (foot - 0.08, 0)], (30, 28, 28))
    part(
        [
            (-width * 0.8, 0.8),
            (width * 0.8, 0.8),
            (width, 1.38),
            (width * 0.5, 1.47),
            (-width * 0.5, 1.47),
            (-width, 1.38),
        ],
        coat,
    )
    for side in (-1, 1):
        hand = side * (width + 0.05) - stride * 0.6 * side
        part(
            [(side * width * 0.75, 1.42), (side * (width + 0.06), 1.36), (hand + 0.05, 0.82), (hand - 0.05, 0.82)],
            coat,
            0.86,
        )
    if dice.chance(0.3):
        part(
            [(width * 0.4, 0.75), (width + 0.22, 0.75), (width + 0.2, 1.05), (width * 0.5, 1.05)], dice.choice(CLOTHES)
        )
    view.disc((x, 1.6 * tall, z), (0.105, 0.14), skin, "Pedestrian")
    view.disc((x, 1.66 * tall, z), (0.115, 0.1), hair, "Pedestrian")


def paint_cyclist(view: View, x: float, z: float, *, is_crossing: bool) -> None:
    """Somebody on a bicycle, seen from behind or, crossing, from the side. The mask fills the wheels."""
    jacket, trousers, skin = (view.dice.choice(colors) for colors in (CLOTHES, TROUSERS, SKIN))
    helmet = view.dice.choice(((200, 40, 40), (230, 230, 226), (40, 60, 120), (240, 190, 40), *HAIR))
    view.shadow([(x - 0.6, 0, z - 0.1), (x + 0.6, 0, z - 0.1), (x + 0.7, 0, z + 0.5), (x - 0.4, 0, z + 0.5)], 0.4)
    if is_crossing:
        _paint_from_side(view, x, z, jacket, trousers, skin, helmet)
    else:
        _paint_from_behind(view, x, z, jacket, trousers, skin, helmet)


def _paint_from_side(
    view: View, x: float, z: float, jacket: Color, trousers: Color, skin: Color, helmet: Color
) -> None:
    way = view.dice.choice((-1, 1))
    spot, frame = (x, 0.0, z), view.dice.choice(CLOTHES)

    def part(outline: list[Point], color: Color, label: str | None = "Bicyclist") -> None:
        view.upright(spot, [(way * right, up) for right, up in outline], color, label)

    for wheel in (-0.52, 0.52):
        view.disc((x + way * wheel, 0.34, z), (0.33, 0.33), (36, 36, 38), "Bicyclist", line_m=0.05)
    for start, end in (
        ((-0.52, 0.34), (-0.16, 0.8)),
        ((-0.52, 0.34), (0, 0.32)),
        ((0, 0.32), (0.38, 0.85)),
        ((-0.16, 0.8), (0.38, 0.85)),
        ((0.52, 0.34), (0.36, 0.95)),
        ((0, 0.32), (-0.16, 0.8)),
    ):
        ends = [(x + way * right, up, z) for right, up in (start, end)]
        view.bar(ends[0], ends[1], 0.05, frame, "Bicyclist")
    part([(-0.26, 0.98), (-0.06, 1.0), (0.26, 0.66), (0.12, 0.2), (0, 0.22), (0.08, 0.62), (-0.2, 0.84)], trousers)
    part([(-0.28, 0.92), (-0.02, 0.9), (0.3, 1.36), (0.2, 1.5), (0.04, 1.46)], jacket)
    part([(0.18, 1.4), (0.28, 1.34), (0.46, 1.02), (0.36, 0.98)], jacket)
    view.disc((x + way * 0.3, 1.58, z), (0.11, 0.13), skin, "Bicyclist")
    view.disc((x + way * 0.28, 1.65, z), (0.14, 0.09), helmet, "Bicyclist")


def _paint_from_behind(
    view: View, x: float, z: float, jacket: Color, trousers: Color, skin: Color, helmet: Color
) -> None:
    spot = (x, 0.0, z)

    def part(outline: list[Point], color: Color, brightness: float = 1.0) -> None:
        view.upright(spot, outline, color, "Bicyclist", brightness=brightness)

    view.disc((x, 0.34, z), (0.05, 0.34), (32, 32, 34), "Bicyclist")
    for side, knee in ((-1, 0.5), (1, 0.3)):
        part(
            [
                (side * 0.04, 0.9),
                (side * 0.2, 0.9),
                (side * 0.17, knee),
                (side * 0.13, knee - 0.2),
                (side * 0.06, knee - 0.2),
            ],
            trousers,
            0.8 + side * 0.1,
        )
        part([(side * 0.2, 1.38), (side * 0.27, 1.3), (side * 0.3, 0.98), (side * 0.22, 0.98)], jacket, 0.85)
    part([(-0.3, 0.96), (0.3, 0.96), (0.3, 1.0), (-0.3, 1.0)], (44, 44, 46))
    part([(-0.17, 0.84), (0.17, 0.84), (0.23, 1.36), (0.12, 1.47), (-0.12, 1.47), (-0.23, 1.36)], jacket)
    view.disc((x, 1.57, z), (0.1, 0.13), skin, "Bicyclist")
    view.disc((x, 1.63, z), (0.13, 0.1), helmet, "Bicyclist")
