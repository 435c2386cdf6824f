"""The page of an evaluation: whole, small, and what it says is so."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation_examples import CARD, evaluation, label_space, look, tally
from pages import Page, checked_page
from roadbed.evaluation import Comparison, Evaluation
from roadbed.inference.tiles import Tiles
from roadbed.inference.views import Views
from roadbed.report.evaluation import evaluation_page
from roadbed.report.evaluation_frames import chosen, differing, save_frames
from roadbed.report.evaluation_matrix import MOST_CLASSES, largest_confusions
from roadbed.report.evaluation_panels import SIDES_PX
from roadbed.report.evaluation_words import sentence_of_calibration

HOSTILE = "<script>alert('x')</script>\"&amp; $\\frac{a}$ ]]> --> \x1b[31m\n\x00 日本 https://evil.example/"


def page_of(found: Evaluation, comparison: Comparison | None = None, **looks: Any) -> Page:
    def seen(sample: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return look(sample, num_classes=found.labels.num_classes, **looks)

    return checked_page(evaluation_page(found, seen, None if comparison is None else (comparison, seen)))


def pictures(page: Page) -> list[Image.Image]:
    urls = [attributes["src"] or "" for attributes in page.all("img")]
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def test_it_tells_every_figure() -> None:
    found = evaluation(12)
    page = page_of(found)
    for name, estimate in found.overall.items():
        assert estimate.interval is not None
        low, high = estimate.interval
        assert f"{100 * estimate.value:.1f} % {100 * low:.1f} to {100 * high:.1f}" in page.text, name
    for one in found.classes:
        assert f"{one.name} {100 * one.iou.value:.1f} %" in page.text
        assert f"in {one.num_frames} frame" in page.text
    told = ("road:1", "Evaluated on 12 frames: val of s3://roadbed/datasets/camvid", "200 draws", "seed 0")
    assert all(words in page.text for words in told)
    assert "deeplabv3plus over efficientnet_lite0, output stride 16" in page.text
    assert "s3://roadbed/runs/camvid-best, attempt 1, step 920" in page.text
    assert f"sha256 {CARD['weights_sha256']}" in page.text
    assert "4.00 frames a second by 2 threads; a prediction takes 200 ms on one (median)." in page.text
    assert "predicting 2 s, 87.0 %" in page.text


def test_frames_are_the_best_the_middle_and_the_worst() -> None:
    found = evaluation(12)
    page = page_of(found, size_px=(540, 720))
    keys = [frame.key for frame, _ in found.ranked]
    shown = [*keys[:3], *keys[4:7], *keys[:-4:-1]]
    told = [text.partition(":")[0] for text in page.texts if ": mIoU " in text]
    assert told == shown
    alts = [attributes["alt"] for attributes in page.all("img")]
    assert alts[0] == f"Frame {shown[0]}"
    assert alts[1].startswith("Truth: Class ")
    assert alts[2].startswith("Prediction: Class ")
    assert "of the labelled pixels, most of all Class " in alts[3]
    assert [picture.format for picture in pictures(page)] == ["JPEG", "PNG", "PNG", "JPEG"] * 9
    assert {picture.size for picture in pictures(page)} == {(SIDES_PX[0], 420)}
    assert {attributes["width"] for attributes in page.all("img")} == {str(SIDES_PX[0])}


def test_frames_as_pictures_of_their_own(tmp_path: Path) -> None:
    found = evaluation(3)
    found = replace(found, frames=[replace(frame, key=f"../{HOSTILE}") for frame in found.frames])
    paths = save_frames(found, look, tmp_path / "frames")
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "frames").iterdir()) == ["best", "middle", "worst"]
    assert {path.parent for path in paths} == {tmp_path / "frames"}
    with Image.open(paths[0]) as picture:
        assert picture.width > 4 * 400


def test_masks_keep_the_colours_of_the_classes() -> None:
    found = evaluation(3)
    _, truth_HW, _ = look(found.ranked[0][0].sample)
    truth = pictures(page_of(found))[1].convert("RGB")
    assert np.array_equal(np.asarray(truth), found.labels.colorize(truth_HW))


@pytest.mark.parametrize(
    ("number", "shown"), [(1, [[0]]), (2, [[0], [1]]), (3, [[0], [1], [2]]), (7, [[0, 1], [2, 3], [6, 5]])]
)
def test_no_frame_is_shown_twice(number: int, shown: list[list[int]]) -> None:
    ranked = evaluation(number).ranked
    places = [[ranked.index(pair) for pair in pairs] for pairs in chosen(ranked).values()]
    assert places == shown


def test_what_is_taken_for_what() -> None:
    truth_HW = np.repeat(np.array([0, 1, 2], np.uint8), 40).reshape(3, 40)
    predicted_HW = truth_HW.copy()
    predicted_HW[1, :10] = 0
    predicted_HW[2, :20] = 1
    found = replace(evaluation(1), frames=[tally(0, truth_HW, predicted_HW, num_classes=5)])
    assert largest_confusions(found) == [(2, 1), (1, 0)]
    page = page_of(found)
    assert "50.0 % of Class 2 is taken for Class 1 25.0 % of Class 1 is taken for Class 0" in page.text
    assert "Not shown: 2 classes" in page.text
    assert page.rows() == 4
    perfect = replace(found, frames=[tally(0, truth_HW, truth_HW, num_classes=5)])
    assert "Nothing is taken for anything else." in page_of(perfect).text


def test_two_beside_each_other() -> None:
    first, second = evaluation(12, wrong=0.4), evaluation(12, wrong=0.1, reference="road:2")
    comparison = Comparison(first, second)
    page = page_of(first, comparison)
    assert "road:2 is better than road:1: mIoU +" in page.text
    assert page.text.count("100.0 % of draws better") >= 5
    assert "road:2 beside road:1" in page.text
    assert "road:2" not in page_of(first).text
    assert "Where it loses most" not in page.text
    assert "Where road:2 gains most" in page.text
    gained = differing(first, second)
    alts = [attributes["alt"] for attributes in page.all("img")]
    assert alts[0] == f"Frame {gained[0][0].key}"
    assert [alt.partition(":")[0] for alt in alts[1:4]] == ["Truth", "Road", "Road"]
    assert f"{gained[0][0].key}: mIoU {100 * gained[0][1]:+.1f} points" in page.text
    assert len(alts) == 2 * 4 + 9 * 4


def test_two_that_do_not_differ() -> None:
    page = page_of(evaluation(6), Comparison(evaluation(6), evaluation(6)))
    assert "Frames that differ most" not in page.text
    assert "these frames do not tell" in page.text


def test_gains_and_losses_come_in_order() -> None:
    first, second = evaluation(8, wrong=0.2), evaluation(8, wrong=0.21)
    gains = [gain for _, gain in differing(first, second)]
    assert gains == sorted(gains, reverse=True)
    there = {frame.sample: gain for frame, gain in differing(first, second)}
    back = {frame.sample: -gain for frame, gain in differing(second, first)}
    assert there == pytest.approx(back)


def test_very_many_classes_and_frames_of_noise_stay_small() -> None:
    found = evaluation(9, num_classes=200, draws=100)
    noise = np.random.default_rng(0)

    def seen(_: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        masks = [noise.integers(0, 200, (600, 600)).astype(np.uint8) for _ in range(2)]
        return noise.integers(0, 256, (600, 600, 3)).astype(np.uint8), *masks

    comparison = Comparison(found, evaluation(9, num_classes=200, draws=100, wrong=0.1))
    trained = [{"step": step, "loss": 2 / step, "learning_rate": 0.01} for step in range(1, 20_001)]
    page = checked_page(evaluation_page(found, seen, (comparison, seen), trained=trained))
    assert "Loss over 20000 steps, from 2.000 to 0.000." in [svg.get("aria-label") for svg in page.all("svg")]
    assert {int(attributes["width"] or 0) for attributes in page.all("img")} < {*SIDES_PX[2:]}
    assert [attributes.get("scope") for attributes in page.all("th")].count("row") == MOST_CLASSES


def test_whatever_names_hold_is_text() -> None:
    labels = label_space(5, name=HOSTILE)
    card = {
        "model": {"architecture": HOSTILE},
        "run": {"uri": HOSTILE},
        "spec": {"model": {"weights": HOSTILE}, "data": {"uri": HOSTILE}},
        "environment": {"roadbed": HOSTILE, "commit": HOSTILE},
        "sweep": {"name": HOSTILE, "trial": 3},
    }
    facts = {"labels": labels, "card": card, "split": HOSTILE, "dataset_uri": HOSTILE}
    found, other = evaluation(4, **facts), evaluation(4, wrong=0.5, reference=f"{HOSTILE}:2", **facts)
    found = replace(found, frames=[replace(frame, key=HOSTILE) for frame in found.frames], engine_note=HOSTILE)
    other = replace(other, frames=[replace(frame, key=HOSTILE) for frame in other.frames])
    page = page_of(found, Comparison(found, other))
    assert "<script>alert('x')</script>" in page.text
    assert "\x1b" not in page.text


def test_a_card_that_knows_nothing() -> None:
    page = page_of(evaluation(3, card={}))
    assert "What was evaluated" in page.text
    assert "commit" not in page.text


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "of the logits that torch gives in the same pass as the mask"),
        (
            {"engine": "openvino"},
            "of openvino's logits, which it computes in a second pass; the mask is that of the first",
        ),
        ({"views": Views((1.0,), True)}, "the mean over all that is seen of a frame"),
        ({"engine": "onnxruntime", "tiles": Tiles(64, 64)}, "the mean over all that is seen of a frame"),
    ],
)
def test_whose_confidences_they_are(facts: dict[str, Any], said: str) -> None:
    assert said in sentence_of_calibration(evaluation(3, **facts))


def test_without_confidences() -> None:
    page = page_of(evaluation(3, is_calibrated=False))
    assert "Confidences were not counted (--no-calibration)." in page.text
    assert not page.all("svg")
    assert "ECE" not in page.text


def test_the_reliability_diagram_in_words() -> None:
    (wide, narrow) = page_of(evaluation(6)).all("svg")
    assert (wide["class"], narrow["class"]) == ("reliability-wide", "reliability-narrow")
    assert "93 to 100 % sure: " in (wide["aria-label"] or "")


def test_the_same_evaluation_gives_the_same_bytes() -> None:
    texts = [evaluation_page(evaluation(6), look) for _ in range(2)]
    assert texts[0] == texts[1]
