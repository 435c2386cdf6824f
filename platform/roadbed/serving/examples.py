"""Pictures for people who have none at hand: frames of the painted town, drawn when they are first asked for."""

from __future__ import annotations

import functools
import io

from PIL import Image

from roadbed.data.sources.town.scene import paint_town

EXAMPLES = {"street-1.jpg": 11, "street-2.jpg": 23, "street-3.jpg": 42}
EXAMPLE_PX = (360, 480)


@functools.cache
def example_picture(name: str) -> bytes:
    """The JPEG of one of `EXAMPLES`, 480x360."""
    return _painted(EXAMPLES[name], "JPEG", quality=90)


def painted_png() -> bytes:
    """One of them as PNG."""
    return _painted(next(iter(EXAMPLES.values())), "PNG")


def _painted(seed: int, kind: str, **settings: int) -> bytes:
    image_HW3, _ = paint_town((seed,), *EXAMPLE_PX)
    buffer = io.BytesIO()
    Image.fromarray(image_HW3).save(buffer, format=kind, **settings)
    return buffer.getvalue()
