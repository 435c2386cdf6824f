"""1x1 convolution as the matrix product that it is.

On a CPU torch hands convolutions to oneDNN's convolution, whose gradients of 1x1 kernels, in bfloat16 above all, are
slower than its products of matrices. In memory channels last an image is a matrix, pixels by channels, as it lies.
Everywhere else (other devices and layouts, no gradient, export) this is torch's own convolution.

Shapes: B batch, C channels in, D channels out, h and w pixels.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import nn
from torch.nn import functional

from roadbed.models.depthwise_passes import is_exported


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution of stride 1. Parameters and state dict are those of `nn.Conv2d(in_channels, channels, 1)`."""

    def __init__(self, in_channels: int, channels: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, channels, 1, bias=bias)

    def forward(self, images_BChw: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) to (B, D, h, w)."""
        if not self._is_product(images_BChw):
            return super().forward(images_BChw)
        outputs_BhwD = functional.linear(images_BChw.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return outputs_BhwD.permute(0, 3, 1, 2)

    def _is_product(self, images: torch.Tensor) -> bool:
        is_trained = torch.is_grad_enabled() and (images.requires_grad or self.weight.requires_grad)
        is_here = images.device.type == "cpu" and images.is_contiguous(memory_format=torch.channels_last)
        return is_trained and is_here and not is_exported()


def is_pointwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether this is torch's own convolution with a geometry that `PointwiseConv2d` has."""
    if type(module) is not nn.Conv2d or module.groups != 1:
        return False
    return module.kernel_size == (1, 1) and module.stride == (1, 1) and module.padding == (0, 0)


def replace_pointwise(module: nn.Module) -> None:
    """Put a `PointwiseConv2d` of the same parameters in the place of every convolution below `module` that is one."""
    for name, child in module.named_children():
        if is_pointwise(child):
            with torch.device("meta"):  # without drawing weights that nobody sees
                replacement = PointwiseConv2d(child.in_channels, child.out_channels, bias=child.bias is not None)
            replacement.weight, replacement.bias = child.weight, child.bias
            setattr(module, name, replacement)
        else:
            replace_pointwise(child)
