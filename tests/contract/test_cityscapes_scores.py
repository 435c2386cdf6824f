"""Scores of Cityscapes masks are those of the official evaluation (cityscapesScripts), from the same pixels."""

from __future__ import annotations

import copy
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadbed.data.labels import CITYSCAPES_19, CITYSCAPES_RAW_TO_19
from roadbed.scores import Scores, confusion_counts

NUM_RAW_IDS = 34
EVALUATED = np.flatnonzero(CITYSCAPES_19.ignore_id != CITYSCAPES_RAW_TO_19).astype(np.uint8)


def frames(absent: frozenset[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Blocks of any raw id but the absent, and predictions of evaluated ids that are right for three of four blocks."""
    dice = np.random.default_rng(7)
    there = np.setdiff1d(np.arange(NUM_RAW_IDS), [*absent]).astype(np.uint8)
    found = []
    for _ in range(4):
        truth = dice.choice(there, (24, 48))
        guess = dice.choice(np.setdiff1d(EVALUATED, [*absent]), truth.shape)
        is_right = np.isin(truth, EVALUATED) & (dice.random(truth.shape) < 0.75)
        found.append(
            tuple(np.kron(ids, np.ones((3, 5), np.uint8)) for ids in (truth, np.where(is_right, truth, guess)))
        )
    return found


@pytest.mark.parametrize("absent", [frozenset(), frozenset({31, 16, 27})], ids=["all ids", "no train, tunnel, truck"])
def test_scores_are_those_of_the_official_evaluation(tmp_path: Path, absent: frozenset[int]) -> None:
    pytest.importorskip("cityscapesscripts", reason="pip install --no-deps cityscapesscripts pyquaternion")
    official = import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")

    settings = copy.copy(official.args)
    settings.evalInstLevelScore, settings.JSONOutput, settings.quiet = False, False, True
    counts_KK = np.zeros((19, 19), np.int64)
    paths: dict[str, list[str]] = {"truth": [], "guess": []}
    for number, pair in enumerate(frames(absent)):
        for name, ids_HW in zip(paths, pair, strict=True):
            ending = "gtFine_labelIds" if name == "truth" else "pred"
            path = tmp_path / name / f"aachen_000000_{number:06d}_{ending}.png"
            path.parent.mkdir(exist_ok=True)
            assert cv2.imwrite(str(path), ids_HW)
            paths[name].append(str(path))
        truth_HW, guess_HW = (CITYSCAPES_RAW_TO_19[ids_HW] for ids_HW in pair)
        counts_KK += confusion_counts(truth_HW, guess_HW, num_classes=19)

    theirs = official.evaluateImgLists(paths["guess"], paths["truth"], settings)
    ours = Scores.from_counts(counts_KK, class_names=CITYSCAPES_19.class_names)

    known = {name: iou for name, iou in ours.iou_per_class.items() if iou is not None}
    assert len(known) == 19 - len(absent & set(EVALUATED.tolist()))
    assert {name: theirs["classScores"][name] for name in known} == pytest.approx(known, abs=1e-12)
    assert theirs["averageScoreClasses"] == pytest.approx(ours.miou, abs=1e-12)
    assert 0.3 < ours.miou < 0.9
