"""How like two frames are: a perceptual hash of 64 bits to find candidates, and a thumbnail to be sure.

The hash is the sign of the 63 lowest frequencies of a 32x32 picture against their median (the first bit is unused):
C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1. It survives another
encoding, size and brightness; the thumbnail tells two streets from each other that have their sky and road in the same
places.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

HASH_SIDE, THUMB_SIDE = 32, 16
FREQUENCIES = 8
# Bits that may differ, and the least correlation of two thumbnails. Neighbours of a 15 Hz drive differ by 0..8 bits.
MOST_BITS = 8
LEAST_CORRELATION = 0.97
# So many hashes are compared with as many at a time.
BLOCK = 2048


def perceptual_hash(image_HW3: np.ndarray) -> tuple[int, np.ndarray]:
    """The hash of a uint8 RGB frame, and its thumbnail, uint8 (THUMB_SIDE, THUMB_SIDE)."""
    small_HW3 = cv2.resize(image_HW3, (HASH_SIDE, HASH_SIDE), interpolation=cv2.INTER_AREA)
    grey_HW = cv2.cvtColor(small_HW3, cv2.COLOR_RGB2GRAY)
    low_N = cv2.dct(grey_HW.astype(np.float32))[:FREQUENCIES, :FREQUENCIES].ravel()[1:]
    bits_N = np.concatenate(([False], low_N > np.median(low_N)))
    thumb = cv2.resize(grey_HW, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(bits_N).tobytes(), "big"), np.asarray(thumb)


def nearest(
    hashes_N: np.ndarray, thumbs_NSS: np.ndarray, other_hashes_M: np.ndarray, other_thumbs_MSS: np.ndarray
) -> Iterator[tuple[int, int, int]]:
    """Of every frame that is nearly one of the others: its place, the place of the most like, and the bits between.

    Hashes are uint64, thumbnails uint8. In the order of the first; N times M comparisons of some nanoseconds.
    """
    for first in range(0, len(hashes_N), BLOCK):
        block_B = hashes_N[first : first + BLOCK]
        best_B = np.full(len(block_B), 65, np.int64)
        place_B = np.zeros(len(block_B), np.int64)
        for start in range(0, len(other_hashes_M), BLOCK):
            bits_BM = np.bitwise_count(block_B[:, None] ^ other_hashes_M[None, start : start + BLOCK])
            least_B = bits_BM.argmin(axis=1)
            bits_B = bits_BM[np.arange(len(block_B)), least_B]
            is_less_B = bits_B < best_B
            best_B = np.where(is_less_B, bits_B, best_B)
            place_B = np.where(is_less_B, least_B + start, place_B)
        for row in np.flatnonzero(best_B <= MOST_BITS).tolist():
            other = int(place_B[row])
            if correlation(thumbs_NSS[first + row], other_thumbs_MSS[other]) >= LEAST_CORRELATION:
                yield first + row, other, int(best_B[row])


def correlation(thumb_SS: np.ndarray, other_SS: np.ndarray) -> float:
    """Of two thumbnails, -1..1; 0 if one of them has no contrast."""
    ours, others = (thumb.astype(np.float64).ravel() - thumb.mean() for thumb in (thumb_SS, other_SS))
    norm = float(np.linalg.norm(ours) * np.linalg.norm(others))
    return float(ours @ others) / norm if norm else 0.0
