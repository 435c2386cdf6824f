"""The recipes of jobs/ for Cityscapes: every network, loss, crop and schedule as published, two steps of them small.

Painted frames in Cityscapes' layout, on a CPU, without Ray; settings of size, machine and published weights are others.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from roadbed.data.dataset import Dataset
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources.cityscapes import CityscapesSource
from roadbed.data.sources.painted import paint_folder
from roadbed.runs import Run
from roadbed.spec import load_job
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import newest_whole_checkpoint
from roadbed.training.group import Group
from roadbed.training.schedule import rate_factor

RECIPES = sorted((Path(__file__).resolve().parents[2] / "jobs").glob("cityscapes-*.yaml"))
SMALL = (
    "data.crop_px=[32, 64]",
    "model.weights=none",
    "train.epochs=1",
    "train.global_batch=2",
    "train.precision=fp32",
    "workers.num_workers=1",
    "workers.cpus_per_worker=1",
    "workers.gpus_per_worker=0",
)
TRAIN_FRAMES, GLOBAL_BATCH = 2975, 16


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with painted Cityscapes: four frames of 128x64 to train on, two to evaluate."""
    folder = tmp_path_factory.mktemp("recipes")
    paint_folder(folder / "raw", {"train": 4, "val": 2}, arrangement="cityscapes", size_px=(64, 128))
    source = CityscapesSource(folder / "raw")
    prepare(source, open_store(f"file://{folder}/cityscapes"), options=PrepareOptions(samples_per_shard=2))
    return folder


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_takes_two_steps_and_evaluates_whole_frames(root: Path, path: Path) -> None:
    torch.set_num_threads(1)
    where = (f"data.uri=file://{root}/cityscapes", f"output.store=file://{root}")
    job = load_job(path, (*SMALL, *where))
    assert run_attempt(job, Group()) == Outcome("finished")
    run = Run(open_store(job.output.store), job.name)
    lines = run.lines("metrics")
    assert len([line for line in lines if "loss" in line]) == 2
    (evaluation,) = [line for line in lines if "miou" in line]
    assert len(evaluation["iou_per_class"]) == 19
    found = newest_whole_checkpoint(run)
    assert found is not None
    assert any(name.startswith("aux_head.") for name in found[1].files["model.safetensors"])
    assert Dataset.open(job.data.uri).label_space.num_classes == 19


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_the_published_one(path: Path) -> None:
    """512x1024 crops, batches of 16, 80k steps of SGD from 0.01, synchronised batch norm, bf16."""
    job = load_job(path)
    num_steps = job.train.epochs * -(-TRAIN_FRAMES // job.train.global_batch)
    assert num_steps == pytest.approx(80_000, rel=1e-3)
    assert (job.data.crop_px, job.train.global_batch, job.train.precision) == ((512, 1024), GLOBAL_BATCH, "bf16")
    assert (job.model.batch_norm, job.model.output_stride, job.model.weights) == ("sync", 8, "imagenet")
    assert (job.train.optimizer, job.train.learning_rate, job.train.weight_decay) == ("sgd", 0.01, 5e-4)
    assert rate_factor(num_steps // 2, job.train, num_steps=num_steps) == pytest.approx(0.5**0.9)
    assert job.workers.num_workers.max * job.train.micro_batch == GLOBAL_BATCH, "statistics of the whole batch"
    assert job.loss.class_balance == 0


def test_there_is_a_recipe_for_each_published_network() -> None:
    backbones = {load_job(path).model.backbone for path in RECIPES}
    assert backbones == {"resnet50", "resnet101", "timm:mobilenetv2_100"}
