"""From a spec to a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import nn

from roadbed.models.deeplab import DeepLabV3PlusHead
from roadbed.models.efficientnet_lite import HIGH_CHANNELS, LOW_CHANNELS, EfficientNetLite0
from roadbed.models.segmentation import Channels, Normalization, SegmentationModel
from roadbed.models.weight_names import TORCHVISION_SCALE
from roadbed.models.weights import apply_start, find_start
from roadbed.spec import ModelSpec

log = logging.getLogger(__name__)


def build_model(
    spec: ModelSpec,
    *,
    num_classes: int,
    channel_mean: Channels | None = None,
    channel_std: Channels | None = None,
    registry_uri: str | None = None,
    class_names: Sequence[str] | None = None,
) -> SegmentationModel:
    """The model of a spec, with the weights that `spec.weights` names; what they do not cover is random.

    Weights that are known to go with a normalization (published ones, versions of the registry) keep it; for others
    `channel_mean` and `channel_std` (RGB, 0..1) are taken, or torchvision's if they are None. `registry_uri` is the
    root of the store in which registry references are looked up. With `class_names` the names of a version's classes
    are compared too; classes that differ need `spec.new_classifier`. Random weights come from torch's global generator:
    seed it before.

    The outcome is logged and stands in the model's `start_note`. Raises UsageError if `spec.weights` cannot be meant,
    RoadbedError (StoreError, NotFoundError, DamagedError) if the weights cannot be had or do not fit.
    """
    backbone, head = _build_network(spec, num_classes)
    start = find_start(spec, registry_uri=registry_uri)
    mean, std = start.scale or (channel_mean or TORCHVISION_SCALE[0], channel_std or TORCHVISION_SCALE[1])
    model = SegmentationModel(backbone, head, Normalization(mean=mean, std=std), spec=spec, num_classes=num_classes)
    model.start_note = apply_start(model, start, class_names=class_names)
    log.info("weights: %s", model.start_note)
    return model.train()


def _build_network(spec: ModelSpec, num_classes: int) -> tuple[nn.Module, nn.Module]:
    if spec.architecture == "deeplabv3":
        from roadbed.models.torchvision_deeplab import build_mobilenet, build_resnet  # a second to import

        if spec.backbone != "mobilenet_v3_large":
            return build_resnet(spec.backbone, num_classes=num_classes, output_stride=spec.output_stride)
        return build_mobilenet(num_classes=num_classes, output_stride=spec.output_stride)
    head = DeepLabV3PlusHead(
        low_channels=LOW_CHANNELS,
        high_channels=HIGH_CHANNELS,
        channels=spec.head_channels,
        num_classes=num_classes,
        output_stride=spec.output_stride,
        dropout=spec.dropout,
    )
    return EfficientNetLite0(output_stride=spec.output_stride), head
