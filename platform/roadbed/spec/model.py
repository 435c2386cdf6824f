"""The `model` section: architecture, backbone, and where its weights start from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from roadbed.spec.base import Section

Backbone = Literal["efficientnet_lite0", "mobilenet_v3_large", "resnet50", "resnet101"]


class ModelSpec(Section):
    """A DeepLab: what `roadbed.models.build_model` builds."""

    architecture: Literal["deeplabv3plus", "deeplabv3"] = Field(
        "deeplabv3plus", description="deeplabv3plus (over efficientnet_lite0) or torchvision's deeplabv3 (the others)"
    )
    backbone: Backbone = Field("efficientnet_lite0", description="feature extractor")
    output_stride: Literal[8, 16] = Field(16, description="input size over the size of the deepest features")
    weights: str = Field(
        "imagenet",
        description="imagenet, none, a .pth/.safetensors file or s3:// uri, or a version: NAME@ALIAS or NAME:NUMBER",
    )
    new_classifier: bool = Field(
        False, description="start with a new classifier where the weights' classes are not the dataset's"
    )
    head_channels: int = Field(128, ge=16, le=512, description="width of the deeplabv3plus head")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout before the deeplabv3plus classifier")
    batch_norm: Literal["live", "frozen"] = Field(
        "live", description="live: batch statistics of each worker's share; frozen: the weights' own statistics"
    )

    @model_validator(mode="after")
    def _architecture_has_backbone(self) -> ModelSpec:
        lite = self.backbone == "efficientnet_lite0"
        if lite != (self.architecture == "deeplabv3plus"):
            fitting = "deeplabv3plus" if lite else "deeplabv3"
            raise ValueError(
                f"model.backbone: {self.backbone} is offered with architecture {fitting}, found {self.architecture}"
            )
        return self
