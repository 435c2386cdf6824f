"""Learning rates of the parts of a model, and the average of its weights."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from roadbed.models import SegmentationModel, build_model
from roadbed.spec import ModelSpec, TrainSpec
from roadbed.training.optimizer import BACKBONE_STEPS, AveragedModel, build_optimizer, set_learning_rate


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return build_model(ModelSpec(weights="none", head_channels=16), num_classes=3)


def rates(model: SegmentationModel, spec: TrainSpec) -> dict[str, float]:
    optimizer = build_optimizer(model, spec)
    set_learning_rate(optimizer, 1.0)
    of = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert len(of) == sum(len(group["params"]) for group in optimizer.param_groups)
    return {name: of[id(parameter)] for name, parameter in model.named_parameters()}


def test_backbone_and_head_have_rates_of_their_own(model: SegmentationModel) -> None:
    found = rates(model, TrainSpec(backbone_rate_factor=0.3))
    assert {rate for name, rate in found.items() if name.startswith("backbone.")} == {0.3}
    assert {rate for name, rate in found.items() if name.startswith("head.")} == {1.0}


def test_rates_rise_evenly_from_the_first_layers_to_the_last(model: SegmentationModel) -> None:
    found = rates(model, TrainSpec(backbone_rate_factor=0.4, first_layer_rate_factor=0.1))
    backbone = [rate for name, rate in found.items() if name.startswith("backbone.")]
    assert backbone == sorted(backbone)
    assert (backbone[0], backbone[-1]) == pytest.approx((0.04, 0.4))
    steps = sorted(set(backbone))
    assert len(steps) == BACKBONE_STEPS
    ratios = [later / earlier for earlier, later in pairwise(steps)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert {rate for name, rate in found.items() if name.startswith("head.")} == {1.0}


def test_biases_and_norms_are_not_decayed(model: SegmentationModel) -> None:
    optimizer = build_optimizer(model, TrainSpec(weight_decay=0.1, first_layer_rate_factor=0.5))
    for group in optimizer.param_groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_the_average_follows_the_weights_also_those_that_a_checkpoint_put_there(model: SegmentationModel) -> None:
    averaged = AveragedModel(model, decay=0.9)
    before = {name: tensor.clone() for name, tensor in averaged.model.state_dict().items()}
    model.load_state_dict({name: tensor + 1 for name, tensor in before.items()})
    averaged.update(step=2)
    decay = 3 / 12
    for name, tensor in averaged.model.state_dict().items():
        moved = before[name] + (1 - decay) if tensor.is_floating_point() else before[name] + 1
        torch.testing.assert_close(tensor, moved)
