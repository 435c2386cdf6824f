"""The `model` section: architecture, backbone, and where its weights start from."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from roadbed.spec.base import Section

LITE_BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
TORCHVISION_BACKBONES = ("mobilenet_v3_large", "resnet50", "resnet101")
BACKBONES = (*LITE_BACKBONES, *TORCHVISION_BACKBONES)
TIMM_PREFIX = "timm:"


def _check_backbone(name: str) -> str:
    if name in BACKBONES or (name.startswith(TIMM_PREFIX) and name != TIMM_PREFIX):
        return name
    near = difflib.get_close_matches(name, BACKBONES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"expected {', '.join(BACKBONES)}, or a network of timm such as {TIMM_PREFIX}resnet18{hint}")


class ModelSpec(Section):
    """A DeepLab: what `roadbed.models.build_model` builds."""

    architecture: Literal["deeplabv3plus", "deeplabv3"] = Field(
        "deeplabv3plus",
        description="deeplabv3plus (a decoder at stride 4) or deeplabv3 (torchvision's head), over any backbone",
    )
    backbone: Annotated[str, AfterValidator(_check_backbone)] = Field(
        "efficientnet_lite0",
        description=f"feature extractor: {', '.join(BACKBONES)}, or timm:NAME for a convolutional network of timm",
    )
    output_stride: Literal[8, 16] = Field(16, description="input size over the size of the deepest features")
    weights: str = Field(
        "imagenet",
        description="imagenet, coco (deeplabv3 over torchvision's backbones), none, a .pth/.safetensors file or s3:// "
        "uri, or a version: NAME@ALIAS or NAME:NUMBER",
    )
    new_classifier: bool = Field(
        False, description="start with a new classifier where the weights' classes are not the dataset's"
    )
    head_channels: int = Field(
        128, ge=16, le=512, description="width of the deeplabv3plus head; deeplabv3's is 256, as torchvision's"
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="dropout before the deeplabv3plus classifier; deeplabv3 has torchvision's"
    )
    auxiliary_head: bool = Field(
        False, description="a second classifier half-way through the backbone, to train with alone"
    )
    batch_norm: Literal["live", "frozen", "sync"] = Field(
        "live",
        description="live: batch statistics of each worker's share; sync: of all workers' shares together (on GPUs); "
        "frozen: the weights' own statistics",
    )

    @property
    def timm_name(self) -> str | None:
        """The name that timm knows the backbone by, or None if it is not timm's."""
        return self.backbone.removeprefix(TIMM_PREFIX) if self.backbone.startswith(TIMM_PREFIX) else None

    @model_validator(mode="after")
    def _coco_has_the_network(self) -> ModelSpec:
        if self.weights == "coco" and not (self.architecture == "deeplabv3" and self.backbone in TORCHVISION_BACKBONES):
            raise ValueError(
                f"model.weights: coco is offered with architecture deeplabv3 over {', '.join(TORCHVISION_BACKBONES)}, "
                f"found {self.architecture} over {self.backbone}"
            )
        return self
