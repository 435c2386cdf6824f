"""Scores of Cityscapes masks are those of the official evaluation (cityscapesScripts), from the same pixels."""

from __future__ import annotations

import copy
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from evaluation_examples import evaluation, tally
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


ABSENT = pytest.mark.parametrize(
    "absent", [frozenset(), frozenset({31, 16, 27})], ids=["all ids", "no train, tunnel, truck"]
)


def official_scores(pairs: list[tuple[np.ndarray, np.ndarray]], folder: Path) -> dict[str, Any]:
    """What cityscapesScripts says of masks of raw ids."""
    pytest.importorskip("cityscapesscripts", reason="pip install --no-deps cityscapesscripts pyquaternion")
    official = import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")

    settings = copy.copy(official.args)
    settings.evalInstLevelScore, settings.JSONOutput, settings.quiet = False, False, True
    paths: dict[str, list[str]] = {"truth": [], "guess": []}
    for number, pair in enumerate(pairs):
        for name, ids_HW in zip(paths, pair, strict=True):
            ending = "gtFine_labelIds" if name == "truth" else "pred"
            path = folder / name / f"aachen_000000_{number:06d}_{ending}.png"
            path.parent.mkdir(exist_ok=True)
            assert cv2.imwrite(str(path), ids_HW)
            paths[name].append(str(path))
    scores: dict[str, Any] = official.evaluateImgLists(paths["guess"], paths["truth"], settings)
    return scores


@ABSENT
def test_scores_are_those_of_the_official_evaluation(tmp_path: Path, absent: frozenset[int]) -> None:
    pairs = frames(absent)
    counts_KK = np.zeros((19, 19), np.int64)
    for pair in pairs:
        truth_HW, guess_HW = (CITYSCAPES_RAW_TO_19[ids_HW] for ids_HW in pair)
        counts_KK += confusion_counts(truth_HW, guess_HW, num_classes=19)

    theirs = official_scores(pairs, tmp_path)
    ours = Scores.from_counts(counts_KK, class_names=CITYSCAPES_19.class_names)

    known = {name: iou for name, iou in ours.iou_per_class.items() if iou is not None}
    assert len(known) == 19 - len(absent & set(EVALUATED.tolist()))
    assert {name: theirs["classScores"][name] for name in known} == pytest.approx(known, abs=1e-12)
    assert theirs["averageScoreClasses"] == pytest.approx(ours.miou, abs=1e-12)
    assert 0.3 < ours.miou < 0.9


@ABSENT
def test_an_evaluation_agrees_with_it_to_the_last_digit(tmp_path: Path, absent: frozenset[int]) -> None:
    pairs = frames(absent)
    masks = [[CITYSCAPES_RAW_TO_19[ids_HW] for ids_HW in pair] for pair in pairs]
    tallies = [tally(number, *pair, num_classes=19) for number, pair in enumerate(masks)]
    ours = replace(evaluation(1, num_classes=19), labels=CITYSCAPES_19, frames=tallies)

    theirs = official_scores(pairs, tmp_path)

    known = {one.name: one.iou.value for one in ours.classes if one.iou.value is not None}
    assert {name: theirs["classScores"][name] for name in known} == known
    assert ours.overall["miou"].value == pytest.approx(theirs["averageScoreClasses"], rel=1e-15)
