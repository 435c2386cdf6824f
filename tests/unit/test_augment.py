"""Augmentation: the fused pipeline gives albumentations' very pixels, and transforms draw independent numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import albumentations
import cv2
import numpy as np
import pytest

from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.encoding import cut_out
from roadbed.data.fused import is_prevailed
from roadbed.data.sources.town.scene import paint_town
from roadbed.errors import UsageError
from roadbed.spec import DataSpec

SPEC = DataSpec(uri="file:///nowhere", crop_px=(96, 128))


def crop(**settings: Any) -> albumentations.RandomResizedCrop:
    return albumentations.RandomResizedCrop(size=(96, 128), **settings)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    return paint_town((1, 2, 3), 120, 176)


PIPELINES = {
    "of the spec": training_transforms(SPEC),
    "balanced": training_transforms(SPEC.model_copy(update={"crop_max_share": 0.4, "crop_area": (0.05, 0.3)})),
    "whole frames": training_transforms(SPEC.model_copy(update={"crop_area": (1.0, 1.0)})),
    "crop alone": albumentations.Compose([crop(scale=(0.08, 1.0))]),
    "cubic": albumentations.Compose([crop(interpolation=cv2.INTER_CUBIC, mask_interpolation=cv2.INTER_NEAREST_EXACT)]),
    "too wide to fit": albumentations.Compose([crop(ratio=(4.0, 5.0), scale=(0.9, 1.0))]),
    "too narrow to fit": albumentations.Compose([crop(ratio=(0.2, 0.25), scale=(0.9, 1.0))]),
    "always mirrored": albumentations.Compose([crop(), albumentations.HorizontalFlip(p=1)]),
    "strong colours": albumentations.Compose(
        [
            crop(),
            albumentations.ColorJitter(brightness=(0, 3), contrast=(0, 3), saturation=(0, 3), hue=(-0.5, 0.5), p=1),
        ]
    ),
    "no hue": albumentations.Compose([crop(), albumentations.ColorJitter(hue=(0, 0), p=1)]),
    "grey": albumentations.Compose(
        [crop(), albumentations.ColorJitter(contrast=(0, 0), saturation=(0, 0), brightness=(1, 1), hue=(0, 0), p=1)]
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_fused_pipeline_gives_the_pixels_of_albumentations(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, plain = Augmenter(PIPELINES[name]), Augmenter(PIPELINES[name], may_fuse=False)
    assert fused.is_fused
    assert not plain.is_fused
    for seed in range(60):
        for found, expected in zip(fused(*pair, seed=seed), plain(*pair, seed=seed), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}")


def test_frame_that_has_the_size_of_the_crop_is_not_changed_by_colours_of_another(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    frame_HW3, mask_HW = (np.ascontiguousarray(pixels[:96, :128]) for pixels in pair)
    before = frame_HW3.copy()
    augment = Augmenter(PIPELINES["strong colours"])
    for seed in range(20):
        augment(frame_HW3, mask_HW, seed=seed)
    np.testing.assert_array_equal(frame_HW3, before)


def test_anything_uncommon_is_left_to_albumentations(pair: tuple[np.ndarray, np.ndarray]) -> None:
    pipelines = [
        albumentations.Compose([]),
        albumentations.Compose([albumentations.HorizontalFlip(), crop()]),
        albumentations.Compose([crop(), albumentations.ColorJitter(), albumentations.HorizontalFlip()]),
        albumentations.Compose([crop(), albumentations.GaussianBlur()]),
        albumentations.Compose([crop(p=0.5)]),
        albumentations.Compose([crop(area_for_downscale="image")]),
        albumentations.Compose([crop()], p=0.5),
        albumentations.ReplayCompose([crop()]),
    ]
    assert not any(Augmenter(pipeline).is_fused for pipeline in pipelines)
    image_HW3, mask_HW = Augmenter(pipelines[3])(*pair, seed=1)
    assert image_HW3.shape == (96, 128, 3)
    assert mask_HW.shape == (96, 128)


@pytest.mark.parametrize("may_fuse", [True, False])
def test_transforms_draw_independent_numbers(may_fuse: bool, pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Half of the frames are mirrored and half are recoloured: so a quarter must be both."""
    whole = albumentations.RandomResizedCrop(size=(120, 176), scale=(1, 1), ratio=(176 / 120, 176 / 120))
    jitter = albumentations.ColorJitter(brightness=(0.2, 0.3), p=0.5)
    augment = Augmenter(
        albumentations.Compose([whole, albumentations.HorizontalFlip(p=0.5), jitter]), may_fuse=may_fuse
    )
    kinds = []
    for seed in range(200):
        image_HW3, mask_HW = augment(*pair, seed=seed)
        kinds.append((bool((mask_HW != pair[1]).any()), bool(image_HW3.mean() < 0.6 * pair[0].mean())))
    shares = [kinds.count((mirrored, dark)) / len(kinds) for mirrored in (False, True) for dark in (False, True)]
    assert all(0.15 < share < 0.35 for share in shares), shares


