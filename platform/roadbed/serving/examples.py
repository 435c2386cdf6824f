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
    image_HW3, _ = paint_town((EXAMPLES[name],), *EXAMPLE_PX)
    buffer = io.BytesIO()
    Image.fromarray(image_HW3).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
