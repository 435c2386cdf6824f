"""From a spec to a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from torch import nn

from roadbed.models.deeplab import RATES_AT_STRIDE_16, AuxiliaryHead, DeepLabV3PlusHead
from roadbed.models.efficientnet_lite import STAGES, EfficientNetLite
from roadbed.models.features import Backbone, FeatureChannels
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
    backbone = _build_backbone(spec)
    features = cast(Backbone, backbone).channels
    head = _build_head(spec, features, num_classes)
    auxiliary = None
    if spec.auxiliary_head:
        auxiliary = AuxiliaryHead(features.middle, num_classes, stride=spec.output_stride)
    start = find_start(spec, registry_uri=registry_uri)
    mean, std = start.scale or (channel_mean or TORCHVISION_SCALE[0], channel_std or TORCHVISION_SCALE[1])
    normalization = Normalization(mean=mean, std=std)
    model = SegmentationModel(backbone, head, normalization, auxiliary=auxiliary, spec=spec, num_classes=num_classes)
    model.start_note = apply_start(model, start, class_names=class_names)
    log.info("weights: %s", model.start_note)
    return model.train()


def _build_backbone(spec: ModelSpec) -> nn.Module:
    if spec.timm_name is not None:
        from roadbed.models.timm_backbone import build_timm  # seconds to import

        return build_timm(spec.timm_name, output_stride=spec.output_stride)
    if spec.backbone in STAGES:
        return EfficientNetLite(spec.backbone, output_stride=spec.output_stride)
    from roadbed.models.torchvision_backbones import build_mobilenet, build_resnet  # a second to import

    if spec.backbone == "mobilenet_v3_large":
        return build_mobilenet(output_stride=spec.output_stride)
    return build_resnet(spec.backbone, output_stride=spec.output_stride)


def _build_head(spec: ModelSpec, features: FeatureChannels, num_classes: int) -> nn.Module:
    if spec.architecture == "deeplabv3plus":
        return DeepLabV3PlusHead(
            features,
            channels=spec.head_channels,
            num_classes=num_classes,
            output_stride=spec.output_stride,
            dropout=spec.dropout,
        )
    from roadbed.models.deeplabv3 import DeepLabV3Head

    # torchvision trained its ResNets at stride 8 with these rates, and MobileNetV3 with the same at 16.
    is_wide = spec.output_stride == 8 or spec.backbone == "mobilenet_v3_large"
    rates = tuple(rate * (2 if is_wide else 1) for rate in RATES_AT_STRIDE_16)
    return DeepLabV3Head(features.high, num_classes, rates=rates, stride=spec.output_stride)
