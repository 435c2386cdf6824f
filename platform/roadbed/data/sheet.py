"""A contact sheet: frames of a split beside themselves with their masks upon them, and what the colours mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roadbed.data.dataset import Dataset, Split
from roadbed.data.labels import LabelSpace

PAPER = (250, 250, 248)
INK = (34, 36, 40)
FRAME_WIDTH_PX = 300
GAP_PX = 12
CAPTION_PX = 18
LEGEND_ROW_PX = 22
LEGEND_COLUMN_PX = 200
TITLE_PX = 34
MASK_WEIGHT = 0.6


@dataclass(frozen=True)
class _Grid:
    """Where cells lie: each holds a frame, its blend, and a caption below."""

    num_columns: int
    num_rows: int
    frame_height_px: int

    @property
    def cell_width_px(self) -> int:
        return 2 * FRAME_WIDTH_PX + GAP_PX

    @property
    def cell_height_px(self) -> int:
        return self.frame_height_px + CAPTION_PX + GAP_PX

    @property
    def width_px(self) -> int:
        return GAP_PX + self.num_columns * (self.cell_width_px + GAP_PX)

    def corner(self, cell: int) -> tuple[int, int]:
        row, column = divmod(cell, self.num_columns)
        return GAP_PX + column * (self.cell_width_px + GAP_PX), TITLE_PX + row * self.cell_height_px


def draw_sheet(dataset: Dataset, split: Split, *, num_samples: int = 12, num_columns: int = 3) -> Image.Image:
    """Up to `num_samples` samples, evenly spread over the split, as an RGB picture.

    Raises DamagedError for samples that are not what the index says.
    """
    samples = spread(split.num_samples, num_samples)
    pictures = [_picture(split, sample, dataset.label_space) for sample in samples]
    num_columns = max(min(num_columns, len(samples)), 1)
    height_px = max((picture.height for picture in pictures), default=0)
    grid = _Grid(num_columns, -(-len(samples) // num_columns), height_px)
    legend_top_px = TITLE_PX + grid.num_rows * grid.cell_height_px
    legend_columns = max((grid.width_px - GAP_PX) // LEGEND_COLUMN_PX, 1)
    legend_rows = -(-(dataset.label_space.num_classes + 1) // legend_columns)
    sheet = Image.new("RGB", (grid.width_px, legend_top_px + legend_rows * LEGEND_ROW_PX + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    title = f"{dataset.uri}   {split.name}: {split.num_samples} samples"
    draw.text((GAP_PX, 9), title, fill=INK, font=ImageFont.load_default(15))
    for cell, (sample, picture) in enumerate(zip(samples, pictures, strict=True)):
        left, top = grid.corner(cell)
        sheet.paste(picture, (left, top))
        caption = f"{split.key(sample)}   (sample {sample})"
        draw.text((left, top + picture.height + 2), caption, fill=INK, font=ImageFont.load_default(12))
    _draw_legend(draw, dataset.label_space, split, legend_top_px, legend_columns)
    return sheet


def spread(num_all: int, num_wanted: int) -> list[int]:
    """At most `num_wanted` numbers of 0..num_all-1, evenly spread, the middles of equal parts."""
    num_taken = min(num_all, num_wanted)
    return [(2 * part + 1) * num_all // (2 * num_taken) for part in range(num_taken)]


def blend(image_HW3: np.ndarray, mask_HW: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """A frame with the colours of its classes upon it, uint8 (H, W, 3); ignored pixels keep the frame, darkened."""
    colors_HW3 = label_space.colorize(mask_HW)
    mixed_HW3 = image_HW3 * (1 - MASK_WEIGHT) + colors_HW3 * MASK_WEIGHT
    return np.rint(mixed_HW3).astype(np.uint8)


def _picture(split: Split, sample: int, label_space: LabelSpace) -> Image.Image:
    image_HW3, mask_HW = split.read_sample(sample)
    height_px = max(round(FRAME_WIDTH_PX * image_HW3.shape[0] / image_HW3.shape[1]), 1)
    picture = Image.new("RGB", (2 * FRAME_WIDTH_PX + GAP_PX // 3, height_px), PAPER)
    for column, pixels_HW3 in enumerate((image_HW3, blend(image_HW3, mask_HW, label_space))):
        small = Image.fromarray(pixels_HW3).resize((FRAME_WIDTH_PX, height_px), Image.Resampling.LANCZOS)
        picture.paste(small, (column * (FRAME_WIDTH_PX + GAP_PX // 3), 0))
    return picture


def _draw_legend(draw: ImageDraw.ImageDraw, space: LabelSpace, split: Split, top_px: int, num_columns: int) -> None:
    font = ImageFont.load_default(13)
    num_pixels = max(int(split.class_pixels.sum()) + split.ignored_pixels, 1)
    rows = [(c.name, c.color, int(n)) for c, n in zip(space.classes, split.class_pixels, strict=True)]
    rows.append(("ignored", (0, 0, 0), split.ignored_pixels))
    for number, (name, color, pixels) in enumerate(rows):
        row, column = divmod(number, num_columns)
        left, top = GAP_PX + column * LEGEND_COLUMN_PX, top_px + row * LEGEND_ROW_PX
        draw.rectangle((left, top + 1, left + 22, top + 15), fill=color, outline=INK)
        draw.text((left + 30, top), f"{name}  {100 * pixels / num_pixels:.1f} %", fill=INK, font=font)
