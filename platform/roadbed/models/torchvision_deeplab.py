"""torchvision's DeepLabV3 networks: MobileNetV3-Large, ResNet-50 and ResNet-101 at output stride 8 or 16.

Names of weights are torchvision's (`backbone.` as there, `head.` for its `classifier.`), so its files load.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torchvision.models import mobilenet_v3_large, resnet50, resnet101
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from roadbed.models.depthwise import DepthwiseConv2d

MOBILENET_CHANNELS = 960
RESNET_CHANNELS = 2048
# features[7] is the block that goes from stride 8 to 16, features[16] the last 1x1 convolution.
MOBILENET_BLOCKS_AT_STRIDE_16 = slice(7, 16)
# What torchvision's segmentation weights were trained with: ResNets at stride 8, MobileNetV3 at 16.
RATES = (12, 24, 36)
RESNET_RATES_AT_STRIDE_16 = (6, 12, 18)


class DeepLabV3Head(DeepLabHead):  # type: ignore[misc]
    """torchvision's head, which also trains on a batch of one."""

    classifier_key = "4"

    def __init__(self, in_channels: int, num_classes: int, *, rates: tuple[int, ...], stride: int) -> None:
        super().__init__(in_channels, num_classes, rates)
        self.stride = stride
        pooling = self[0].convs[-1]
        pooling[2] = PooledBatchNorm2d(pooling[2].num_features)


class PooledBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that takes the running statistics for a single value per channel, which has no variance of its own."""

    def forward(self, features_BC11: torch.Tensor) -> torch.Tensor:
        """(B, C, 1, 1), normalised."""
        if not (self.training and features_BC11.numel() == features_BC11.shape[1]):
            return super().forward(features_BC11)
        return functional.batch_norm(
            features_BC11, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


def build_resnet(name: str, *, num_classes: int, output_stride: int) -> tuple[nn.Module, DeepLabV3Head]:
    """Backbone (2048 channels at the output stride) and head, over `resnet50` or `resnet101`; random weights."""
    builder = {"resnet50": resnet50, "resnet101": resnet101}[name]
    network = builder(weights=None, replace_stride_with_dilation=[False, output_stride == 8, True])
    backbone = nn.Sequential()
    for child_name, child in network.named_children():
        if child_name not in ("avgpool", "fc"):
            backbone.add_module(child_name, child)
    rates = RATES if output_stride == 8 else RESNET_RATES_AT_STRIDE_16
    return backbone, DeepLabV3Head(RESNET_CHANNELS, num_classes, rates=rates, stride=output_stride)


def build_mobilenet(*, num_classes: int, output_stride: int) -> tuple[nn.Module, DeepLabV3Head]:
    """Backbone (960 channels at the output stride) and head, over MobileNetV3-Large; random weights."""
    features = mobilenet_v3_large(weights=None, dilated=True).features
    if output_stride == 8:
        for block in features[MOBILENET_BLOCKS_AT_STRIDE_16]:
            for convolution in _depthwise_convolutions(block):
                _dilate(convolution)
    _replace_depthwise(features)
    return features, DeepLabV3Head(MOBILENET_CHANNELS, num_classes, rates=RATES, stride=output_stride)


def _depthwise_convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [child for child in module.modules() if isinstance(child, nn.Conv2d) and child.groups > 1]


def _dilate(convolution: nn.Conv2d) -> None:
    """Stride 1 and twice the dilation, as torchvision's own `dilated` does one stage later."""
    dilation = 2 * convolution.dilation[0]
    convolution.stride = (1, 1)
    convolution.dilation = (dilation, dilation)


def _replace_depthwise(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.groups > 1:
            replacement = DepthwiseConv2d(
                child.in_channels, child.kernel_size[0], stride=child.stride[0], dilation=child.dilation[0]
            )
            replacement.weight = child.weight
            setattr(module, name, replacement)
        else:
            _replace_depthwise(child)
