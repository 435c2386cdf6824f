"""The DeepLabV3+ head: atrous spatial pyramid over deep features, and a decoder at stride 4. And the auxiliary head.

Source: Chen et al., ECCV 2018 (DeepLabV3+, arXiv:1802.02611), with separable convolutions throughout.

Shapes: B batch, C channels, K classes, h and w feature size, H and W that of finer features or of the input.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from roadbed.models.depthwise import DepthwiseConv2d
from roadbed.models.features import LOW_STRIDE, FeatureChannels, Features

# Section 4 of the paper: 48 channels of low-level features; rates 6, 12, 18 at output stride 16, twice as much at 8.
DECODER_LOW_CHANNELS = 48
RATES_AT_STRIDE_16 = (6, 12, 18)

# torchvision's FCNHead over ResNets: a quarter of their 1024 channels, and its dropout.
AUXILIARY_CHANNELS = 256
AUXILIARY_DROPOUT = 0.1


class DeepLabV3PlusHead(nn.Module):
    """Features at two strides to logits at the finer of them."""

    stride = LOW_STRIDE
    classifier_key = "classifier"

    def __init__(
        self,
        features: FeatureChannels,
        *,
        channels: int,
        num_classes: int,
        output_stride: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.enlargement = output_stride // LOW_STRIDE
        rates = tuple(rate * 16 // output_stride for rate in RATES_AT_STRIDE_16)
        self.pyramid = AtrousPyramid(features.high, channels, rates=rates)
        self.low = pointwise(features.low, DECODER_LOW_CHANNELS)
        self.decoder = nn.Sequential(
            *separable(channels + DECODER_LOW_CHANNELS, channels), *separable(channels, channels)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: Features) -> torch.Tensor:
        """Logits (B, K, h, w) at the size of the low-level features."""
        low = self.low(features.low_BChw)
        high = enlarge(self.pyramid(features.high_BChw), self.enlargement, low.shape[-2:])
        logits: torch.Tensor = self.classifier(self.dropout(self.decoder(torch.cat([high, low], dim=1))))
        return logits


class AtrousPyramid(nn.Module):
    """Parallel views of the same features: point by point, at three rates, and the whole image's mean.

    The image branch has no batch norm: it holds one value per channel and image, so a batch of one has no statistics.
    """

    def __init__(self, in_channels: int, channels: int, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.point = pointwise(in_channels, channels)
        self.atrous = nn.ModuleList(separable(in_channels, channels, dilation=rate) for rate in rates)
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, channels, 1), nn.ReLU(inplace=True))
        self.project = pointwise((len(rates) + 2) * channels, channels)

    def forward(self, features_BChw: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) at the input's size."""
        views = [self.point(features_BChw), *(branch(features_BChw) for branch in self.atrous)]
        # An expanded tensor would turn the concatenation, and all that follows, to the slow channels-first layout.
        image = self.image(features_BChw).expand_as(views[0]).contiguous(memory_format=torch.channels_last)
        projected: torch.Tensor = self.project(torch.cat([*views, image], dim=1))
        return projected


class AuxiliaryHead(nn.Sequential):
    """A second opinion from the middle of the backbone, whose loss shortens the gradient's way. For training alone.

    Source: Zhao et al., CVPR 2017 (PSPNet, arXiv:1612.01105), section 3.3, as built by torchvision's `FCNHead`.
    """

    def __init__(self, in_channels: int, num_classes: int, *, stride: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, AUXILIARY_CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(AUXILIARY_CHANNELS),
            nn.ReLU(inplace=True),
            nn.Dropout(AUXILIARY_DROPOUT),
            nn.Conv2d(AUXILIARY_CHANNELS, num_classes, 1),
        )
        self.stride = stride

    def forward(self, features: Features) -> torch.Tensor:
        """Logits (B, K, h, w) at the size of the middle features."""
        logits: torch.Tensor = super().forward(features.middle_BChw)  # type: ignore[no-untyped-call]
        return logits


def pointwise(in_channels: int, channels: int) -> nn.Sequential:
    """1x1 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )


def separable(in_channels: int, channels: int, *, dilation: int = 1) -> nn.Sequential:
    """3x3 depthwise convolution with batch norm and ReLU, then `pointwise` (DeepLabV3+, figure 3)."""
    return nn.Sequential(
        DepthwiseConv2d(in_channels, 3, dilation=dilation),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        *pointwise(in_channels, channels),
    )


def enlarge(values_BChw: torch.Tensor, factor: int, size_HW: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Bilinear by exactly `factor`, then cut to (B, C, H, W).

    Strided features have their size rounded up; stretching them to the wanted size instead would shift them, by up to
    half a stride at the far edges.
    """
    height, width = size_HW
    enlarged = functional.interpolate(values_BChw, scale_factor=factor, mode="bilinear", align_corners=False)
    if enlarged.requires_grad and enlarged.device.type == "cpu":
        # The backward pass is 14 times faster on a gradient whose channels lie next to each other.
        enlarged.register_hook(_channels_last)  # type: ignore[no-untyped-call]
    return enlarged[:, :, :height, :width]


def _channels_last(gradient_BCHW: torch.Tensor) -> torch.Tensor:
    return gradient_BCHW.contiguous(memory_format=torch.channels_last)
