"""The arithmetic of the doctor: perceptual hashes, and masks that are laid upon frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from roadbed.data.doctor.fit import REACH_PX, borders, correlations, fit, frame_outline, mask_outline
from roadbed.data.doctor.likeness import MOST_BITS, THUMB_SIDE, correlation, nearest, perceptual_hash
from roadbed.data.doctor.look import is_shifted, shift_words
from roadbed.data.sources.painted import PaintedSource


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    source = PaintedSource({"train": 6}, size_px=(120, 160), seed=3)
    return [source.read(ref) for ref in source.splits["train"]]


def bits_between(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.bitwise_count(np.uint64(perceptual_hash(first)[0] ^ perceptual_hash(second)[0])))


def as_jpeg(image_HW3: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image_HW3, (cv2.IMWRITE_JPEG_QUALITY, quality))[1], cv2.IMREAD_COLOR)


def test_a_hash_survives_encoding_size_and_brightness(pairs):
    for image_HW3, _ in pairs:
        small = cv2.resize(image_HW3, (120, 90), interpolation=cv2.INTER_AREA)
        for other in (as_jpeg(image_HW3, 40), small, np.clip(image_HW3 * 1.1 + 8, 0, 255).astype(np.uint8)):
            assert bits_between(image_HW3, other) <= MOST_BITS
            assert correlation(perceptual_hash(image_HW3)[1], perceptual_hash(other)[1]) > 0.98


def test_hashes_of_different_frames_differ(pairs):
    images = [image_HW3 for image_HW3, _ in pairs]
    for number, image_HW3 in enumerate(images):
        assert all(bits_between(image_HW3, other) > MOST_BITS for other in images[:number])


def test_the_nearest_of_many(monkeypatch):
    monkeypatch.setattr("roadbed.data.doctor.likeness.BLOCK", 7)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 40, np.uint64)
    thumbs = rng.integers(0, 255, (40, THUMB_SIDE, THUMB_SIDE), np.uint8)
    ours = np.array([hashes[31] ^ np.uint64(0b101), hashes[4], rng.integers(0, 2**63, dtype=np.uint64), hashes[9]])
    our_thumbs = np.stack([thumbs[31], thumbs[4], thumbs[0], 255 - thumbs[9]])
    assert list(nearest(ours, our_thumbs, hashes, thumbs)) == [(0, 31, 2), (1, 4, 0)]
    assert list(nearest(ours[:0], our_thumbs[:0], hashes, thumbs)) == []
    assert list(nearest(ours, our_thumbs, hashes[:0], thumbs[:0])) == []


def test_thumbnails_without_contrast():
    flat = np.full((THUMB_SIDE, THUMB_SIDE), 9, np.uint8)
    assert correlation(flat, flat) == 0.0


def test_borders_are_on_both_sides():
    mask_HW = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, 1]], np.uint8)
    assert borders(mask_HW).tolist() == [[0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]


@pytest.mark.parametrize(("right", "down"), [(0, 0), (9, 0), (-9, 0), (0, 7), (12, -8)])
def test_a_move_is_measured(pairs, right, down):
    for image_HW3, mask_HW in pairs:
        frame, mask = frame_outline(image_HW3), mask_outline(np.roll(mask_HW, (down, right), (0, 1)))
        found = fit(correlations(frame, mask), frame.scale)
        assert is_shifted(found) == bool(right or down)
        # The mask wants to go back.
        assert (found.right_px, found.down_px) == pytest.approx((-right, -down), abs=2)


def test_a_move_in_words(pairs):
    image_HW3, mask_HW = pairs[0]
    frame, mask = frame_outline(image_HW3), mask_outline(np.roll(mask_HW, (8, -12), (0, 1)))
    words = shift_words(fit(correlations(frame, mask), frame.scale))
    assert words.startswith("fits best some 12 px to the right and ")
    assert words.endswith("px up")


def test_large_frames_are_measured_in_their_own_pixels(pairs):
    image_HW3, mask_HW = (cv2.resize(one, (960, 720), interpolation=cv2.INTER_NEAREST) for one in pairs[1])
    frame, mask = frame_outline(image_HW3), mask_outline(np.roll(mask_HW, 60, 1))
    found = fit(correlations(frame, mask), frame.scale)
    assert found.right_px == pytest.approx(-60, abs=6)


def test_what_is_too_small_or_empty_is_not_judged(pairs):
    image_HW3, mask_HW = pairs[0]
    assert frame_outline(image_HW3[:40]) is None
    assert frame_outline(np.zeros_like(image_HW3)) is None
    assert mask_outline(np.zeros_like(mask_HW)) is None
    other = mask_outline(mask_HW[:110])
    assert correlations(frame_outline(image_HW3), other) is None
    at_the_edge = np.zeros_like(mask_HW)
    at_the_edge[:2] = 1
    assert correlations(frame_outline(image_HW3), mask_outline(at_the_edge)) is None
    assert correlations(frame_outline(image_HW3), mask_outline(mask_HW)).shape == (2 * REACH_PX + 1,) * 2
