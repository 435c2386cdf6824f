"""EfficientNet-Lite0, -Lite1 and -Lite2 as feature extractors: features at stride 4 and at stride 8 or 16.

Holds the network alone; `weights` brings the ImageNet weights into it. These were trained in TensorFlow, so strided
convolutions are aligned as there (see `depthwise.strided_padding`) and batch norm has its epsilon.

Source: Tan and Le, ICML 2019 (arXiv:1905.11946), in the Lite variant of
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: no squeeze-excite, ReLU6, and a stem
that does not scale with the network.

Shapes: B batch, C channels, H and W input pixels, h and w the same over the stride, rounded up.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

from roadbed.models.activation import ReLU6
from roadbed.models.depthwise import DepthwiseConv2d, pad, strided_padding
from roadbed.models.features import FeatureChannels, Features

STEM_CHANNELS = 32
BATCH_NORM_EPS = 1e-3


class Stage(NamedTuple):
    """A row of the network's table."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    num_blocks: int


_LITE0_STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
LOW_STAGE, MIDDLE_STAGE = 1, 4


def _scaled(width: float, depth: float) -> tuple[Stage, ...]:
    """The table of a larger network: channels in eights, at most a tenth fewer than asked; the ends stay one deep."""
    last = len(_LITE0_STAGES) - 1
    return tuple(
        row._replace(
            channels=_in_eights(width * row.channels),
            num_blocks=row.num_blocks if number in (0, last) else math.ceil(depth * row.num_blocks),
        )
        for number, row in enumerate(_LITE0_STAGES)
    )


def _in_eights(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


STAGES = {
    "efficientnet_lite0": _LITE0_STAGES,
    "efficientnet_lite1": _scaled(width=1.0, depth=1.1),
    "efficientnet_lite2": _scaled(width=1.1, depth=1.2),
}


class EfficientNetLite(nn.Module):
    """A network of `STAGES` by its name, without classifier.

    Where the stride would pass `output_stride`, later kernels dilate instead.
    """

    def __init__(self, name: str, *, output_stride: int) -> None:
        super().__init__()
        rows = STAGES[name]
        self.channels = FeatureChannels(rows[LOW_STAGE].channels, rows[MIDDLE_STAGE].channels, rows[-1].channels)
        self.stem = nn.Sequential(Stem(), batch_norm(STEM_CHANNELS), ReLU6())
        self.stages = nn.ModuleList()
        channels, stride, dilation = STEM_CHANNELS, 2, 1
        for stage in rows:
            blocks = nn.Sequential()
            for number in range(stage.num_blocks):
                block_stride = stage.stride if number == 0 else 1
                is_past = stride * block_stride > output_stride
                own_stride = 1 if is_past else block_stride
                blocks.append(InvertedResidual(channels, stage, stride=own_stride, dilation=dilation))
                channels, stride = stage.channels, stride * own_stride
                if is_past:
                    dilation *= block_stride
            self.stages.append(blocks)

    def forward(self, images_B3HW: torch.Tensor) -> Features:
        """Features at stride 4 and, from the last stage but two and the last, at the output stride."""
        values, tapped = self.stem(images_B3HW), []
        for number, stage in enumerate(self.stages):
            values = stage(values)
            if number in (LOW_STAGE, MIDDLE_STAGE):
                tapped.append(values)
        low, middle = tapped
        return Features(low, middle, values)


class Stem(nn.Conv2d):
    """3x3 convolution with stride 2, aligned as TensorFlow's."""

    def __init__(self) -> None:
        super().__init__(3, STEM_CHANNELS, 3, stride=2, bias=False)

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, 32, h, w)."""
        return super().forward(pad(images_B3HW, strided_padding(images_B3HW, kernel=3, is_tf_aligned=True)))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, linear 1x1 projection, and the input added where shapes allow.

    Source: Sandler et al., CVPR 2018 (MobileNetV2), section 3.
    """

    def __init__(self, in_channels: int, stage: Stage, *, stride: int, dilation: int) -> None:
        super().__init__()
        wide = in_channels * stage.expansion
        self.is_residual = stride == 1 and in_channels == stage.channels
        self.expand = nn.Sequential()
        if stage.expansion != 1:
            self.expand.extend([nn.Conv2d(in_channels, wide, 1, bias=False), batch_norm(wide), ReLU6()])
        self.depthwise = nn.Sequential(
            DepthwiseConv2d(wide, stage.kernel, stride=stride, dilation=dilation, is_tf_aligned=True),
            batch_norm(wide),
            ReLU6(),
        )
        self.project = nn.Sequential(nn.Conv2d(wide, stage.channels, 1, bias=False), batch_norm(stage.channels))

    def forward(self, features_BChw: torch.Tensor) -> torch.Tensor:
        """The block's output, at the input's size over its stride."""
        outputs: torch.Tensor = self.project(self.depthwise(self.expand(features_BChw)))
        return outputs + features_BChw if self.is_residual else outputs


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the epsilon that the weights were trained with; torch's momentum suits a short fine-tuning."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
