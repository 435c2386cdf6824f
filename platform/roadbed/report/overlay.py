"""Masks as pictures: indexed PNGs, overlays, and a frame beside truth, prediction and errors.

Shapes: H and W pixels of a frame; colours are RGB 0..255.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roadbed.data.labels import LabelSpace
from roadbed.report.files import replacing
from roadbed.scores import Scores, confusion_counts

PixelArray = np.ndarray[Any, np.dtype[np.uint8]]

PANEL_PX = 480
MARGIN_PX = 16
LINE_PX = 26
TITLE_LINE_PX = 36
SWATCH_PX = 16
LEGEND_COLUMN_PX = 236
BACKGROUND = (255, 255, 255)
INK = (20, 20, 20)
FAINT_INK = (110, 110, 110)
ERROR_COLOR = (230, 30, 30)


def overlay(image_HW3: PixelArray, mask_HW: PixelArray, label_space: LabelSpace, *, opacity: float = 0.5) -> PixelArray:
    """The image (H, W, 3) with its mask's colours laid over it; ignored pixels stay as they are."""
    colors_HW3 = label_space.colorize(mask_HW).astype(np.float32)
    mixed_HW3 = (image_HW3 * (1 - opacity) + colors_HW3 * opacity).round().astype(np.uint8)
    is_class_HW1 = (mask_HW < label_space.num_classes)[:, :, None]
    return np.where(is_class_HW1, mixed_HW3, image_HW3)


def save_overlay(
    image_HW3: PixelArray, mask_HW: PixelArray, label_space: LabelSpace, path: Path, *, opacity: float = 0.5
) -> None:
    """Write `overlay` as PNG."""
    _save(Image.fromarray(overlay(image_HW3, mask_HW, label_space, opacity=opacity)), path)


def save_mask(mask_HW: PixelArray, label_space: LabelSpace, path: Path) -> None:
    """Write a mask as an indexed PNG: its pixels are class ids, its palette shows their colours."""
    picture = Image.fromarray(mask_HW)
    picture.putpalette(label_space.palette_N3.tobytes())
    _save(picture, path)


def save_comparison(
    image_HW3: PixelArray,
    truth_HW: PixelArray,
    predicted_HW: PixelArray,
    label_space: LabelSpace,
    path: Path,
    *,
    title: str,
) -> None:
    """Write `comparison` as PNG."""
    _save(comparison(image_HW3, truth_HW, predicted_HW, label_space, title=title), path)


def comparison(
    image_HW3: PixelArray, truth_HW: PixelArray, predicted_HW: PixelArray, label_space: LabelSpace, *, title: str
) -> Image.Image:
    """One picture: frame, truth, prediction and errors in a row, this frame's scores above, its classes below.

    The legend has the classes that occur in truth or prediction, with their IoU on this frame.
    """
    panels = {
        "frame": image_HW3,
        "truth (black: not labelled)": label_space.colorize(truth_HW),
        "prediction": label_space.colorize(predicted_HW),
        "errors (red; black: not labelled)": errors(image_HW3, truth_HW, predicted_HW, label_space),
    }
    height, width = image_HW3.shape[:2]
    panel_size = (PANEL_PX, max(1, round(height * PANEL_PX / width)))
    scores = _scores(truth_HW, predicted_HW, label_space)
    entries = _legend(truth_HW, predicted_HW, label_space, scores)
    total_width = len(panels) * (PANEL_PX + MARGIN_PX) + MARGIN_PX
    num_columns = (total_width - 2 * MARGIN_PX) // LEGEND_COLUMN_PX
    num_rows = -(-len(entries) // num_columns)
    panels_top = MARGIN_PX + TITLE_LINE_PX + LINE_PX
    legend_top = panels_top + panel_size[1] + MARGIN_PX
    picture = Image.new("RGB", (total_width, legend_top + num_rows * LINE_PX + MARGIN_PX), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN_PX, MARGIN_PX), f"{title}    {_headline(scores)}", INK, _font(22))
    for number, (caption, pixels_HW3) in enumerate(panels.items()):
        left = MARGIN_PX + number * (PANEL_PX + MARGIN_PX)
        draw.text((left, panels_top - LINE_PX + 2), caption, FAINT_INK, _font(16))
        resampling = Image.Resampling.BILINEAR if number == 0 else Image.Resampling.NEAREST
        picture.paste(Image.fromarray(pixels_HW3).resize(panel_size, resampling), (left, panels_top))
    for number, (text, color) in enumerate(entries):
        row, column = divmod(number, num_columns)
        left, top = MARGIN_PX + column * LEGEND_COLUMN_PX, legend_top + row * LINE_PX
        draw.rectangle((left, top, left + SWATCH_PX, top + SWATCH_PX), color, FAINT_INK)
        draw.text((left + SWATCH_PX + 8, top - 2), text, INK, _font(16))
    return picture


def errors(
    image_HW3: PixelArray, truth_HW: PixelArray, predicted_HW: PixelArray, label_space: LabelSpace
) -> PixelArray:
    """The frame in pale grey, wrong pixels in red, unlabelled ones in black, (H, W, 3)."""
    grey_HW = 128 + image_HW3.mean(axis=2) / 2
    shown_HW3 = np.repeat(grey_HW.astype(np.uint8)[:, :, None], 3, axis=2)
    is_labelled_HW = truth_HW < label_space.num_classes
    shown_HW3[is_labelled_HW & (truth_HW != predicted_HW)] = ERROR_COLOR
    shown_HW3[~is_labelled_HW] = 0
    return shown_HW3


def _scores(truth_HW: PixelArray, predicted_HW: PixelArray, label_space: LabelSpace) -> Scores | None:
    counts_KK = confusion_counts(
        truth_HW, predicted_HW, num_classes=label_space.num_classes, ignore_id=label_space.ignore_id
    )
    return Scores.from_counts(counts_KK, class_names=label_space.class_names) if counts_KK.any() else None


def _headline(scores: Scores | None) -> str:
    if scores is None:
        return "no labelled pixel in this frame"
    return f"pixel accuracy {100 * scores.pixel_accuracy:.1f} %, mIoU {100 * scores.miou:.1f} % on this frame"


def _legend(
    truth_HW: PixelArray, predicted_HW: PixelArray, label_space: LabelSpace, scores: Scores | None
) -> list[tuple[str, tuple[int, int, int]]]:
    present = set(np.unique(truth_HW).tolist()) | set(np.unique(predicted_HW).tolist())
    entries = []
    for number, label_class in enumerate(label_space.classes):
        iou = scores.iou_per_class[label_class.name] if scores else None
        if number in present:
            text = label_class.name if iou is None else f"{label_class.name}  {100 * iou:.0f} %"
            entries.append((text, label_class.color))
    return entries


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _save(picture: Image.Image, path: Path) -> None:
    with replacing(path) as partial:
        picture.save(partial, format="PNG")
