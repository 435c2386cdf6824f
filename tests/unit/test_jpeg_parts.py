"""A part of a frame has the very pixels of the whole, however the frame was encoded."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from roadbed.data.encoding import ImageEncoding, decode_image, encode_image
from roadbed.data.jpeg_parts import cut_jpeg, restart_interval
from roadbed.data.sources.town.scene import paint_town
from roadbed.errors import DataError

WHOLE_HW3, _ = paint_town((4, 5, 6), 150, 330)


def jpeg(image_HW3: np.ndarray, *flags: int) -> bytes:
    found, data = cv2.imencode(".jpg", image_HW3, flags)
    assert found
    return bytes(data)


SAMPLING_444 = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


@st.composite
def frames_and_boxes(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 330))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return height, width, (left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height)))


@given(frames_and_boxes())
@settings(max_examples=400, deadline=None)
def test_every_part_of_every_size_has_the_pixels_of_the_whole(case: tuple[int, int, tuple[int, int, int, int]]) -> None:
    height, width, box = case
    left, top, right, bottom = box
    data = encode_image(np.ascontiguousarray(WHOLE_HW3[:height, :width]), encoding="jpeg")
    part_HW3 = decode_image(data, box)
    np.testing.assert_array_equal(part_HW3, decode_image(data)[top:bottom, left:right])
    has_restarts = b"\xff\xdd" in data
    assert not has_restarts or cut_jpeg(data, box) is not None


@pytest.mark.parametrize("encoding", ["jpeg", "png", "zstd"])
def test_part_in_any_encoding(encoding: ImageEncoding) -> None:
    data = encode_image(WHOLE_HW3, encoding=encoding)
    np.testing.assert_array_equal(decode_image(data, (100, 17, 271, 93)), decode_image(data)[17:93, 100:271])


def test_what_is_outside_of_the_part_is_not_decoded() -> None:
    data = encode_image(WHOLE_HW3[:144, :320], encoding="jpeg")
    cut, box = cut_jpeg(data, (90, 20, 150, 50)) or pytest.fail("the frame has restart markers")
    assert box == (10, 4, 70, 34)
    with Image.open(io.BytesIO(cut)) as picture:
        assert picture.size == (80, 40)
    assert len(cut) < len(data) / 3


def test_restart_markers_change_no_pixel_and_few_bytes() -> None:
    plain = encode_image(WHOLE_HW3, encoding="jpeg", jpeg_restarts=False)
    marked = encode_image(WHOLE_HW3, encoding="jpeg")
    np.testing.assert_array_equal(decode_image(plain), decode_image(marked))
    assert cut_jpeg(plain, (0, 0, 8, 8)) is None
    assert len(plain) < len(marked) < 1.06 * len(plain)


@pytest.mark.parametrize(
    ("width_px", "blocks"),
    [(480, 5), (960, 5), (2048, 8), (1280, 5), (1914, 5), (488, 61), (8, 1), (1, 1), (40, 5), (96, 6), (101, 13)],
)
def test_restarts_divide_a_row(width_px: int, blocks: int) -> None:
    assert restart_interval(width_px) == blocks


@pytest.mark.parametrize(
    "flags",
    [
        (*SAMPLING_444, cv2.IMWRITE_JPEG_RST_INTERVAL, 8),
        (*SAMPLING_444, cv2.IMWRITE_JPEG_RST_INTERVAL, 6, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 10_000, *SAMPLING_444),
    ],
    ids=["pieces across rows", "progressive", "4:2:0", "one piece"],
)
def test_frames_that_others_encoded_are_decoded_whole(flags: tuple[int, ...]) -> None:
    data = jpeg(WHOLE_HW3, *flags)
    assert cut_jpeg(data, (8, 8, 64, 64)) is None
    np.testing.assert_array_equal(decode_image(data, (8, 8, 64, 64)), decode_image(data)[8:64, 8:64])


def test_grey_frame_is_decoded_whole() -> None:
    data = jpeg(WHOLE_HW3[..., 0], cv2.IMWRITE_JPEG_RST_INTERVAL, 6)
    assert cut_jpeg(data, (8, 8, 64, 64)) is None


@pytest.mark.parametrize("num_bytes", [3, 30, 300, 700, 5000, -2])
def test_frame_that_is_cut_short_is_an_error(num_bytes: int) -> None:
    data = encode_image(WHOLE_HW3, encoding="jpeg")[:num_bytes]
    with pytest.raises(DataError, match="not a whole JPEG"):
        decode_image(data, (300, 140, 330, 150))
