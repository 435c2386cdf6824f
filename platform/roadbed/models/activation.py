"""ReLU6 in place without a copy: torch's own, asked to work in place, copies its input for the gradient.

The gradient needs the result alone: it passes where that lies between the bounds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from roadbed.models.depthwise_passes import is_exported

LOWEST, HIGHEST = 0.0, 6.0


class ReLU6(nn.ReLU6):
    """`nn.ReLU6(inplace=True)`, value for value. The input is overwritten."""

    def __init__(self) -> None:
        super().__init__(inplace=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """A tensor of any shape, clipped."""
        if is_exported() or not (torch.is_grad_enabled() and values.requires_grad):
            return super().forward(values)
        clipped: torch.Tensor = _Clipped.apply(values)
        return clipped


class _Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(values)
        values.clamp_(LOWEST, HIGHEST)
        ctx.save_for_backward(values)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (clipped,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, clipped, LOWEST, HIGHEST)
