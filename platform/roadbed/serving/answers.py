"""A mask as what a client asked for: an indexed PNG, JSON, or the picture with the classes' colours laid over it.

Shapes: H and W pixels of the picture, K classes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from roadbed.data.labels import LabelSpace
from roadbed.inference.images import ImageArray
from roadbed.report.overlay import mask_picture, overlay
from roadbed.serving.refused import RefusedError

Encoder = Callable[[ImageArray, ImageArray, LabelSpace, dict[str, Any]], bytes]

OVERLAY_QUALITY = 85


def choose_encoder(accept: str) -> tuple[str, Encoder]:
    """The media type and encoder of the first that an Accept header ranks highest; without one, image/png.

    Raises RefusedError 406 that lists what there is.
    """
    wanted = sorted(_ranked(accept or "*/*"), key=lambda entry: -entry[1])
    for pattern, quality in wanted:
        for kind, encoder in ENCODERS.items():
            if quality > 0 and pattern in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
                return kind, encoder
    raise RefusedError(406, "not_acceptable", f"no answer can be {accept}; {', '.join(ENCODERS)} can")


def _ranked(accept: str) -> list[tuple[str, float]]:
    ranked = []
    for entry in accept.split(","):
        pattern, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            ranked.append((pattern, float(quality)))
        except ValueError:
            continue
    return ranked


def encode_mask(image_HW3: ImageArray, mask_HW: ImageArray, labels: LabelSpace, facts: dict[str, Any]) -> bytes:
    """A PNG whose pixels are class ids and whose palette holds their colours."""
    return _saved(mask_picture(mask_HW, labels), "PNG", compress_level=1)


def encode_json(image_HW3: ImageArray, mask_HW: ImageArray, labels: LabelSpace, facts: dict[str, Any]) -> bytes:
    """`facts`, the size, every class with its share of the pixels, and the mask as runs of equal ids row after row."""
    height, width = mask_HW.shape
    counts_K = np.bincount(mask_HW.ravel(), minlength=labels.num_classes)
    ids, lengths = run_lengths(mask_HW)
    document = facts | {
        "width": width,
        "height": height,
        "classes": [
            {
                "id": number,
                "name": label_class.name,
                "color": list(label_class.color),
                "share": int(counts_K[number]) / mask_HW.size,
            }
            for number, label_class in enumerate(labels.classes)
        ],
        "runs": {"order": "rows", "ids": ids.tolist(), "lengths": lengths.tolist()},
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def run_lengths(mask_HW: ImageArray) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Ids and lengths of the runs of equal pixels, row after row; a run may go on in the next row."""
    flat = mask_HW.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=np.int16(-1)))
    return flat[starts], np.diff(starts, append=flat.size)


def encode_overlay(kind: str) -> Encoder:
    """The picture with the colours of the classes over it, in a format that Pillow knows by `kind`."""

    def encode(image_HW3: ImageArray, mask_HW: ImageArray, labels: LabelSpace, facts: dict[str, Any]) -> bytes:
        return _saved(Image.fromarray(overlay(image_HW3, mask_HW, labels)), kind, quality=OVERLAY_QUALITY)

    return encode


def _saved(picture: Image.Image, kind: str, **settings: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **settings)
    return buffer.getvalue()


ENCODERS: dict[str, Encoder] = {
    "image/png": encode_mask,
    "application/json": encode_json,
    "image/webp": encode_overlay("WEBP"),
    "image/jpeg": encode_overlay("JPEG"),
}
