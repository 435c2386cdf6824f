"""How Cityscapes frames become samples: whole, resized, or cut into tiles. Pure arithmetic and pixels, no files.

Sizes are (height, width) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from roadbed.errors import UsageError

Size = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """One tile of a frame: its row and column among the tiles, and its upper left corner in the frame."""

    row: int
    column: int
    top_px: int
    left_px: int


@dataclass(frozen=True)
class Framing:
    """Frames whole, resized to `resize_px`, or cut into tiles of `tile_px` that overlap by `overlap_px` or more.

    Raises UsageError for what cannot be meant.
    """

    resize_px: Size | None = None
    tile_px: Size | None = None
    overlap_px: int = 0

    def __post_init__(self) -> None:
        if self.resize_px and self.tile_px:
            raise UsageError("frames are either resized or cut into tiles; give --resize or --tiles, not both")
        for option, size_px in (("--resize", self.resize_px), ("--tiles", self.tile_px)):
            if size_px and min(size_px) < 1:
                raise UsageError(f"{option} {show_size(size_px)}: both sides must be 1 pixel or more")
        if self.overlap_px and not self.tile_px:
            raise UsageError(f"--tile-overlap {self.overlap_px}: whole frames do not overlap; give --tiles WxH too")
        if self.tile_px and not 0 <= self.overlap_px < min(self.tile_px):
            raise UsageError(
                f"--tile-overlap {self.overlap_px}: must be 0 or more, and less than both sides of the tile "
                f"{show_size(self.tile_px)}"
            )

    def tiles(self, frame_px: Size) -> list[Tile]:
        """The tiles that cover a frame, row by row. Raises UsageError if the tile is larger than the frame."""
        assert self.tile_px is not None
        if self.tile_px[0] > frame_px[0] or self.tile_px[1] > frame_px[1]:
            raise UsageError(f"--tiles {show_size(self.tile_px)}: larger than the frames, {show_size(frame_px)}")
        tops, lefts = (tile_starts(*sides, self.overlap_px) for sides in zip(frame_px, self.tile_px, strict=True))
        return [Tile(row, column, top, left) for row, top in enumerate(tops) for column, left in enumerate(lefts)]

    def cut(self, image_HW3: np.ndarray, mask_HW: np.ndarray, tile: Tile | None) -> tuple[np.ndarray, np.ndarray]:
        """Frame and mask as they are stored: the tile of them, resized, or as they are."""
        if self.resize_px:
            return resize_pair(image_HW3, mask_HW, self.resize_px)
        if tile is None or self.tile_px is None:
            return image_HW3, mask_HW
        rows = slice(tile.top_px, tile.top_px + self.tile_px[0])
        columns = slice(tile.left_px, tile.left_px + self.tile_px[1])
        return np.ascontiguousarray(image_HW3[rows, columns]), np.ascontiguousarray(mask_HW[rows, columns])


def tile_starts(length_px: int, tile_px: int, overlap_px: int) -> list[int]:
    """Where tiles begin along one side: evenly stepped, the last shifted inwards so that it ends with the frame."""
    step_px = tile_px - overlap_px
    num_tiles = max(-(-(length_px - overlap_px) // step_px), 1)
    return [min(number * step_px, length_px - tile_px) for number in range(num_tiles)]


def resize_pair(image_HW3: np.ndarray, mask_HW: np.ndarray, size_px: Size) -> tuple[np.ndarray, np.ndarray]:
    """A frame by area interpolation, its mask by the nearest pixel."""
    width_height = (size_px[1], size_px[0])
    image = cv2.resize(image_HW3, width_height, interpolation=cv2.INTER_AREA)
    # INTER_NEAREST takes the upper left pixel of every block, which shifts the mask against its frame.
    mask = cv2.resize(mask_HW, width_height, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(image), np.asarray(mask)


def show_size(size_px: Size) -> str:
    """A size as people write it, width first."""
    return f"{size_px[1]}x{size_px[0]}"
