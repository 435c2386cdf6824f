"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(points: Sequence[tuple[float, float]], width: int) -> str:
    """The curve of (place, value) in at most `width` blocks, lowest to highest; places only grow.

    Each block is the mean of an equal share of the places; one without a value stands as the block before. Values that
    are no finite numbers leave a gap if there is nothing else in their share. A constant curve lies in the middle.
    """
    width = min(width, len(points))
    if width < 1:
        return ""
    first, last = points[0][0], points[-1][0]
    shares: list[list[float]] = [[] for _ in range(width)]
    for place, value in points:
        position = (place - first) / (last - first) if last > first else 0.0
        shares[min(width - 1, int(position * width))].append(value)
    means = [_mean(share) for share in shares]
    finite = [mean for mean in means if mean is not None and math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    text = ""
    for mean in means:
        text += _block(mean, low, high) if mean is not None else text[-1:]
    return text


def _mean(share: Sequence[float]) -> float | None:
    """The mean of the finite values; not a number if there is none, None if there is no value at all."""
    finite = [value for value in share if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan if share else None


def _block(mean: float, low: float, high: float) -> str:
    if not math.isfinite(mean):
        return " "
    if high == low:
        return BLOCKS[len(BLOCKS) // 2 - 1]
    return BLOCKS[min(len(BLOCKS) - 1, int((mean - low) / (high - low) * len(BLOCKS)))]
