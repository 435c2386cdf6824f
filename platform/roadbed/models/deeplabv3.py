"""The DeepLabV3 head, torchvision's, over the deepest features alone.

Names of weights are those of torchvision's `classifier`, so its files load.

Source: Chen et al., 2017 (DeepLabV3, arXiv:1706.05587), as in `torchvision.models.segmentation`.

Shapes: B batch, C channels, K classes, h and w feature size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from roadbed.models.features import Features


class DeepLabV3Head(DeepLabHead):  # type: ignore[misc]
    """torchvision's head, 256 channels wide, which also trains on a batch of one."""

    classifier_key = "4"

    def __init__(self, in_channels: int, num_classes: int, *, rates: tuple[int, ...], stride: int) -> None:
        super().__init__(in_channels, num_classes, rates)
        self.stride = stride
        pooling = self[0].convs[-1]
        pooling[2] = PooledBatchNorm2d(pooling[2].num_features)

    def forward(self, features: Features) -> torch.Tensor:
        """Logits (B, K, h, w) at the size of the deepest features."""
        return cast(torch.Tensor, super().forward(features.high_BChw))


class PooledBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that takes the running statistics for a single value per channel, which has no variance of its own."""

    def forward(self, features_BC11: torch.Tensor) -> torch.Tensor:
        """(B, C, 1, 1), normalised."""
        if not (self.training and features_BC11.numel() == features_BC11.shape[1]):
            return super().forward(features_BC11)
        return functional.batch_norm(
            features_BC11, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )
