"""torchvision's ResNet-50, ResNet-101 and MobileNetV3-Large at output stride 8 or 16.

Names of weights are torchvision's (`backbone.` as in its segmentation models), so its files load.

Shapes: B batch, C channels, H and W input pixels, h and w the same over the stride, rounded up.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import mobilenet_v3_large, resnet50, resnet101

from roadbed.models.depthwise import replace_depthwise
from roadbed.models.features import FeatureChannels, Features

# features[3] is the last block at stride 4, [7] goes from stride 8 to 16, [12] is the last block at 16 as it was
# trained, [16] the last 1x1 convolution.
MOBILENET_TAPS = ("3", "12", "16")
MOBILENET_CHANNELS = FeatureChannels(low=24, middle=112, high=960)
MOBILENET_BLOCKS_AT_STRIDE_16 = slice(7, 16)

RESNET_TAPS = ("layer1", "layer3", "layer4")
RESNET_CHANNELS = FeatureChannels(low=256, middle=1024, high=2048)


class TappedSequential(nn.Sequential):
    """Modules one after the other, of which three hand out their outputs as features."""

    def __init__(self, *, taps: tuple[str, str, str], channels: FeatureChannels) -> None:
        super().__init__()
        self.taps = taps
        self.channels = channels

    def forward(self, images_B3HW: torch.Tensor) -> Features:
        """Features at stride 4 and, twice, at the output stride."""
        values, tapped = images_B3HW, []
        for name, module in self.named_children():
            values = module(values)
            if name in self.taps:
                tapped.append(values)
        return Features(*tapped)


def build_resnet(name: str, *, output_stride: int) -> TappedSequential:
    """`resnet50` or `resnet101`, with random weights."""
    builder = {"resnet50": resnet50, "resnet101": resnet101}[name]
    network = builder(weights=None, replace_stride_with_dilation=[False, output_stride == 8, True])
    backbone = TappedSequential(taps=RESNET_TAPS, channels=RESNET_CHANNELS)
    for child_name, child in network.named_children():
        if child_name not in ("avgpool", "fc"):
            backbone.add_module(child_name, child)
    return backbone


def build_mobilenet(*, output_stride: int) -> TappedSequential:
    """MobileNetV3-Large, with random weights."""
    backbone = TappedSequential(taps=MOBILENET_TAPS, channels=MOBILENET_CHANNELS)
    backbone.extend(mobilenet_v3_large(weights=None, dilated=True).features)
    if output_stride == 8:
        for block in list(backbone)[MOBILENET_BLOCKS_AT_STRIDE_16]:
            for convolution in _depthwise_convolutions(block):
                _dilate(convolution)
    replace_depthwise(backbone)
    return backbone


def _depthwise_convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [child for child in module.modules() if isinstance(child, nn.Conv2d) and child.groups > 1]


def _dilate(convolution: nn.Conv2d) -> None:
    """Stride 1 and twice the dilation, as torchvision's own `dilated` does one stage later."""
    dilation = 2 * convolution.dilation[0]
    margin = dilation * (convolution.kernel_size[0] - 1) // 2
    convolution.stride = (1, 1)
    convolution.dilation = (dilation, dilation)
    convolution.padding = (margin, margin)
