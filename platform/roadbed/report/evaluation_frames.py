"""Frames on an evaluation's page: the best, the middle and the worst, as image | truth | prediction | error map.

Shapes: H and W pixels of a frame.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from html import escape

import numpy as np
from PIL import Image

from roadbed.data.labels import LabelSpace
from roadbed.evaluation import Evaluation
from roadbed.evaluation.tallies import FrameTally
from roadbed.report.evaluation_sections import swatch
from roadbed.report.overlay import PixelArray, errors
from roadbed.report.page import card
from roadbed.report.sweep_table import one_line
from roadbed.words import percent

Look = Callable[[int], tuple[PixelArray, PixelArray, PixelArray]]

# So many of each kind, at most.
FRAMES_OF_KIND = 3
# The sides of squares that frames are fitted into: the first with which all are small enough; the last is for noise.
SIDES_PX = (560, 400, 320)
MOST_LETTERS = 4_500_000
JPEG_QUALITY = 80
CLASSES_TOLD = 4


def frames_card(evaluation: Evaluation, look: Look) -> str:
    """The frames of the highest, the middle and the lowest mIoU, with what is in their masks."""
    kinds = chosen(evaluation.ranked)
    pixels = {frame.sample: look(frame.sample) for frames in kinds.values() for frame, _ in frames}
    seen = {number for parts in pixels.values() for mask_HW in parts[1:] for number in np.unique(mask_HW).tolist()}
    for side_px in SIDES_PX:
        body = ""
        for title, frames in kinds.items():
            drawn = [_figure(frame, miou, pixels[frame.sample], evaluation.labels, side_px) for frame, miou in frames]
            body += f"<h3>{title}</h3>{''.join(drawn)}"
        if len(body) < MOST_LETTERS:
            break
    told = "By the mIoU of each frame by itself. Black is not labelled; errors are red over the frame in grey."
    legend = "".join(
        f"<li>{swatch(label_class.color)}{escape(one_line(label_class.name))}</li>"
        for number, label_class in enumerate(evaluation.labels.classes)
        if number in seen
    )
    return card("Frames", f'<p class="faint">{told}</p><ul class="legend">{legend}</ul>{body}')


def chosen(ranked: list[tuple[FrameTally, float]]) -> dict[str, list[tuple[FrameTally, float]]]:
    """Of frames from the best to the worst the first, the middle and the last ones, none of them twice."""
    number, each = len(ranked), min(FRAMES_OF_KIND, max(1, len(ranked) // 3))
    middle = (number - each) // 2
    places = {
        "Best": range(each),
        "Middle": range(middle, middle + each),
        "Worst": range(number - 1, number - each - 1, -1),
    }
    taken: set[int] = set()
    found = {}
    for title, wanted in places.items():
        free = [place for place in wanted if place not in taken]
        taken.update(free)
        if free:
            found[title] = [ranked[place] for place in free]
    return found


def _figure(
    frame: FrameTally,
    miou: float,
    pixels: tuple[PixelArray, PixelArray, PixelArray],
    labels: LabelSpace,
    side_px: int,
) -> str:
    image_HW3, truth_HW, predicted_HW = pixels
    key, counts_KK = one_line(frame.key), frame.counts_KK
    right = int(np.trace(counts_KK)) / int(counts_KK.sum())
    wrong = errors(image_HW3, truth_HW, predicted_HW, labels)
    panels = (
        ("image", f"Frame {key}", _photo(image_HW3, side_px)),
        ("truth", f"Truth: {_shares(truth_HW, labels)}", _mask(truth_HW, labels, side_px)),
        ("prediction", f"Prediction: {_shares(predicted_HW, labels)}", _mask(predicted_HW, labels, side_px)),
        ("errors", f"Errors: {_errors_words(counts_KK, labels)}", _photo(wrong, side_px)),
    )
    drawn = "".join(
        f'<div><img src="{url}" alt="{escape(one_line(alt))}" width="{width}" height="{height}">'
        f'<span class="faint">{name}</span></div>'
        for name, alt, (url, width, height) in panels
    )
    told = f"{key}: mIoU {percent(miou)}, {percent(right)} of the pixels right"
    return f'<figure><figcaption>{escape(told)}</figcaption><div class="quad">{drawn}</div></figure>'


def _shares(mask_HW: PixelArray, labels: LabelSpace) -> str:
    """What fills most of a mask: "Road 40 %, Sky 20 %"."""
    pixels_K = np.bincount(mask_HW.ravel(), minlength=256)[: labels.num_classes]
    most = [int(number) for number in np.argsort(-pixels_K, kind="stable")[:CLASSES_TOLD] if pixels_K[number]]
    told = [f"{labels.class_names[number]} {100 * pixels_K[number] / mask_HW.size:.0f} %" for number in most]
    return ", ".join(told) or "nothing"


def _errors_words(counts_KK: np.ndarray, labels: LabelSpace) -> str:
    wrong_KK = counts_KK - np.diag(np.diag(counts_KK))
    if not wrong_KK.any():
        return "none"
    truth, taken = np.unravel_index(wrong_KK.argmax(), wrong_KK.shape)
    share = percent(wrong_KK.sum() / counts_KK.sum())
    return f"{share} of the labelled pixels, most of all {labels.class_names[truth]} for {labels.class_names[taken]}"


def _photo(image_HW3: PixelArray, side_px: int) -> tuple[str, int, int]:
    picture = _fitted(Image.fromarray(image_HW3), side_px, Image.Resampling.BILINEAR)
    return _url(picture, "JPEG", quality=JPEG_QUALITY)


def _mask(mask_HW: PixelArray, labels: LabelSpace, side_px: int) -> tuple[str, int, int]:
    picture = Image.fromarray(mask_HW)
    picture.putpalette(labels.palette_N3.tobytes())
    return _url(_fitted(picture, side_px, Image.Resampling.NEAREST), "PNG", optimize=True)


def _fitted(picture: Image.Image, side_px: int, resampling: Image.Resampling) -> Image.Image:
    scale = min(1.0, side_px / max(picture.size))
    size = [max(1, round(scale * side)) for side in picture.size]
    return picture.resize((size[0], size[1]), resampling)


def _url(picture: Image.Image, kind: str, **settings: int | bool) -> tuple[str, int, int]:
    """The picture inside an address, its width and its height."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **settings)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{encoded}", picture.width, picture.height
