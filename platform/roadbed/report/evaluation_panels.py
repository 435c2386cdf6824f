"""Pictures inside a page, side by side under a caption, each told in words; as large as the page's size allows.

Shapes: H and W pixels of a frame.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from roadbed.data.labels import LabelSpace
from roadbed.report.overlay import PixelArray, errors, mask_picture
from roadbed.report.sweep_table import one_line
from roadbed.scores import CountArray
from roadbed.words import percent

# The sides of squares that pictures are fitted into: the first with which all are small enough, the last for noise.
SIDES_PX = (560, 400, 320, 240, 160)
JPEG_QUALITY = 80
CLASSES_TOLD = 4


@dataclass(frozen=True)
class Panel:
    """A picture with its name and what is to be seen on it. Masks keep their very pixels and colours."""

    name: str
    words: str
    picture: Image.Image

    def html(self, side_px: int) -> str:
        """The picture within a square of this side."""
        is_mask = self.picture.mode == "P"
        scale = min(1.0, side_px / max(self.picture.size))
        width, height = (max(1, round(scale * side)) for side in self.picture.size)
        how = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR
        fitted = self.picture.resize((width, height), how)
        url = _url(fitted, "PNG", optimize=True) if is_mask else _url(fitted, "JPEG", quality=JPEG_QUALITY)
        alt = escape(one_line(self.words))
        image = f'<img src="{url}" alt="{alt}" width="{width}" height="{height}">'
        return f'<div>{image}<span class="faint">{escape(one_line(self.name))}</span></div>'


Captioned = tuple[str, Sequence[Panel]]


def figures(groups: Mapping[str, Sequence[Captioned]], *, most_letters: int) -> str:
    """Groups of figures under their titles, in no more than so many letters of HTML; with the last side, whatever."""
    body = ""
    for side_px in SIDES_PX:
        body = "".join(
            f"<h3>{escape(title)}</h3>{''.join(_figure(caption, panels, side_px) for caption, panels in group)}"
            for title, group in groups.items()
        )
        if len(body) <= most_letters:
            break
    return body


def image_panel(key: str, image_HW3: PixelArray) -> Panel:
    """The frame as the camera saw it."""
    return Panel("image", f"Frame {key}", Image.fromarray(image_HW3))


def mask_panel(name: str, mask_HW: PixelArray, labels: LabelSpace) -> Panel:
    """A mask in the colours of its classes; in words, what fills most of it."""
    pixels_K = np.bincount(mask_HW.ravel(), minlength=256)[: labels.num_classes]
    most = [int(number) for number in np.argsort(-pixels_K, kind="stable")[:CLASSES_TOLD] if pixels_K[number]]
    told = [f"{labels.class_names[number]} {100 * pixels_K[number] / mask_HW.size:.0f} %" for number in most]
    return Panel(name, f"{name.capitalize()}: {', '.join(told) or 'nothing'}", mask_picture(mask_HW, labels))


def error_panel(
    image_HW3: PixelArray, truth_HW: PixelArray, predicted_HW: PixelArray, counts_KK: CountArray, labels: LabelSpace
) -> Panel:
    """Where the prediction is wrong; in words, how much of it and what most of all."""
    picture = Image.fromarray(errors(image_HW3, truth_HW, predicted_HW, labels))
    wrong_KK = counts_KK - np.diag(np.diag(counts_KK))
    if not wrong_KK.any():
        return Panel("errors", "Errors: none", picture)
    truth, taken = np.unravel_index(wrong_KK.argmax(), wrong_KK.shape)
    most = f"{labels.class_names[truth]} for {labels.class_names[taken]}"
    share = percent(wrong_KK.sum() / counts_KK.sum())
    return Panel("errors", f"Errors: {share} of the labelled pixels, most of all {most}", picture)


def _figure(caption: str, panels: Sequence[Panel], side_px: int) -> str:
    drawn = "".join(panel.html(side_px) for panel in panels)
    return f'<figure><figcaption>{escape(one_line(caption))}</figcaption><div class="quad">{drawn}</div></figure>'


def _url(picture: Image.Image, kind: str, **settings: Any) -> str:
    """The picture as an address that holds it."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
