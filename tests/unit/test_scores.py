"""Scores against figures worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from roadbed.scores import Scores, class_accuracy, confusion_counts, iou_per_class, mean_iou, pixel_accuracy

# Three classes, the third in neither mask: 8 labelled pixels, 6 right.
TRUTH = np.array([[0, 0, 0, 0, 255], [1, 1, 1, 1, 255]], np.uint8)
PREDICTED = np.array([[0, 0, 0, 1, 0], [1, 1, 1, 0, 1]], np.uint8)


@pytest.fixture
def counts_KK() -> np.ndarray:  # noqa: N802
    return confusion_counts(TRUTH, PREDICTED, num_classes=3)


def test_rows_are_truth_and_ignored_pixels_are_not_counted(counts_KK: np.ndarray) -> None:
    assert counts_KK.dtype == np.int64
    assert counts_KK.tolist() == [[3, 1, 0], [1, 3, 0], [0, 0, 0]]


def test_figures(counts_KK: np.ndarray) -> None:
    assert iou_per_class(counts_KK)[:2].tolist() == [0.6, 0.6]
    assert math.isnan(iou_per_class(counts_KK)[2])
    assert mean_iou(counts_KK) == pytest.approx(0.6)
    assert pixel_accuracy(counts_KK) == 0.75
    assert class_accuracy(counts_KK)[:2].tolist() == [0.75, 0.75]


def test_a_class_that_is_only_predicted_counts_as_missed() -> None:
    counts_KK = confusion_counts(np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 2]], np.uint8), num_classes=3)
    assert iou_per_class(counts_KK)[2] == 0
    assert math.isnan(iou_per_class(counts_KK)[1])
    assert math.isnan(class_accuracy(counts_KK)[2])
    assert mean_iou(counts_KK) == pytest.approx((0.75 + 0) / 2)


def test_scores_as_json(counts_KK: np.ndarray) -> None:
    scores = Scores.from_counts(counts_KK, class_names=("Road", "Sky", "Car"))
    assert json.loads(json.dumps(scores.to_json())) == {
        "miou": pytest.approx(0.6),
        "pixel_accuracy": 0.75,
        "mean_accuracy": 0.75,
        "iou_per_class": {"Road": pytest.approx(0.6), "Sky": pytest.approx(0.6), "Car": None},
    }


def test_counts_of_parts_add_up_to_counts_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    truth_BHW = rng.integers(0, 12, (3, 20, 30)).astype(np.uint8)
    truth_BHW[truth_BHW == 11] = 255
    predicted_BHW = rng.integers(0, 11, truth_BHW.shape).astype(np.uint8)
    whole = confusion_counts(truth_BHW, predicted_BHW, num_classes=11)
    parts = sum(confusion_counts(t, p, num_classes=11) for t, p in zip(truth_BHW, predicted_BHW, strict=True))
    assert np.array_equal(whole, parts)
    is_labelled = truth_BHW != 255
    pairs = zip(truth_BHW[is_labelled].tolist(), predicted_BHW[is_labelled].tolist(), strict=True)
    expected = np.zeros((11, 11), np.int64)
    for truth, predicted in pairs:
        expected[truth, predicted] += 1
    assert np.array_equal(whole, expected)


def test_any_integer_type_and_any_ignore_id() -> None:
    counts_KK = confusion_counts(np.array([0, 1, 9]), np.array([0, 0, 1], np.int32), num_classes=2, ignore_id=9)
    assert counts_KK.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([0, 1], [0, 3], r"prediction has ids \[3\], the classes do not fit"),
        ([255, 1], [255, 1], r"prediction has ids \[255\]"),
        ([0, 7], [0, 1], r"truth has ids \[7\]"),
        ([0, 300], [0, 1], r"truth has ids 0\.\.300"),
        ([0, 1], [0, -1], r"prediction has ids -1\.\.0"),
        ([0.0, 1.0], [0, 1], "truth holds float64"),
        ([0, 1, 2], [0, 1], "truth is .*, prediction is"),
    ],
)
def test_masks_that_cannot_be_meant(truth: list[float], predicted: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_counts(np.array(truth), np.array(predicted), num_classes=3)


def test_an_ignore_id_among_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ignore_id is 2; with 3 classes it lies within 3\.\.255"):
        confusion_counts(TRUTH, PREDICTED, num_classes=3, ignore_id=2)


def test_nothing_labelled_is_nothing_to_score() -> None:
    counts_KK = np.zeros((2, 2), np.int64)
    for score in (mean_iou, pixel_accuracy):
        with pytest.raises(ValueError, match="nothing to score"):
            score(counts_KK)
    with pytest.raises(ValueError, match="nothing to score"):
        Scores.from_counts(counts_KK, class_names=("a", "b"))
