"""Pictures: their pixels where it matters, their presence and size where eyes must judge."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roadbed.data.labels import CAMVID_11
from roadbed.report.curves import draw_curves, smooth
from roadbed.report.files import replacing
from roadbed.report.overlay import (
    ERROR_COLOR,
    comparison,
    errors,
    mask_picture,
    overlay,
    png_bytes,
    save_comparison,
    side_by_side,
)

IMAGE = np.full((30, 40, 3), 100, np.uint8)
TRUTH = np.zeros((30, 40), np.uint8)
TRUTH[:, 20:] = 3
TRUTH[:5] = 255
PREDICTED = np.zeros((30, 40), np.uint8)


def metric_lines(num_steps: int, *, eval_every: int = 10) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for step in range(1, num_steps + 1):
        lines.append({"step": step, "epoch": step // eval_every, "loss": 2 / step, "learning_rate": 1e-3})
        if step % eval_every == 0:
            lines.append({"step": step, "epoch": step // eval_every, "miou": 0.5, "pixel_accuracy": 0.8})
    return lines


def test_an_overlay_mixes_and_leaves_ignored_pixels() -> None:
    mixed = overlay(IMAGE, TRUTH, CAMVID_11, opacity=0.5)
    assert mixed[10, 0].tolist() == [114, 114, 114]
    assert mixed[10, 30].tolist() == [114, 82, 114]
    assert mixed[0, 0].tolist() == [100, 100, 100]
    assert (overlay(IMAGE, TRUTH, CAMVID_11, opacity=1.0)[10, 30] == CAMVID_11.palette_N3[3]).all()


def test_errors_are_red_on_grey_and_unlabelled_pixels_black() -> None:
    shown = errors(IMAGE, TRUTH, PREDICTED, CAMVID_11)
    assert tuple(shown[10, 30].tolist()) == ERROR_COLOR
    assert shown[10, 0].tolist() == [178, 178, 178]
    assert shown[0, 30].tolist() == [0, 0, 0]


def test_a_mask_is_a_picture_of_ids_with_a_palette() -> None:
    with Image.open(io.BytesIO(png_bytes(mask_picture(TRUTH, CAMVID_11)))) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), TRUTH)
        assert picture.convert("RGB").getpixel((30, 10)) == (128, 64, 128)


def test_a_picture_beside_its_prediction() -> None:
    picture = side_by_side(IMAGE, TRUTH, CAMVID_11, title="frame_1")
    pixels = np.asarray(picture)
    assert pixels.shape[1] == 3 * 480 + 4 * 16
    for color in ((128, 64, 128), (100, 100, 100), (114, 82, 114)):
        assert (pixels == color).all(axis=2).sum() > 1000, color
    other = np.full((30, 40), 5, np.uint8)
    videos = {side_by_side(IMAGE, mask, CAMVID_11, title="", is_still=False).size for mask in (TRUTH, other)}
    assert len(videos) == 1


def test_a_comparison_has_four_panels_and_a_legend(tmp_path: Path) -> None:
    save_comparison(IMAGE, TRUTH, PREDICTED, CAMVID_11, tmp_path / "comparison.png", title="frame_1")
    with Image.open(tmp_path / "comparison.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] == 4 * 480 + 5 * 16
    for color in ((128, 64, 128), (128, 128, 128), ERROR_COLOR, (100, 100, 100)):
        assert (pixels == color).all(axis=2).sum() > 1000, color


def test_a_comparison_of_an_unlabelled_frame() -> None:
    nothing = np.full((30, 40), 255, np.uint8)
    assert comparison(IMAGE, nothing, PREDICTED, CAMVID_11, title="test").width > 0


@pytest.mark.parametrize("num_steps", [1, 3, 200])
def test_curves_are_drawn_from_the_first_step_on(tmp_path: Path, num_steps: int) -> None:
    draw_curves(metric_lines(num_steps), tmp_path / "curves.png", title="run")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1200, 1080)


def test_curves_of_evaluations_alone(tmp_path: Path) -> None:
    lines = [line for line in metric_lines(20) if "miou" in line]
    draw_curves(lines, tmp_path / "curves.png", title="run")
    assert (tmp_path / "curves.png").exists()


def test_no_lines_are_no_curves(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no metric lines"):
        draw_curves([], tmp_path / "curves.png", title="run")


def test_the_same_metrics_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_curves(metric_lines(20), tmp_path / name, title="run")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_smoothing_averages_over_the_neighbours_there_are() -> None:
    assert smooth(np.array([0.0, 3.0, 6.0, 9.0]), 1).tolist() == [1.5, 3.0, 6.0, 7.5]
    assert smooth(np.array([1.0, 5.0]), 4).tolist() == [3.0, 3.0]


def test_a_picture_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"before")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
