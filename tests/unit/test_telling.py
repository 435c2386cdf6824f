"""What trainings and endpoints tell of themselves, and that what cannot be told by name is refused. Without Ray."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from roadbed.data.labels import CAMVID_11
from roadbed.registry import Registry
from roadbed.serving.app import make_app
from roadbed.serving.telling import JUDGE_S, TELL_S, Drift
from roadbed.storage import StoreStats, open_store
from roadbed.telemetry import NoMetrics
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.group import Group
from roadbed.training.journal import Journal
from roadbed.training.publish import make_card
from roadbed.training.traffic import Traffic
from roadbed.training.watch import Spent, Watch
from serving_support import made, pixels, promote, publish, saved
from sinks import Counted
from support import Clock, blocks_dataset, blocks_job

PHASES: tuple[Spent, ...] = get_args(Spent)


class BreaksAtStep(Counted):
    """Ends the process, as far as a run can tell, when a step is told."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def set(self, name: str, value: float, *labels: str) -> None:
        super().set(name, value, *labels)
        if (name, value) == ("roadbed_train_step", self._step):
            raise KeyboardInterrupt


def test_a_training_tells_what_it_did(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    dataset = blocks_dataset(f"file://{tmp_path}/blocks")
    job, num_samples = blocks_job(tmp_path), dataset.split("train").num_samples
    with pytest.raises(KeyboardInterrupt):
        run_attempt(job, Group(), sink=BreaksAtStep(6))
    sink = Counted()
    assert run_attempt(job, Group(), sink=sink) == Outcome("finished")
    told = sink.values
    assert told["roadbed_train_resumes"] == 1
    assert told["roadbed_train_step"] == 2 * -(-num_samples // 4)
    assert told["roadbed_train_epoch"] == 1
    assert 0 < told["roadbed_train_images"] <= num_samples
    assert {f"roadbed_eval_class_iou/{name}" for name in ("Red", "Green", "Blue")} <= set(told)
    phases = {key.partition("/")[2]: value for key, value in told.items() if key.startswith("roadbed_train_phase")}
    assert {"start", "data", "forward", "backward", "checkpoint", "evaluate", "other"} <= set(phases)
    assert all(seconds >= 0 for seconds in phases.values())
    assert phases["forward"] > 0
    assert phases["backward"] > 0
    assert told["roadbed_checkpoint_write_seconds"] >= 1
    assert told["roadbed_checkpoint_bytes"] > 10_000
    for place in ("dataset", "run"):
        assert told[f"roadbed_store_requests/{place}"] > 0
        assert told[f"roadbed_store_request_seconds/{place}"] > 0
    assert told["roadbed_store_read_bytes/dataset"] > 0
    assert told["roadbed_store_written_bytes/run"] > told["roadbed_checkpoint_bytes"]
    assert told["roadbed_data_ranges"] >= num_samples


def test_a_step_and_a_request_tell_little(tmp_path: Path) -> None:
    """What telling costs is this number of calls times some microseconds (docs/monitoring.md)."""
    sink, spent = Counted(), Watch().take_spent()
    journal = Journal(None, sink, num_steps=10)
    line = {"step": 1, "epoch": 0, "loss": 1.0, "learning_rate": 0.1}
    journal.step(line, num_samples=4, spent=dict.fromkeys((*spent, *PHASES), 0.1), norm=1.0)
    assert sink.num_calls <= 14
    registry, sink = Registry(open_store(str(tmp_path))), Counted()
    promote(registry, publish(registry))
    service = made(registry, sink)
    service.follower.look()
    client = TestClient(make_app(service))
    client.post("/v1/segment", content=saved(pixels()))
    service._worker.submit(lambda: None).result()
    before = sink.num_calls
    client.post("/v1/segment", content=saved(pixels()))
    service.stop()
    assert sink.num_calls - before <= 9


def test_the_norm_of_gradients_that_nobody_clips_is_told_now_and_then(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    blocks_dataset(f"file://{tmp_path}/blocks")
    sink = Counted()
    run_attempt(blocks_job(tmp_path, "train.epochs=1"), Group(), sink=sink)
    assert sink.values["roadbed_train_gradient_norm"] > 0, "of step 0"


def test_all_time_of_a_worker_is_of_one_kind() -> None:
    clock = Clock()
    watch = Watch(clock=clock)
    clock.sleep(5)
    watch.move("loading data")
    clock.sleep(1)
    with watch.meeting():
        clock.sleep(2)
    watch.move("computing")
    clock.sleep(10)
    watch.passed(lambda: (3.0, 4.0))
    with watch.counted_as("checkpoint"):
        clock.sleep(0.5)
    assert watch.take_spent() == {
        "start": 5, "data": 1, "sync": 2, "other": 3, "checkpoint": 0.5, "forward": 3, "backward": 4
    }  # fmt: skip
    clock.sleep(1)
    assert watch.take_spent() == {"other": 1}


def test_traffic_is_told_once_also_while_the_training_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadbed.training.traffic.INTERVAL_S", 0.01)
    stats, sink = StoreStats(), Counted()
    with Traffic(sink, {"dataset": stats}, []) as traffic:
        stats.count(requests=3, retries=2, failures=1, damaged=1, bytes_read=10, bytes_written=20)
        stats.took(0.1)
        while sink.values.get("roadbed_store_failures/dataset", 0.0) < 1:
            time.sleep(0.001)
        traffic.tell()
        stats.count(requests=1)
    assert {key: value for key, value in sink.values.items() if value} == {
        "roadbed_store_requests/dataset": 4,
        "roadbed_store_retries/dataset": 2,
        "roadbed_store_failures/dataset": 1,
        "roadbed_store_read_bytes/dataset": 10,
        "roadbed_store_written_bytes/dataset": 20,
        "roadbed_store_request_seconds/dataset": 1,
        "roadbed_data_checksum_failures/store": 1,
    }


def test_an_endpoint_tells_codes_stages_and_confidence(tmp_path: Path) -> None:
    registry, sink = Registry(open_store(str(tmp_path))), Counted()
    promote(registry, publish(registry))
    service = made(registry, sink)
    service.follower.look()
    client = TestClient(make_app(service), raise_server_exceptions=False)
    assert client.post("/v1/segment", content=saved(pixels())).status_code == 200
    assert client.post("/v1/segment", content=b"no picture").status_code == 415
    assert client.get("/v1/segment").status_code == 405
    assert client.get("/v1/model").status_code == 200
    service.segment = None  # type: ignore[assignment, method-assign]
    assert client.post("/v1/segment", content=saved(pixels())).status_code == 500
    service.stop()
    codes = {key: value for key, value in sink.values.items() if key.startswith("roadbed_serve_requests")}
    assert codes == {f"roadbed_serve_requests/{code}": 1 for code in (200, 405, 415, 500)}
    for stage in ("queue", "decode", "infer", "encode"):
        assert sink.values[f"roadbed_serve_stage_seconds/{stage}"] == 1
    assert sink.values["roadbed_serve_request_seconds"] == 1
    assert sink.values["roadbed_serve_pixels"] == 48 * 64
    assert sink.values["roadbed_serve_waiting"] == 0
    assert sink.values["roadbed_serve_max_replicas"] == service.spec.replicas.max
    assert sink.values["roadbed_serve_judged_frames"] == 1
    assert 1 / 11 <= sink.values["roadbed_serve_judged_confidence"] <= 1


@pytest.mark.parametrize("size_px", [(32, 40), (360, 480), (500, 700)])
def test_confidence_is_that_of_the_middle(tmp_path: Path, size_px: tuple[int, int]) -> None:
    registry = Registry(open_store(str(tmp_path)))
    promote(registry, publish(registry))
    service = made(registry)
    service.follower.look()
    assert service.follower.serving is not None
    predictor, image_HW3 = service.follower.serving.predictor, pixels(*size_px)
    rows, columns = min(360, size_px[0]), min(480, size_px[1])
    top, left = (size_px[0] - rows) // 2, (size_px[1] - columns) // 2
    middle_HW3 = np.ascontiguousarray(image_HW3[top : top + rows, left : left + columns])
    padded_HW3 = np.pad(middle_HW3, ((0, 360 - rows), (0, 480 - columns), (0, 0)), mode="edge")
    shares_KHW = torch.from_numpy(predictor.engine.logits(padded_HW3)).softmax(0)
    expected = float(shares_KHW[:, :rows:4, :columns:4].max(0).values.mean())
    assert predictor.confidence(image_HW3) == pytest.approx(expected, abs=1e-5)


def test_classes_are_sampled_and_told_every_few_seconds() -> None:
    clock, sink = Clock(), Counted()
    drift = Drift(sink, clock=clock)
    mask_HW = np.full((16, 16), 3, np.uint8)
    mask_HW[8:] = 1
    drift.answered(mask_HW, CAMVID_11)
    assert not sink.values
    clock.sleep(TELL_S)
    drift.answered(mask_HW, CAMVID_11)
    names = CAMVID_11.class_names
    told = {key: value for key, value in sink.values.items() if value}
    assert told == {f"roadbed_serve_class_pixels/{names[3]}": 4, f"roadbed_serve_class_pixels/{names[1]}": 4}


def test_confidence_takes_a_small_part_of_the_time_however_slow_it_is() -> None:
    class Slow:
        def __init__(self, seconds: float) -> None:
            self._seconds = seconds

        def confidence(self, image_HW3: np.ndarray) -> float:
            clock.sleep(self._seconds)
            return 0.5

    clock, sink = Clock(), Counted()
    drift = Drift(sink, clock=clock)
    for seconds, pause_s in ((0.01, JUDGE_S), (1.0, 200.0)):
        assert drift.is_judging_due()
        drift.judge(Slow(seconds), pixels())  # type: ignore[arg-type]
        clock.sleep(pause_s - 0.1)
        assert not drift.is_judging_due()
        clock.sleep(0.2)
    assert sink.values == {"roadbed_serve_judged_frames": 2, "roadbed_serve_judged_confidence": 1.0}


def test_a_card_says_what_was_learnt_from(tmp_path: Path) -> None:
    dataset = blocks_dataset(f"file://{tmp_path}/blocks")
    card = make_card(blocks_job(tmp_path), dataset, {"normalization": {}, "scores": {}, "precision": "fp32"})
    shares, pixels_K = card["dataset"]["class_shares"], dataset.split("train").class_pixels
    assert list(shares) == ["Red", "Green", "Blue"]
    assert shares["Red"] == pytest.approx(pixels_K[0] / pixels_K.sum(), abs=1e-6)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)


def test_what_the_table_does_not_have_is_refused() -> None:
    sink = NoMetrics()
    with pytest.raises(KeyError):
        sink.add("roadbed_train_joy", 1)
    with pytest.raises(AssertionError, match="is a counter"):
        sink.set("roadbed_train_images", 1)
    with pytest.raises(AssertionError, match="has the labels"):
        sink.add("roadbed_serve_requests", 1)
    sink.observe("roadbed_checkpoint_write_seconds", [1.0])