@pytest.mark.parametrize("may_fuse", [True, False])
def test_another_size_than_the_batch_has_is_refused(may_fuse: bool, pair: tuple[np.ndarray, np.ndarray]) -> None:
    augment = Augmenter(PIPELINES["of the spec"], may_fuse=may_fuse)
    cut = partial(cut_out, pair[0])
    out = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    with pytest.raises(UsageError, match=r"\(96, 128, 3\).*\(64, 64, 3\).*data\.crop_px"):
        augment.into(cut, pair[1], seed=1, out=out)
    right = np.zeros((96, 128, 3), np.uint8), np.zeros((96, 128), np.uint8)
    augment.into(cut, pair[1], seed=1, out=right)
    np.testing.assert_array_equal(right[0], augment(*pair, seed=1)[0])


@pytest.mark.parametrize("name", ["weather_probability", "camera_probability"])
def test_weather_and_camera_change_frames_alone_and_as_the_seed_says(
    name: str, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    still = {"crop_area": (1.0, 1.0), "flip_probability": 0.0, "color_probability": 0.0}
    spec = SPEC.model_copy(update=still | {name: 0.5})
    augment, again = Augmenter(training_transforms(spec)), Augmenter(training_transforms(spec))
    plain = Augmenter(training_transforms(SPEC.model_copy(update=still)))
    assert not augment.is_fused
    looks = set()
    for seed in range(60):
        (found_HW3, mask_HW), (same_HW3, _) = augment(*pair, seed=seed), again(*pair, seed=seed)
        expected_HW3, expected_HW = plain(*pair, seed=seed)
        np.testing.assert_array_equal(found_HW3, same_HW3)
        np.testing.assert_array_equal(mask_HW, expected_HW)
        looks.add(bool((found_HW3 != expected_HW3).any()))
    assert looks == {True, False}


def test_colours_go_as_far_as_the_strength_says(pair: tuple[np.ndarray, np.ndarray]) -> None:
    still = {"crop_area": (1.0, 1.0), "flip_probability": 0.0, "color_probability": 0.0}
    plain = Augmenter(training_transforms(SPEC.model_copy(update=still)))
    changes = []
    for strength in (0.0, 0.1, 0.3, 0.6):
        spec = SPEC.model_copy(update=still | {"color_probability": 1.0, "color_strength": strength})
        augment = Augmenter(training_transforms(spec))
        assert augment.is_fused
        found = [(augment(*pair, seed=seed)[0].astype(int), plain(*pair, seed=seed)[0]) for seed in range(20)]
        changes.append(float(np.mean([np.abs(one - other).mean() for one, other in found])))
    assert changes[0] < 1.0
    assert changes == sorted(changes)
    assert changes[3] > 1.5 * changes[2] > 3 * changes[1]


def test_balanced_crops_are_seldom_all_of_one_class(pair: tuple[np.ndarray, np.ndarray]) -> None:
    small = {"crop_area": (0.02, 0.1)}
    shares = {}
    for limit in (1.0, 0.6):
        augment = Augmenter(training_transforms(SPEC.model_copy(update=small | {"crop_max_share": limit})))
        largest = [np.bincount(augment(*pair, seed=seed)[1].ravel()).max() / (96 * 128) for seed in range(100)]
        shares[limit] = float(np.mean([share > 0.65 for share in largest]))  # resizing moves a few pixels
    assert shares[1.0] > 0.25
    assert shares[0.6] < 0.1


def test_ignored_pixels_prevail_nowhere() -> None:
    mask_HW = np.full((10, 10), 255, np.uint8)
    mask_HW[0, :2] = 0, 1
    box = (0, 0, 10, 10)
    assert not is_prevailed(mask_HW, box, max_share=0.5, ignore_id=255)
    assert is_prevailed(mask_HW, (0, 0, 1, 10), max_share=0.5, ignore_id=255)
    assert not is_prevailed(mask_HW, (0, 1, 10, 10), max_share=0.5, ignore_id=255), "nothing is labelled"
    assert not is_prevailed(mask_HW, (0, 0, 1, 10), max_share=1.0, ignore_id=255)
