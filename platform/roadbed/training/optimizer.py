"""The optimiser of a spec, and the averaged weights (EMA) that are kept of its path."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn

from roadbed.models import SegmentationModel
from roadbed.spec import TrainSpec

# In so many steps the rate rises from the backbone's first parameters to its last: a group of the optimiser each.
BACKBONE_STEPS = 12


def build_optimizer(model: SegmentationModel, spec: TrainSpec) -> torch.optim.Optimizer:
    """AdamW or SGD over groups of one rate each, with decayed weights and with undecayed biases and norms.

    Every group carries `rate_factor`, its learning rate over that of the head.
    """
    groups = []
    for factor, parameters in _rates(model, spec):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for decay, chosen in (
            (spec.weight_decay, [parameter for parameter in trained if parameter.ndim > 1]),
            (0.0, [parameter for parameter in trained if parameter.ndim <= 1]),
        ):
            groups.append({"params": chosen, "weight_decay": decay, "rate_factor": factor})
    if spec.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=spec.learning_rate, fused=True)
    return torch.optim.SGD(groups, lr=spec.learning_rate, momentum=0.9, nesterov=True, fused=True)


def _rates(model: SegmentationModel, spec: TrainSpec) -> list[tuple[float, list[nn.Parameter]]]:
    """Rate factors and the parameters that have them: of the backbone (whole, or in steps) and of the head."""
    parts = model.parameter_groups()
    backbone, num_steps = parts["backbone"], BACKBONE_STEPS if spec.first_layer_rate_factor < 1.0 else 1
    bounds = [len(backbone) * step // num_steps for step in range(num_steps + 1)]
    heights = [1 - step / max(num_steps - 1, 1) for step in range(num_steps)]
    steps = [
        (spec.backbone_rate_factor * spec.first_layer_rate_factor**height, backbone[first:last])
        for height, (first, last) in zip(heights, pairwise(bounds), strict=True)
    ]
    return [*steps, (1.0, parts["head"])]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the head's learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]


class AveragedModel:
    """A copy of the model whose weights are the exponential moving average of the trained ones.

    The decay of step t is at most (1 + t) / (10 + t), so that the first steps do not weigh for ever. Batch-norm
    statistics are averaged alike; integer buffers are copied.
    """

    def __init__(self, model: SegmentationModel, *, decay: float) -> None:
        """The average of `model` from now on, whose tensors stay the same objects."""
        self.model = copy.deepcopy(model).eval()
        self.model.requires_grad_(requires_grad=False)
        self._decay = decay
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self._averages = [ours for ours, _ in pairs if ours.is_floating_point()]
        self._trained = [theirs for _, theirs in pairs if theirs.is_floating_point()]
        self._integers = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, *, step: int) -> None:
        """Move towards the weights that the model has after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._trained, 1 - decay)
        for ours, theirs in self._integers:
            ours.copy_(theirs)
