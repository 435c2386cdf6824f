"""The one class that training, inference and export see, whatever network is inside.

Shapes: B batch, K classes, H and W input pixels, h and w the same over the stride of the head, rounded up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from roadbed.models.deeplab import enlarge
from roadbed.models.depthwise import DepthwiseConv2d
from roadbed.models.pointwise import PointwiseConv2d, replace_pointwise
from roadbed.spec import ModelSpec

Channels = tuple[float, float, float]

AUXILIARY_PREFIX = "aux_head."


class Head(Protocol):
    """What a head tells besides being a module: the stride of its logits, and the name of its last convolution.

    The auxiliary head has the stride alone.
    """

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
    where its weights came from. The auxiliary head (`aux_head`, its names in the state dict begin with it) is there to
    train with alone: nothing else runs it, and weights that hold one load into a model without.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        normalization: Normalization,
        *,
        auxiliary: nn.Module | None = None,
        spec: ModelSpec,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.normalization = normalization
        self.backbone = backbone
        self.head = head
        self.aux_head = auxiliary
        self.spec = spec
        self.num_classes = num_classes
        self.start_note = ""
        replace_pointwise(self)
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
        return _enlarged(self.coarse_logits(images_B3HW), self.head, images_B3HW)

    def forward_with_auxiliary(self, images_B3HW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `forward` gives, and the logits of the auxiliary head, of the same shape. The spec must ask for one."""
        assert self.aux_head is not None
        features = self.backbone(self.normalization(images_B3HW))
        logits_BKHW = _enlarged(self.head(features), self.head, images_B3HW)
        return logits_BKHW, _enlarged(self.aux_head(features), self.aux_head, images_B3HW)

    def coarse_logits(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, h, w) before they are enlarged to the images' size."""
        logits: torch.Tensor = self.head(self.backbone(self.normalization(images_B3HW)))
        return logits

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, once each: `backbone` (pretrained, wants the smaller rate) and `head`, auxiliary too."""
        auxiliary = [] if self.aux_head is None else list(self.aux_head.parameters())
        return {"backbone": list(self.backbone.parameters()), "head": [*self.head.parameters(), *auxiliary]}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`, but passes over an auxiliary head that this model does without."""
        if self.aux_head is None:
            state_dict = {name: value for name, value in state_dict.items() if not name.startswith(AUXILIARY_PREFIX)}
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but frozen batch norm stays in evaluation mode, with the weights' own statistics."""
        super().train(mode)
        if self.spec.batch_norm == "frozen":
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _enlarged(coarse_BKhw: torch.Tensor, head: nn.Module, images_B3HW: torch.Tensor) -> torch.Tensor:
    return enlarge(coarse_BKhw.float(), cast(Head, head).stride, images_B3HW.shape[-2:])


def _lay_out(model: nn.Module) -> None:
    """Give weights the strides in which their gradients come, or DistributedDataParallel warns of a mismatch.

    Of dimensions of size 1 only (1x1 kernels, and torch's own depthwise convolutions): the order of values in memory,
    which fused optimisers and files go by, stays as it is. Our own convolutions give gradients as their weights lie.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d) or isinstance(module, DepthwiseConv2d | PointwiseConv2d):
            continue
        if (module.kernel_size == (1, 1) and module.groups == 1) or module.weight.shape[1] == 1:
            weight = torch.empty_like(module.weight, memory_format=torch.channels_last)
            module.weight.data = weight.copy_(module.weight.detach())
