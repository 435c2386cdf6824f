"""Masks as pictures: indexed ones, overlays, a frame beside its prediction, or beside truth, prediction and errors.

Shapes: H and W pixels of a frame; colours are RGB 0..255.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roadbed.data.labels import LabelSpace
from roadbed.report.files import replacing
from roadbed.scores import Scores, confusion_counts
from roadbed.words import percent

PixelArray = np.ndarray[Any, np.dtype[np.uint8]]
# A class in a legend: its words and its colour.
Entry = tuple[str, tuple[int, int, int]]

PHOTOGRAPHS = ("frame", "image", "overlay")
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


def mask_picture(mask_HW: PixelArray, label_space: LabelSpace) -> Image.Image:
    """A mask as an indexed picture: its pixels are class ids, its palette shows their colours."""
    picture = Image.fromarray(mask_HW)
    picture.putpalette(label_space.palette_N3.tobytes())
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def side_by_side(
    image_HW3: PixelArray, mask_HW: PixelArray, label_space: LabelSpace, *, title: str, is_still: bool = True
) -> Image.Image:
    """One picture: image, prediction and overlay in a row, the classes below.

    The legend of a still has the classes that occur, with their shares of the pixels; without `is_still` all of them,
    so that every frame of a video gives a picture of one size.
    """
    panels = {
        "image": image_HW3,
        "prediction": label_space.colorize(mask_HW),
        "overlay": overlay(image_HW3, mask_HW, label_space),
    }
    pixels_K = np.bincount(mask_HW.ravel(), minlength=256)
    entries = [
        (
            f"{label_class.name}  {percent(pixels_K[number] / mask_HW.size)}" if is_still else label_class.name,
            label_class.color,
        )
        for number, label_class in enumerate(label_space.classes)
        if pixels_K[number] or not is_still
    ]
    return _row(panels, entries, title)


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
    with replacing(path) as partial:
        comparison(image_HW3, truth_HW, predicted_HW, label_space, title=title).save(partial, format="PNG")


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
    scores = _scores(truth_HW, predicted_HW, label_space)
    entries = _legend(truth_HW, predicted_HW, label_space, scores)
    return _row(panels, entries, f"{title}    {_headline(scores)}")


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


def _row(panels: Mapping[str, PixelArray], entries: Sequence[Entry], headline: str) -> Image.Image:
    """Pictures of one size, with their captions, between a headline and a legend."""
    height, width = next(iter(panels.values())).shape[:2]
    panel_size = (PANEL_PX, max(1, round(height * PANEL_PX / width)))
    total_width = len(panels) * (PANEL_PX + MARGIN_PX) + MARGIN_PX
    num_columns = (total_width - 2 * MARGIN_PX) // LEGEND_COLUMN_PX
    num_rows = -(-len(entries) // num_columns)
    panels_top = MARGIN_PX + TITLE_LINE_PX + LINE_PX
    legend_top = panels_top + panel_size[1] + MARGIN_PX
    picture = Image.new("RGB", (total_width, legend_top + num_rows * LINE_PX + MARGIN_PX), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN_PX, MARGIN_PX), headline, INK, _font(22))
    for number, (caption, pixels_HW3) in enumerate(panels.items()):
        left = MARGIN_PX + number * (PANEL_PX + MARGIN_PX)
        draw.text((left, panels_top - LINE_PX + 2), caption, FAINT_INK, _font(16))
        resampling = Image.Resampling.BILINEAR if caption in PHOTOGRAPHS else Image.Resampling.NEAREST
        picture.paste(Image.fromarray(pixels_HW3).resize(panel_size, resampling), (left, panels_top))
    for number, (text, color) in enumerate(entries):
        row, column = divmod(number, num_columns)
        left, top = MARGIN_PX + column * LEGEND_COLUMN_PX, legend_top + row * LINE_PX
        draw.rectangle((left, top, left + SWATCH_PX, top + SWATCH_PX), color, FAINT_INK)
        draw.text((left + SWATCH_PX + 8, top - 2), text, INK, _font(16))
    return picture


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
) -> list[Entry]:
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
