"""The one class that training, inference and export see, whatever network is inside.

Shapes: B batch, K classes, H and W input pixels, h and w the same over the stride of the head, rounded up.
"""

from __future__ import annotations

from typing import Protocol, Self, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from roadbed.models.deeplab import enlarge
from roadbed.spec import ModelSpec

Channels = tuple[float, float, float]


class Head(Protocol):
    """What a head tells besides being a module: the stride of its logits, and the name of its last convolution."""

    stride: int
    classifier_key: str


class Normalization(nn.Module):
    """RGB grey levels 0..255, uint8 or float, to (value / 255 - mean) / std.

    `mean` and `std` (0..1) are settings, not weights: they are no part of the state dict.
    """

    mean_311: torch.Tensor
    scale_311: torch.Tensor

    def __init__(self, *, mean: Channels, std: Channels) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.register_buffer("mean_311", 255 * torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("scale_311", 1 / (255 * torch.tensor(std).reshape(3, 1, 1)), persistent=False)

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Float images, in memory channels last: what convolutions on a CPU and on tensor cores want."""
        return ((images_B3HW - self.mean_311) * self.scale_311).contiguous(memory_format=torch.channels_last)


class SegmentationModel(nn.Module):
    """Images in, logits at the images' own size out.

    `spec` and `num_classes` say what it is, `normalization.mean` and `.std` how it reads colours, `start_note` in words
    where its weights came from.
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, normalization: Normalization, *, spec: ModelSpec, num_classes: int
    ) -> None:
        super().__init__()
        self.normalization = normalization
        self.backbone = backbone
        self.head = head
        self.spec = spec
        self.num_classes = num_classes
        self.start_note = ""
        _lay_out(self)

    @property
    def stride(self) -> int:
        """Input pixels per logit before the logits are enlarged."""
        return cast(Head, self.head).stride

    @property
    def classifier_prefix(self) -> str:
        """The name, in the state dict, of the convolution whose output channels are the classes."""
        return f"head.{cast(Head, self.head).classifier_key}."

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, H, W) in float of RGB images, uint8 or float in 0..255, of any size from 32 pixels up.

        They are enlarged in float also under autocast: on a CPU that is twice as fast as in bfloat16, and exact.
        """
        coarse = self.coarse_logits(images_B3HW).float()
        return enlarge(coarse, self.stride, images_B3HW.shape[-2:])

    def coarse_logits(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, h, w) before they are enlarged to the images' size."""
        logits: torch.Tensor = self.head(self.backbone(self.normalization(images_B3HW)))
        return logits

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, once each: `backbone` (pretrained, wants the smaller rate) and `head`."""
        return {"backbone": list(self.backbone.parameters()), "head": list(self.head.parameters())}

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but frozen batch norm stays in evaluation mode, with the weights' own statistics."""
        super().train(mode)
        if self.spec.batch_norm == "frozen":
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _lay_out(model: nn.Module) -> None:
    """Give 1x1 weights the strides in which their gradients come, or DistributedDataParallel warns of a mismatch.

    Of dimensions of size 1 only: the order of values in memory, which fused optimisers and files go by, stays as it is.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
            weight = torch.empty_like(module.weight, memory_format=torch.channels_last)
            module.weight.data = weight.copy_(module.weight.detach())
