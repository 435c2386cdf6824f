"""Batch norm over several workers, as far as a CPU can tell: what is converted, and what every worker goes through."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gpu_steps import NUM_CLASSES, apart, gradients, small_batch, small_model
from roadbed.errors import UsageError
from roadbed.models import SegmentationModel
from roadbed.spec import LossSpec, parse_job
from roadbed.training.batch_norm import running_statistics, synchronize_batch_norm
from roadbed.training.group import Group
from roadbed.training.loss import Loss
from roadbed.training.step import GradientStep

SYNC = "kind: train\nname: town\ndata: {uri: file:///town}\nmodel: {batch_norm: sync}\n"
BACKBONES = ("efficientnet_lite0", "timm:mobilenetv2_100")


def norms(model: SegmentationModel) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_all_of_it_is_synchronised_and_keeps_its_names_and_values(backbone: str) -> None:
    model = small_model(backbone=backbone, batch_norm="sync", auxiliary_head=True).eval()
    before, parameters, count = dict(model.state_dict()), set(model.parameters()), len(norms(model))
    images_B3HW, _ = small_batch(1)
    with torch.no_grad():
        logits_BKHW = model(images_B3HW)
    synchronize_batch_norm(model)
    assert [type(module) for module in norms(model) if not isinstance(module, nn.SyncBatchNorm)] == []
    assert len(norms(model)) == count
    assert set(model.parameters()) == parameters, "the very same, which an optimiser may hold"
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    with torch.no_grad():
        assert torch.equal(model(images_B3HW), logits_BKHW), "activations that timm keeps in its norms included"


def test_one_sample_is_enough_where_other_workers_have_more() -> None:
    model = small_model(batch_norm="sync")
    images_B3HW, _ = small_batch(1)
    with running_statistics(model, images_B3HW):
        assert not any(module.training for module in norms(model))
    synchronize_batch_norm(model)
    with running_statistics(model, images_B3HW):
        assert all(module.training for module in norms(model))


def test_passes_beyond_a_workers_share_change_no_gradient() -> None:
    model = small_model(batch_norm="frozen")
    loss, expected = gradients(model, Group(), num_samples=2)
    criterion = Loss(LossSpec(), torch.ones(NUM_CLASSES), ignore_id=255)
    step = GradientStep(
        model, Group(), loss=criterion, ignore_id=255, micro_batch=2, largest_share=6, is_synchronized=True
    )
    model.zero_grad()
    images_B3HW, masks_BHW = small_batch(2)
    own = step(images_B3HW, masks_BHW, divisors=criterion.divisors(masks_BHW), precision="fp32", seed=0)
    assert float(own) == pytest.approx(loss)
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert apart(found, expected) < 1e-6


def test_several_workers_without_gpus_are_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError) as caught:
        parse_job(SYNC, origin="job.yaml", overrides=("workers.num_workers=2",))
    for words in (
        "model.batch_norm: sync is for GPUs",
        "workers.num_workers 2",
        "workers.gpus_per_worker to 1",
        "live",
    ):
        assert words in str(caught.value)
    assert parse_job(SYNC, origin="job.yaml").workers.num_workers.max == 1
    on_gpus = ("workers.num_workers=2", "workers.gpus_per_worker=1")
    assert parse_job(SYNC, origin="job.yaml", overrides=on_gpus).model.batch_norm == "sync"
