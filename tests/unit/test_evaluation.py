"""Evaluations against figures worked out by hand, and against slower ways to the same ones."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import cv2
import numpy as np
import pytest

from evaluation_examples import evaluation, look, tally
from roadbed.evaluation import Bootstrap, Comparison
from roadbed.evaluation.bootstrap import interval
from roadbed.evaluation.boundary import boundary_counts, dilation_px
from roadbed.evaluation.calibration import NUM_BINS, UNIT, calibration_counts, calibration_error
from roadbed.evaluation.result import Evaluation
from roadbed.evaluation.tallies import Tallies
from roadbed.scores import (
    Scores,
    class_accuracy,
    confusion_counts,
    frequency_weighted_iou,
    iou_per_class,
    pixel_accuracy,
)


class TestBoundary:
    @pytest.mark.parametrize(
        ("size_px", "share", "pixels"), [((360, 480), 0.005, 3), ((1024, 2048), 0.005, 11), ((6, 8), 0.001, 1)]
    )
    def test_its_width_is_a_share_of_the_diagonal(self, size_px: tuple[int, int], share: float, pixels: int) -> None:
        assert dilation_px(*size_px, share=share) == pixels

    def test_figures_by_hand(self) -> None:
        """A road of 8 x 8 whose right half is predicted one column too far to the left, boundaries of one pixel."""
        truth_HW, predicted_HW = (np.zeros((8, 8), np.uint8) for _ in range(2))
        truth_HW[:, 4:] = 1
        predicted_HW[:, 3:] = 1
        both, in_truth, in_predicted = boundary_counts(
            truth_HW, predicted_HW, num_classes=3, ignore_id=255, share=0.01
        ).tolist()
        assert in_truth == [20, 20, 0]  # a rim of 4 x 8: 2 * 8 + 2 * 2
        assert in_predicted == [18, 22, 0]  # of 3 x 8, and of 5 x 8
        assert both == [12, 14, 0]  # the left column and the ends of two others; in class 1 the same from the right

    @pytest.mark.parametrize("share", [0.02, 0.1])
    def test_the_same_as_class_by_class_as_its_authors_count(self, share: float) -> None:
        _, truth_HW, predicted_HW = look(3, num_classes=4, size_px=(48, 64))
        truth_HW = np.where(truth_HW == 255, 0, truth_HW).astype(np.uint8)
        counts_3K = boundary_counts(truth_HW, predicted_HW, num_classes=4, ignore_id=255, share=share)
        for number in range(4):
            edges = [
                rim((mask_HW == number).astype(np.uint8), dilation_px(48, 64, share=share)).astype(bool)
                for mask_HW in (truth_HW, predicted_HW)
            ]
            assert counts_3K[:, number].tolist() == [(edges[0] & edges[1]).sum(), edges[0].sum(), edges[1].sum()]

    def test_what_nobody_labelled_makes_no_boundary_and_is_not_counted(self) -> None:
        """A car within a hole of the truth, whatever is predicted there, costs nothing."""
        truth_HW = np.zeros((12, 12), np.uint8)
        truth_HW[3:9, 3:9] = 255
        predicted_HW = np.zeros((12, 12), np.uint8)
        counts_3K = boundary_counts(truth_HW, predicted_HW, num_classes=2, ignore_id=255, share=0.01)
        assert counts_3K.tolist() == [[44, 0]] * 3  # the frame's own rim
        predicted_HW[4:8, 4:8] = 1
        counts_3K = boundary_counts(truth_HW, predicted_HW, num_classes=2, ignore_id=255, share=0.01)
        assert counts_3K.tolist() == [[44, 0]] * 3


def rim(mask_HW: np.ndarray, width_px: int) -> np.ndarray:
    """A binary mask less what is left of it when its edge was taken away so many times."""
    padded = cv2.copyMakeBorder(mask_HW, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return mask_HW - cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width_px)[1:-1, 1:-1]


class TestCalibration:
    def test_figures_by_hand(self) -> None:
        truth = np.array([[0, 0, 0, 0, 1, 255]], np.uint8)
        predicted = np.array([[0, 0, 0, 1, 1, 0]], np.uint8)
        confidence = np.array([[0.75, 0.75, 0.75, 0.75, 1.0, 0.5]], np.float32)
        bins_3B = calibration_counts(truth, predicted, confidence, ignore_id=255)
        assert bins_3B.sum(axis=1).tolist() == [5, 4, 4 * UNIT]
        assert bins_3B[:, 11].tolist() == [4, 3, 3 * UNIT]  # 0.75 lies within 11/15 and 12/15
        assert bins_3B[:, NUM_BINS - 1].tolist() == [1, 1, UNIT]
        assert calibration_error(bins_3B[None]).tolist() == [0.0]
        surer = calibration_counts(truth, predicted, np.full((1, 6), 0.96875, np.float32), ignore_id=255)
        assert calibration_error(surer[None]).tolist() == pytest.approx([0.96875 - 0.8])

    def test_nothing_counted(self) -> None:
        assert math.isnan(calibration_error(np.zeros((1, 3, NUM_BINS), np.int64))[0])


class TestFigures:
    def test_they_are_those_of_the_confusion_matrix(self) -> None:
        found = evaluation(7, num_classes=11)
        counts_KK = found.tallies.counts_KK
        scores = Scores.from_counts(counts_KK, class_names=found.labels.class_names)
        figures = found.figures
        assert figures.miou[0] == pytest.approx(scores.miou, abs=1e-15)
        assert figures.pixel_accuracy[0] == pixel_accuracy(counts_KK)
        assert figures.mean_accuracy[0] == pytest.approx(scores.mean_accuracy, abs=1e-15)
        assert figures.frequency_weighted_iou[0] == pytest.approx(frequency_weighted_iou(counts_KK), abs=1e-15)
        assert np.array_equal(figures.iou_per_class[0], iou_per_class(counts_KK), equal_nan=True)
        assert np.array_equal(figures.accuracy_per_class[0], class_accuracy(counts_KK), equal_nan=True)

    def test_of_each_frame_by_itself(self) -> None:
        found = evaluation(5)
        mious = found.tallies.figures_of_frames().miou
        for frame, miou in zip(found.frames, mious, strict=True):
            scores = Scores.from_counts(frame.counts_KK, class_names=found.labels.class_names)
            assert miou == pytest.approx(scores.miou, abs=1e-15)
        assert [miou for _, miou in found.ranked] == sorted(mious.tolist(), reverse=True)

    def test_a_class_that_is_nowhere_has_none(self) -> None:
        _, truth_HW, predicted_HW = look(1, num_classes=3)
        figures = Tallies([tally(0, truth_HW, predicted_HW, num_classes=9)]).figures()
        assert np.isnan(figures.iou_per_class[0, 3:]).all()
        assert np.isnan(figures.boundary_iou_per_class[0, 3:]).all()
        assert np.isfinite(figures.miou[0])

    def test_a_frame_without_a_label_has_no_score_and_no_rank(self) -> None:
        found = evaluation(3)
        void_HW = np.full((36, 48), 255, np.uint8)
        empty = tally(3, void_HW, np.zeros((36, 48), np.uint8), num_classes=5)
        more = replace(found, frames=[*found.frames, empty])
        assert more.overall["miou"].value == found.overall["miou"].value
        assert [frame.sample for frame, _ in more.ranked] == [frame.sample for frame, _ in found.ranked]
        assert more.to_json()["frames"][3]["miou"] is None

    def test_frequency_weighted_iou_by_hand(self) -> None:
        counts_KK = confusion_counts(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), num_classes=3)
        assert frequency_weighted_iou(counts_KK) == pytest.approx(0.75 * 2 / 3 + 0.25 * 1 / 2)
        with pytest.raises(ValueError, match="nothing to score"):
            frequency_weighted_iou(np.zeros((2, 2), np.int64))


class TestBootstrap:
    def test_draws_are_frames_with_repetition(self) -> None:
        found = evaluation(6)
        (times_RN,) = Bootstrap(100)._draws(6)
        assert times_RN.shape == (100, 6)
        assert (times_RN.sum(axis=1) == 6).all()
        assert (times_RN == 0).any()
        drawn = [frame for frame, times in zip(found.frames, times_RN[0], strict=True) for _ in range(times)]
        expected = Tallies(drawn).figures()
        draws = Bootstrap(100).figures(found.tallies)
        assert draws.miou[0] == expected.miou[0]
        assert draws.ece is not None
        assert expected.ece is not None
        assert draws.ece[0] == expected.ece[0]
        assert np.array_equal(draws.boundary_iou_per_class[0], expected.boundary_iou_per_class[0], equal_nan=True)

    def test_a_seed_gives_its_draws_whatever_the_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = evaluation(6).tallies
        once = Bootstrap(130, seed=1).figures(rows).miou
        assert len(once) == 130
        assert not np.array_equal(once, Bootstrap(130, seed=2).figures(rows).miou)
        monkeypatch.setattr("roadbed.evaluation.bootstrap.BLOCK_DRAWS", 17)
        assert np.array_equal(once, Bootstrap(130, seed=1).figures(rows).miou)

    def test_the_interval_holds_the_figure_and_shrinks_with_more_frames(self) -> None:
        widths = []
        for num_frames in (8, 64):
            estimate = evaluation(num_frames).overall["miou"]
            assert estimate.interval is not None
            low, high = estimate.interval
            assert low < estimate.value < high
            widths.append(high - low)
        assert widths[1] < widths[0]

    def test_one_frame_is_drawn_again_and_again(self) -> None:
        estimate = evaluation(1).overall["pixel_accuracy"]
        assert estimate.interval == (estimate.value, estimate.value)

    def test_intervals_by_hand(self) -> None:
        assert interval(np.array([np.nan, *range(101)])) == pytest.approx((2.5, 97.5))
        assert interval(np.array([np.nan, np.nan])) is None


class TestJson:
    def test_the_order_in_which_frames_were_done_changes_nothing(self) -> None:
        found = evaluation(9)
        frames = [*found.frames]
        random.Random(1).shuffle(frames)
        assert replace(found, frames=frames).to_json() == found.to_json()

    def test_it_is_plain_and_holds_everything(self) -> None:
        found = json.loads(json.dumps(evaluation(4).to_json(), allow_nan=False))
        assert found["num_frames"] == len(found["frames"]) == 4
        assert list(found["scores"]) == [
            "miou",
            "pixel_accuracy",
            "mean_accuracy",
            "frequency_weighted_iou",
            "boundary_miou",
            "ece",
        ]
        assert sum(sum(row) for row in found["confusion"]["counts"]) == sum(
            frame["labelled_pixels"] for frame in found["frames"]
        )
        assert [one["frames"] for one in found["classes"]][-1] < 4
        assert found["timing"]["frames_per_s"] == pytest.approx(4 / 3)
        assert found["bootstrap"] == {"draws": 200, "seed": 0, "coverage": 0.95}

    def test_without_confidences(self) -> None:
        found = evaluation(4, is_calibrated=False)
        assert found.to_json()["calibration"] is None
        assert "ece" not in found.overall


class TestComparison:
    def test_a_better_one(self) -> None:
        compared = Comparison(evaluation(24, wrong=0.3), evaluation(24, wrong=0.1, reference="road:2"))
        miou = compared.overall[0]
        assert miou.verdict == "better"
        assert miou.probability == 1.0
        assert miou.difference == pytest.approx(miou.second - miou.first)
        assert compared.sentence.startswith("road:2 is better than road:1: mIoU +")
        assert compared.sentence.endswith("better in 100.0 % of them")
        assert [one.name for one in compared.classes] == [f"Class {k}" for k in range(5)]
        assert {one.verdict for one in compared.classes} == {"better"}

    def test_the_other_way_round(self) -> None:
        one, other = evaluation(24, wrong=0.3), evaluation(24, wrong=0.1, reference="road:2")
        there, back = Comparison(one, other), Comparison(other, one)
        assert "is worse than" in back.sentence
        for forth, reverse in zip(there.overall, back.overall, strict=True):
            assert forth.difference == -reverse.difference
            assert forth.probability == pytest.approx(1 - reverse.probability)

    def test_one_with_itself_is_undecided(self) -> None:
        compared = Comparison(evaluation(6), evaluation(6))
        assert {(one.verdict, one.probability) for one in compared.overall} == {("undecided", 0.5)}
        assert "these frames do not tell" in compared.sentence

    def test_a_smaller_calibration_error_is_the_better_one(self) -> None:
        """It is 65 % sure on the whole, of pixels of which 94 %, then 65 %, are right."""
        ece = Comparison(evaluation(12, wrong=0.05), evaluation(12, wrong=0.3)).overall[-1]
        assert ece.name == "ece"
        assert ece.difference < -0.1
        assert (ece.verdict, ece.probability) == ("better", 1.0)

    def test_pairing_tells_what_two_intervals_do_not(self) -> None:
        """Frames differ much more among each other than two versions do on each."""
        one, other = evaluation(20, wrong=0.2), evaluation(20, wrong=0.19)
        first, second = (found.overall["miou"].interval for found in (one, other))
        assert first is not None
        assert second is not None
        assert second[0] < first[1]
        bounds = Comparison(one, other).overall[0].interval
        assert bounds is not None
        assert bounds[1] - bounds[0] < 0.5 * (first[1] - first[0])

    def test_a_class_that_is_nowhere(self) -> None:
        compared = Comparison(*(padded(evaluation(4, wrong=wrong)) for wrong in (0.1, 0.2)))
        none = compared.classes[-1].to_json()
        assert none["difference"] is none["interval"] is none["probability_second_is_better"] is None
        json.dumps(compared.to_json(), allow_nan=False)

    def test_other_frames_are_refused(self) -> None:
        with pytest.raises(ValueError, match="same frames"):
            Comparison(evaluation(4), evaluation(5))
        with pytest.raises(ValueError, match="same frames"):
            Comparison(evaluation(4), evaluation(4, dataset_digest="0" * 64))
        with pytest.raises(ValueError, match="counted and drawn in the same way"):
            Comparison(evaluation(4), evaluation(4, draws=300))


def padded(found: Evaluation) -> Evaluation:
    """The same with a class more, which does not occur."""
    frames = []
    for sample in range(len(found.frames)):
        _, truth_HW, predicted_HW = look(sample)
        frames.append(tally(sample, truth_HW, predicted_HW, num_classes=6))
    other = evaluation(1, num_classes=6)
    return replace(found, frames=frames, labels=other.labels)
