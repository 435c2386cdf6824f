"""Scores are those that scikit-learn makes of the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from evaluation_examples import evaluation, look

NUM_FRAMES, NUM_CLASSES = 5, 7


def pixels() -> tuple[np.ndarray, np.ndarray]:
    """The labelled pixels of all frames: truth and prediction."""
    masks = [look(sample, num_classes=NUM_CLASSES)[1:] for sample in range(NUM_FRAMES)]
    truth_P, predicted_P = (np.concatenate([pair[place].ravel() for pair in masks]) for place in range(2))
    return truth_P[truth_P != 255], predicted_P[truth_P != 255]


def test_the_confusion_matrix_is_its() -> None:
    found = evaluation(NUM_FRAMES, num_classes=NUM_CLASSES)
    theirs = metrics.confusion_matrix(*pixels(), labels=range(NUM_CLASSES))
    assert np.array_equal(found.tallies.counts_KK, theirs)


def test_figures_are_its() -> None:
    found, (truth_P, predicted_P) = evaluation(NUM_FRAMES, num_classes=NUM_CLASSES), pixels()
    figures = found.figures
    assert figures.iou_per_class[0] == pytest.approx(metrics.jaccard_score(truth_P, predicted_P, average=None))
    weighted = metrics.jaccard_score(truth_P, predicted_P, average="weighted")
    assert figures.frequency_weighted_iou[0] == pytest.approx(weighted)
    assert figures.pixel_accuracy[0] == pytest.approx(metrics.accuracy_score(truth_P, predicted_P))
    assert figures.mean_accuracy[0] == pytest.approx(metrics.balanced_accuracy_score(truth_P, predicted_P))
