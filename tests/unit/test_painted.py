"""The painted town: deterministic, varied, with classes in believable shares."""

from __future__ import annotations

import numpy as np
import pytest

from roadbed.data.labels import CAMVID_11, CAMVID_32
from roadbed.data.sources.painted import PaintedSource, paint_folder
from roadbed.errors import UsageError

# Share of labelled pixels in CamVid's train (docs of the dataset), by class.
CAMVID_SHARES = (0.175, 0.242, 0.010, 0.330, 0.047, 0.101, 0.012, 0.012, 0.061, 0.007, 0.003)


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    source = PaintedSource({"train": 60}, size_px=(180, 240))
    return np.stack([source.read(ref)[1] for ref in source.splits["train"]])


def test_the_same_seed_gives_the_same_bytes():
    first, second = (PaintedSource(size_px=(90, 120)) for _ in range(2))
    for ref in first.splits["train"][:3]:
        for array, again in zip(first.read(ref), second.read(ref), strict=True):
            assert array.tobytes() == again.tobytes()


def test_seeds_splits_and_numbers_give_other_pictures():
    source, other = PaintedSource(size_px=(90, 120)), PaintedSource(size_px=(90, 120), seed=1)
    refs = [source.splits["train"][0], source.splits["train"][1], source.splits["val"][0]]
    pictures = {source.read(ref)[0].tobytes() for ref in refs} | {other.read(ref)[0].tobytes() for ref in refs}
    assert len(pictures) == 6


@pytest.mark.parametrize("size_px", [(64, 64), (96, 300), (361, 479), (720, 960)])
def test_any_size_can_be_painted(size_px):
    source = PaintedSource({"train": 2}, size_px=size_px)
    for ref in source.splits["train"]:
        image_HW3, mask_HW = source.read(ref)
        assert (image_HW3.shape, image_HW3.dtype) == ((*size_px, 3), np.uint8)
        assert (mask_HW.shape, mask_HW.dtype) == (size_px, np.uint8)


def test_classes_have_about_the_shares_of_camvid(masks):
    counts = np.array([(masks == index).sum() for index in range(11)])
    shares = counts / counts.sum()
    ratios = dict(zip(CAMVID_11.class_names, (shares / CAMVID_SHARES).round(2).tolist(), strict=True))
    assert all(0.4 < ratio < 2.5 for ratio in ratios.values()), ratios


def test_the_layout_is_that_of_a_street(masks):
    num_rows = masks.shape[1]
    top, bottom = masks[:, : num_rows // 4], masks[:, -num_rows // 4 :]
    sky, road = CAMVID_11.class_names.index("Sky"), CAMVID_11.class_names.index("Road")
    assert (top == sky).mean() > 0.25
    assert (bottom == sky).sum() == 0
    assert (top == road).sum() == 0
    assert (bottom == road).mean() > 0.5


def test_masks_hold_classes_or_the_ignore_id_alone(masks):
    assert set(np.unique(masks)) <= {*range(11), 255}
    source = PaintedSource({"train": 3}, label_space=CAMVID_32, size_px=(90, 120))
    names = {
        CAMVID_32.class_names[i] for ref in source.splits["train"] for i in np.unique(source.read(ref)[1]) if i < 31
    }
    assert {"Sky", "Road", "Sidewalk", "Building"} <= names


def test_settings_and_digests_follow_what_was_asked_for():
    asked = [{}, {"seed": 1}, {"size_px": (90, 120)}]
    assert len({PaintedSource(**options).settings for options in asked}) == 3
    assert PaintedSource().settings == PaintedSource().settings
    source = PaintedSource({"train": 3, "val": 2})
    assert len({source.digest(ref) for refs in source.splits.values() for ref in refs}) == 5


@pytest.mark.parametrize("arrangement", ["segnet", "original", "cityscapes", "folder"])
def test_painted_files_are_the_same_every_time(tmp_path, arrangement):
    found = []
    for name in ("a", "b"):
        paint_folder(tmp_path / name, {"train": 2, "val": 1}, arrangement=arrangement, size_px=(64, 80))
        paths = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        found.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in paths])
    assert found[0] == found[1]
    assert len(found[0]) >= 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_samples": {"train": 0, "val": 3}}, "1 or more train frames .* asked for train 0, val 3"),
        ({"num_samples": {"train": 3, "val": -1}}, "no negative counts"),
        ({"size_px": (63, 80)}, "80x63 cannot be painted: both sides must be within 64..4096"),
        ({"size_px": (80, 5000)}, "5000x80 cannot be painted"),
        ({"seed": -1}, "a seed is 0 or more, found -1"),
    ],
)
def test_what_cannot_be_painted_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        PaintedSource(**options)
