"""The weather of one frame: colours of the sky, where the sun stands, haze, and the look of the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from roadbed.data.labels import Color
from roadbed.data.sources.town.canvas import LABEL_IDS, Canvas
from roadbed.data.sources.town.dice import Dice

# name: colour at the top, at the horizon, of clouds; how many clouds (0..1); light of shaded sides; metres of haze
MOODS: tuple[tuple[Color, Color, Color, float, float, float], ...] = (
    ((92, 142, 205), (196, 214, 230), (246, 246, 246), 0.35, 0.62, 420),
    ((118, 158, 208), (214, 222, 228), (250, 248, 244), 0.75, 0.68, 300),
    ((176, 184, 192), (220, 222, 222), (206, 208, 212), 0.9, 0.86, 240),
    ((128, 136, 148), (178, 182, 186), (150, 154, 162), 0.95, 0.9, 200),
    ((104, 128, 176), (242, 206, 164), (250, 216, 188), 0.5, 0.56, 260),
)
# How strongly noise shows on a class, in grey levels; other classes have DEFAULT_GRAIN.
GRAINS = {
    "Tree": 46,
    "VegetationMisc": 40,
    "Road": 12,
    "Sidewalk": 15,
    "Building": 13,
    "Wall": 26,
    "Sky": 4,
    "Fence": 12,
}
DEFAULT_GRAIN = 8
MIDDLE_GREY = 128


@dataclass(frozen=True)
class Light:
    """How things look at this hour. `sun_side` is -1 (left) or 1; `shade` is the light that sides away from it get."""

    top: Color
    low: Color
    cloud: Color
    cloudiness: float
    shade: float
    haze_m: float
    sun_side: int
    exposure: float
    warmth: float

    def tint(self, color: Color, *, brightness: float = 1.0, z: float = 0.0) -> Color:
        """A colour lit with `brightness`, seen through the haze of z metres."""
        clear = math.exp(-z / self.haze_m)
        (red, green, blue), (air_red, air_green, air_blue), air = color, self.low, 1 - clear
        return (
            int(min(red * brightness, 255) * clear + air_red * air),
            int(min(green * brightness, 255) * clear + air_green * air),
            int(min(blue * brightness, 255) * clear + air_blue * air),
        )

    def of_side(self, side: int) -> float:
        """The light on a wall at the left (-1) or right (1) of the road, which looks to the other side."""
        return self.shade if side == self.sun_side else 1.0


def draw_light(dice: Dice) -> Light:
    """A random hour and weather."""
    top, low, cloud, cloudiness, shade, haze_m = dice.choice(MOODS)
    lift = dice.integer(-14, 14)
    top, low = ((max(r + lift, 0), max(g + lift, 0), min(b + lift, 255)) for r, g, b in (top, low))
    return Light(
        top=top,
        low=(min(low[0], 255), min(low[1], 255), low[2]),
        cloud=cloud,
        cloudiness=min(cloudiness * dice.between(0.6, 1.2), 1.0),
        shade=shade,
        haze_m=haze_m * dice.between(0.8, 1.4),
        sun_side=dice.choice((-1, 1)),
        exposure=dice.between(0.8, 1.14),
        warmth=dice.between(-0.05, 0.06),
    )


def paint_sky(canvas: Canvas, horizon_px: int, light: Light, dice: Dice) -> None:
    """Gradient and clouds, from the top to the horizon; drawn at a quarter of the size, as nothing in it is sharp."""
    width_px = canvas.mask_HW.shape[1]
    small_px = (max(width_px // 4, 1), max(horizon_px // 4, 1))
    noise_HW = np.zeros(small_px[::-1], np.int16)
    for cells, share in ((4, 5), (9, 3)):
        grid = dice.generator.integers(256, size=(cells, cells * 2), dtype=np.uint8)
        noise_HW += cv2.resize(grid, small_px, interpolation=cv2.INTER_CUBIC).astype(np.int16) * share >> 3
    alpha_HW1 = np.clip((noise_HW - int(200 - 120 * light.cloudiness)) * 2, 0, 115)[..., None]
    clear_H13 = np.linspace(light.top, light.low, small_px[1]).astype(np.int16)[:, None]
    sky_HW3 = (clear_H13 + ((np.array(light.cloud, np.int16) - clear_H13) * alpha_HW1 >> 7)).astype(np.uint8)
    canvas.image_HW3[:horizon_px] = cv2.resize(sky_HW3, (width_px, horizon_px), interpolation=cv2.INTER_LINEAR)
    canvas.mask_HW[:horizon_px] = LABEL_IDS["Sky"]


def haze_ground(canvas: Canvas, horizon_px: int, light: Light, *, focal_px: float, height_m: float) -> None:
    """Blend the ground, row by row, with the colour of the air."""
    ground_HW3 = canvas.image_HW3[horizon_px:]
    rows_H = np.arange(len(ground_HW3)) + 1
    clear_H = np.exp(-focal_px * height_m / rows_H / light.haze_m)
    clear_HW3 = np.empty_like(ground_HW3)
    clear_HW3[:] = np.rint(clear_H * 255).astype(np.uint8)[:, None, None]
    air_HW3 = np.empty_like(ground_HW3)
    air_HW3[:] = np.rint(np.outer(1 - clear_H, light.low)).astype(np.uint8)[:, None]
    canvas.image_HW3[horizon_px:] = cv2.add(cv2.multiply(ground_HW3, clear_HW3, scale=1 / 255), air_HW3)


def develop(canvas: Canvas, light: Light, dice: Dice) -> np.ndarray:
    """The frame as a camera gives it: surfaces with grain, exposure, white balance. uint8 RGB (H, W, 3)."""
    height_px, width_px = canvas.mask_HW.shape
    fine_HW = dice.generator.integers(256, size=(height_px, width_px), dtype=np.uint8)
    small = dice.generator.integers(256, size=(height_px // 3, width_px // 3), dtype=np.uint8)
    coarse_HW = cv2.resize(small, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    noise_HW = cv2.addWeighted(fine_HW, 0.45, coarse_HW, 0.55, -128, dtype=cv2.CV_16S)
    grains_256 = np.full(256, DEFAULT_GRAIN, np.int16)
    for name, grain in GRAINS.items():
        grains_256[LABEL_IDS[name]] = grain
    delta_HW = cv2.multiply(noise_HW, cv2.LUT(canvas.mask_HW, grains_256), scale=1 / 128, dtype=cv2.CV_16S)
    delta_HW3 = cv2.cvtColor(cv2.add(delta_HW, MIDDLE_GREY, dtype=cv2.CV_8U), cv2.COLOR_GRAY2RGB)
    grainy_HW3 = cv2.addWeighted(canvas.image_HW3, 1, delta_HW3, 1, -MIDDLE_GREY)
    gains_3 = np.array([1 + light.warmth, 1.0, 1 - light.warmth]) * light.exposure
    table_1N3 = np.clip(np.rint(np.arange(256)[None, :, None] * gains_3), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(grainy_HW3, table_1N3))
