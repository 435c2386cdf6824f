"""`roadbed evaluate`: frames of a real dataset through a real network, whoever does them, and what is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from roadbed.data.dataset import Dataset
from roadbed.data.loader import Loader
from roadbed.data.parallel import Threads
from roadbed.data.prepare import prepare
from roadbed.errors import DataError, UsageError
from roadbed.evaluation import FrameScorer, Scoring, score_frames
from roadbed.evaluation.tallies import FrameTally, Tallies
from roadbed.inference.predictor import Predictor, load_model
from roadbed.inference.tiles import Tiles
from roadbed.inference.views import ONE_VIEW, Views
from roadbed.models import build_model
from roadbed.registry import Registry, Version
from roadbed.runs import Run
from roadbed.spec import DataSpec, ModelSpec
from roadbed.storage import open_store
from roadbed.training.evaluate import evaluate as evaluate_in_training
from roadbed.training.group import Group
from support import BLOCKS, BlocksSource, blocks_dataset

Roadbed = Callable[..., tuple[int, str, str]]
SPEC = ModelSpec(weights="none", head_channels=16)


def publish(root: Path, *, seed: int, **changes: Any) -> Version:
    """A version that has learnt nothing but gives many classes, of a seed's weights."""
    torch.manual_seed(seed)
    model = build_model(SPEC, num_classes=BLOCKS.num_classes)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    noise_BCHW = torch.rand(4, 3, 64, 64) * 255
    with torch.no_grad():
        model.train()(noise_BCHW)
        model.head.classifier.bias -= model.eval()(noise_BCHW).mean((0, 2, 3))
    card = {
        "model": SPEC.model_dump(mode="json"),
        "label_space": BLOCKS.to_json(),
        "normalization": {"mean": [0.3, 0.4, 0.5], "std": [0.2, 0.3, 0.4]},
        "created_at": 1_790_000_000.0,
    }
    weights = safetensors.torch.save(model.state_dict())
    return Registry(open_store(str(root))).publish("road", {"weights.safetensors": weights}, card | changes)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two versions of road, and the blocks."""
    root = tmp_path_factory.mktemp("store")
    blocks_dataset(f"file://{root}/blocks")
    for seed in (0, 1):
        publish(root, seed=seed)
    return root


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    return Dataset.open(f"file://{root}/blocks")


@pytest.fixture(scope="module")
def version(root: Path) -> Version:
    return Registry(open_store(str(root))).resolve("road:1")


@pytest.fixture(scope="module")
def scoring(version: Version, dataset: Dataset) -> Scoring:
    return Scoring.of(version, dataset, "val", engine="torch")


def scored(scoring: Scoring, *, threads: int = 1) -> list[FrameTally]:
    return score_frames(FrameScorer(scoring), range(5), mapper=Threads(threads))[0]


def integers(frames: list[FrameTally]) -> list[Any]:
    return [
        (
            frame.sample,
            frame.key,
            *(part.tolist() for part in (frame.counts_KK, frame.boundary_3K, frame.calibration_3B)),
        )
        for frame in frames
    ]


class TestCounts:
    def test_they_are_those_of_training(self, scoring: Scoring, version: Version, dataset: Dataset) -> None:
        model, labels = load_model(version)
        spec = DataSpec(uri=dataset.uri, crop_px=(64, 64))
        split = dataset.split("val")
        with Loader(split, digest=dataset.digest, spec=spec, rank=0, num_ranks=1, num_threads=1) as loader:
            counts_KK = evaluate_in_training(
                model, loader, labels=labels, batch_size=2, group=Group(), precision="fp32"
            )
        found_KK = Tallies(scored(scoring)).counts_KK
        assert (found_KK > 0).sum() > 3, "a model of one answer would show little"
        assert np.array_equal(found_KK, counts_KK)

    def test_any_number_of_threads_gives_the_same_integers(self, scoring: Scoring) -> None:
        expected = integers(scored(scoring))
        before = torch.get_num_threads()
        assert integers(scored(scoring, threads=3)) == expected
        assert torch.get_num_threads() == before
        assert [sample for sample, *_ in expected] == list(range(5))

    def test_a_scorer_that_travelled_counts_the_same(self, scoring: Scoring) -> None:
        scorer = FrameScorer(scoring)
        expected = scorer(3)
        travelled = pickle.loads(pickle.dumps(scorer))
        assert integers([travelled(3)]) == integers([expected])

    def test_without_confidences_everything_else_is_the_same(self, scoring: Scoring) -> None:
        (frame,) = score_frames(FrameScorer(replace(scoring, is_calibrated=False)), [2], mapper=Threads(1))[0]
        assert frame.calibration_3B is None
        expected = FrameScorer(scoring)(2)
        assert np.array_equal(frame.counts_KK, expected.counts_KK)
        assert np.array_equal(frame.boundary_3K, expected.boundary_3K)

    def test_progress_is_told(self, scoring: Scoring) -> None:
        told: list[tuple[int, int]] = []
        score_frames(FrameScorer(scoring), [0, 1], mapper=Threads(1), progress=lambda *now: told.append(now))
        assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"views": Views((1.0, 1.5), True)},
        {"tiles": Tiles(64, 64)},
        {"views": Views((0.5, 1.0)), "tiles": Tiles(64, 64)},
    ],
    ids=["one view", "views", "tiles", "both"],
)
@pytest.mark.parametrize("size_px", [(64, 64), (20, 130)])
def test_confidences_are_shares_of_the_mask_that_is_predicted(
    version: Version, seen: dict[str, Any], size_px: tuple[int, int]
) -> None:
    model, labels = load_model(version)
    predictor = Predictor.of_model(model, labels, **seen)
    image_HW3 = np.random.default_rng(0).integers(0, 256, (*size_px, 3)).astype(np.uint8)
    mask_HW, confidence_HW = predictor.predict_with_confidence(image_HW3)
    assert np.array_equal(mask_HW, predictor.predict(image_HW3))
    assert confidence_HW.shape == size_px
    assert confidence_HW.min() > 1 / 3 - 1e-5
    assert confidence_HW.max() <= 1 + 1e-5
    if not seen and size_px == (64, 64):
        logits_KHW = predictor.engine.logits(image_HW3)
        assert np.array_equal(confidence_HW, torch.from_numpy(logits_KHW).softmax(0).max(0).values.numpy())


class TestCommand:
    def test_table_json_and_page(self, root: Path, tmp_path: Path, roadbed: Roadbed) -> None:
        folder = tmp_path / "new"
        files = ("--json", tmp_path / "scores.json", "--page", folder / "report.html", "--pictures", folder / "frames")
        status, out, err = roadbed("evaluate", "road:1", f"{root}/blocks", "--store", root, "--threads", 2, *files)
        assert status == 0, err
        assert "road:1 (torch " in out
        assert "5 frames in " in out
        assert all(words in out for words in ("mIoU", "boundary mIoU", "calibration error (ECE)", "Green", "2 threads"))
        found = json.loads((tmp_path / "scores.json").read_text())
        assert found["model"]["reference"] == "road:1"
        assert found["views"] == "1"
        assert [frame["key"] for frame in found["frames"]] == [f"val_{number:03d}" for number in range(5)]
        page = (folder / "report.html").read_text()
        shown = sorted(path.name.partition("-val_")[0] for path in (folder / "frames").iterdir())
        assert shown == ["best-1", "middle-1", "worst-1"]
        assert page.count("<img ") == 3 * 4
        assert "road:1" in page

    def test_the_page_has_the_curves_of_the_run_while_they_are_there(
        self, root: Path, tmp_path: Path, roadbed: Roadbed
    ) -> None:
        def page_of(version: Version) -> str:
            path = tmp_path / "report.html"
            words = (f"{version.name}:{version.number}", f"{root}/blocks", "--store", tmp_path, "--page", path)
            status, _, err = roadbed("evaluate", *words)
            assert status == 0, err
            return path.read_text()

        run = Run(open_store(str(tmp_path)), "blocks")
        version = publish(tmp_path, seed=0, run={"name": run.name, "uri": run.uri, "attempt": 1, "step": 2})
        assert "How it was trained" not in page_of(version)
        attempt = run.claim(details={})
        attempt.append("metrics", {"step": 1, "loss": 0.5, "learning_rate": 0.01})
        attempt.append("metrics", {"step": 2, "epoch": 1, "miou": 0.25, "pixel_accuracy": 0.5})
        attempt.flush()
        page = page_of(version)
        assert "How it was trained" in page
        assert "mIoU after epoch 1: 25.0 %." in page
        elsewhere = publish(tmp_path, seed=0, run={"name": run.name, "uri": "s3://elsewhere/runs/blocks"})
        assert "How it was trained" not in page_of(elsewhere)

    def test_the_same_json_for_any_number_of_threads(self, root: Path, roadbed: Roadbed) -> None:
        found = []
        for threads in (1, 3):
            words = ("--threads", threads, "--json", "-", "--views", "1,1.25,flip", "--tile", "64x64")
            status, out, err = roadbed("evaluate", "road:2", f"{root}/blocks", "--store", root, *words)
            assert (status, "mIoU" in err) == (0, True), err
            found.append({key: value for key, value in json.loads(out).items() if key != "timing"})
        assert found[0] == found[1]
        assert found[0]["views"] == "1,1.25,flip"
        assert found[0]["tile_px"] == [64, 64]

    def test_two_against_each_other(self, root: Path, tmp_path: Path, roadbed: Roadbed) -> None:
        path = tmp_path / "both.json"
        words = ("--compare", "road:2", "--no-calibration", "--json", path, "--page", tmp_path / "both.html")
        status, out, err = roadbed("evaluate", "road:1", f"{root}/blocks", "--store", root, "--split", "train", *words)
        assert status == 0, err
        assert "points" in out
        assert "road:2" in out.splitlines()[-3]
        found = json.loads(path.read_text())
        assert [one["model"]["reference"] for one in found["evaluations"]] == ["road:1", "road:2"]
        assert found["evaluations"][0]["num_frames"] == 13
        miou = found["comparison"]["scores"]["miou"]
        assert miou["difference"] == pytest.approx(miou["second"] - miou["first"])
        assert "Confidences were not counted" in (tmp_path / "both.html").read_text()

    def test_the_versions_own_views(self, root: Path, tmp_path: Path, roadbed: Roadbed) -> None:
        own = publish(root, seed=0, spec={"train": {"eval_scales": [1.0, 0.5], "eval_flip": True}})
        words = ("--store", root, "--json", tmp_path / "own.json")
        assert roadbed("evaluate", f"road:{own.number}", f"{root}/blocks", *words)[0] == 0
        assert json.loads((tmp_path / "own.json").read_text())["views"] == "1,0.5,flip"


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--split", "test"], "no split 'test'; it has train, val"),
            (["--views", "1,twice"], "'1,twice' are no views; write sizes over the frame's own, 0.25 to 4"),
            (["--tile", "8x8"], "'8x8' is no size of a window"),
            (["--engine", "tensorrt"], "'tensorrt' is no engine"),
            (["--engine", "openvino"], "road:1 has no export for openvino"),
            (
                ["--threads", "2", "--workers", "2"],
                "--threads 2 and --workers 2: frames are scored by one or the other",
            ),
            (["--compare", "street:1"], "there is no model street"),
            (["--bootstrap", "3"], "3 is not in the range x>=100"),
        ],
    )
    def test_what_cannot_be_meant(self, root: Path, roadbed: Roadbed, words: list[str], said: str) -> None:
        status, out, err = roadbed("evaluate", "road:1", f"{root}/blocks", "--store", root, *words)
        assert status in (1, 2)
        assert said in err
        assert out == ""

    def test_other_classes(self, root: Path, version: Version, tmp_path: Path) -> None:
        class Other(BlocksSource):
            label_space = replace(BLOCKS, classes=(*BLOCKS.classes[:2], replace(BLOCKS.classes[2], name="Sky")))

        other = prepare(Other(), open_store(str(tmp_path)))
        said = r"only the version knows Blue; only the dataset has Sky\); evaluate on a dataset that was prepared"
        with pytest.raises(UsageError, match=said):
            Scoring.of(version, other, "val", engine="torch")

    def test_the_same_classes_in_another_order(self, version: Version, tmp_path: Path) -> None:
        class Other(BlocksSource):
            label_space = replace(BLOCKS, classes=BLOCKS.classes[::-1])

        with pytest.raises(UsageError, match=r"3 classes of its training, .* has 3 \(the same ones in another order"):
            Scoring.of(version, prepare(Other(), open_store(str(tmp_path))), "val", engine="torch")

    def test_nothing_is_labelled(self, version: Version, tmp_path: Path) -> None:
        class Blank(BlocksSource):
            def read(self, ref: Any) -> tuple[np.ndarray, np.ndarray]:
                image_HW3, mask_HW = super().read(ref)
                return image_HW3, np.full_like(mask_HW, 255) if ref.key.startswith("val") else mask_HW

        blank = prepare(Blank(), open_store(str(tmp_path)))
        with pytest.raises(UsageError, match="nothing is labelled in the split val; name another with --split"):
            Scoring.of(version, blank, "val", engine="torch")

    def test_a_dataset_that_was_replaced_meanwhile(self, scoring: Scoring) -> None:
        with pytest.raises(DataError, match="another dataset was put there while it was evaluated"):
            FrameScorer(replace(scoring, dataset_digest="0" * 64))(0)

    def test_a_damaged_frame_is_named(self, root: Path, tmp_path: Path, roadbed: Roadbed) -> None:
        blocks_dataset(f"file://{tmp_path}/blocks")
        (shard, *_) = sorted(tmp_path.rglob("val-*.tar"))
        shard.write_bytes(shard.read_bytes().replace(b"\xff\xd8\xff", b"\xff\xd8\xfe"))
        status, _, err = roadbed("evaluate", "road:1", f"{tmp_path}/blocks", "--store", root, "--threads", 2)
        assert status == 1
        assert "sample val_00" in err
        assert "is not what the index says" in err

    def test_a_folder_that_workers_elsewhere_cannot_read(
        self, root: Path, roadbed: Roadbed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        words = ("--store", "s3://roadbed", "--workers", 2)
        status, _, err = roadbed("evaluate", "road:1", f"{root}/blocks", *words)
        assert status == 2
        assert "cannot reach a folder of this machine; name an s3:// prefix instead, or leave --workers out" in err


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("1", ONE_VIEW),
        ("flip", Views((1.0,), True)),
        ("0.75, 1,1.25,flip", Views((0.75, 1.0, 1.25), True)),
        ("2", Views((2.0,))),
    ],
)
def test_views_in_words(text: str, views: Views) -> None:
    assert Views.parse(text) == views
    assert Views.parse(views.words) == views


@pytest.mark.parametrize("text", ["", "flip,flip", "0", "9", "nan", "1;2", "1,,2"])
def test_words_that_are_no_views(text: str) -> None:
    with pytest.raises(UsageError, match="are no views; write sizes"):
        Views.parse(text)
