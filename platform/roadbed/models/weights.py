"""Where a model's weights start from: ImageNet, COCO, a file, the object store, the registry, or nowhere.

Never silently: what is not there, or does not fit, is an error; a classifier that starts anew is told in the note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from roadbed.errors import RoadbedError, UsageError
from roadbed.models.efficientnet_lite import STAGES
from roadbed.models.segmentation import AUXILIARY_PREFIX, SegmentationModel
from roadbed.models.weight_files import SUFFIXES, decode_weights, lite_path, read_hub, read_lite, read_weights
from roadbed.models.weight_names import ColorScale, OurNames, Tensors, our_names
from roadbed.spec import ModelSpec

WEIGHTS_FILE = "weights.safetensors"

MAX_LISTED = 5


@dataclass(frozen=True)
class Start:
    """What a model starts from. `weights` None: random. `scale` None: the weights do not say how they read colours.

    `has_other_classes` is set where the classes are known to be none that a dataset of road scenes has.
    """

    note: str
    weights: OurNames | None = None
    scale: ColorScale | None = None
    class_names: tuple[str, ...] | None = None
    has_other_classes: bool = False


def find_start(spec: ModelSpec, *, registry_uri: str | None) -> Start:
    """Read what `spec.weights` names. Errors are those of `build_model`."""
    text = spec.weights
    if text == "none":
        return Start("random weights")
    if text == "imagenet":
        weights = _imagenet(spec)
        return Start(f"{spec.backbone} from ImageNet", weights, weights.scale)
    if text == "coco":
        weights = our_names(read_hub("coco", spec.backbone))
        note = f"{spec.architecture} over {spec.backbone} from COCO"
        return Start(note, weights, weights.scale, has_other_classes=True)
    if text.endswith(SUFFIXES):
        weights = _from_file(spec)
        return Start(text, weights, weights.scale)
    return _from_registry(spec, registry_uri)


def _imagenet(spec: ModelSpec) -> OurNames:
    if spec.timm_name is not None:
        return _timm(spec.timm_name, spec.weights, None)
    if spec.backbone in STAGES:
        return our_names(read_lite(spec.backbone, lite_path(spec.backbone)))
    return our_names(read_hub("imagenet", spec.backbone))


def _from_file(spec: ModelSpec) -> OurNames:
    tensors = read_weights(spec.weights)
    if spec.timm_name is None or any(name.startswith("backbone.") for name in tensors):
        return our_names(tensors)
    return _timm(spec.timm_name, spec.weights, tensors)


def _timm(name: str, origin: str, tensors: Tensors | None) -> OurNames:
    from roadbed.models.timm_backbone import read_timm  # seconds to import

    return read_timm(name, origin=origin, tensors=tensors)


def apply_start(model: SegmentationModel, start: Start, *, class_names: Sequence[str] | None) -> str:
    """Copy the weights in, by name and shape. Returns a sentence that says what was done.

    With `spec.new_classifier` the classes may differ, by number or by name: then the classifier stays random, and the
    sentence says so. Raises RoadbedError if they differ without it, or that names the first tensors that do not fit.
    COCO's classes always differ. The auxiliary head is taken over if the weights have one, of the same classes.
    """
    if start.weights is None:
        return start.note
    tensors, is_whole = dict(start.weights.tensors), start.weights.is_whole
    note = start.note if is_whole else f"{start.note}, the head is random"
    expected = {name: value for name, value in model.state_dict().items() if is_whole or name.startswith("backbone.")}
    change = _classifier_change(model, start, class_names)
    if change and not model.spec.new_classifier and not start.has_other_classes:
        raise RoadbedError(
            f"model.weights: {model.spec.weights}: {change}; prepare the dataset with the classes of the weights, or "
            f"set model.new_classifier: true to start with a new classifier over the trained features"
        )
    if change:
        tensors, expected = (_without(model.classifier_prefix, part) for part in (tensors, expected))
        note += f"; {change}, so its classifier is random"
    if change or model.aux_head is None or not any(name.startswith(AUXILIARY_PREFIX) for name in tensors):
        tensors, expected = (_without(AUXILIARY_PREFIX, part) for part in (tensors, expected))
        note += "; the auxiliary head is random" if model.aux_head is not None else ""
    faults = _faults(expected, tensors)
    if faults:
        more = f" and {len(faults) - MAX_LISTED} more" if len(faults) > MAX_LISTED else ""
        raise RoadbedError(
            f"model.weights: {model.spec.weights} does not fit {model.spec.architecture} over {model.spec.backbone}: "
            f"{'; '.join(faults[:MAX_LISTED])}{more}; give the spec's model section the values that the weights were "
            f"trained with"
        )
    model.load_state_dict(tensors, strict=False)
    return note


def _classifier_change(model: SegmentationModel, start: Start, class_names: Sequence[str] | None) -> str | None:
    """In words, why the classifier of the weights cannot be taken over; None if it can, or if there is none."""
    weight = start.weights.tensors.get(f"{model.classifier_prefix}weight") if start.weights else None
    if weight is None:
        return None
    if start.has_other_classes:
        return f"its {len(weight)} classes are not the dataset's"
    if len(weight) != model.num_classes:
        return f"it tells {len(weight)} classes apart, the dataset has {model.num_classes}"
    if start.class_names is not None and class_names is not None and start.class_names != tuple(class_names):
        return "its classes have other names than the dataset's"
    return None


def _without(prefix: str, tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if not name.startswith(prefix)}


def _faults(expected: Tensors, tensors: Tensors) -> list[str]:
    missing = [name for name in expected if name not in tensors and not name.endswith("num_batches_tracked")]
    misshapen = [
        f"{name} is {_shape(tensors[name])}, expected {_shape(expected[name])}"
        for name in expected
        if name in tensors and tensors[name].shape != expected[name].shape
    ]
    unknown = [f"{name} has no place" for name in tensors if name not in expected]
    return misshapen + [f"{name} is missing" for name in missing] + unknown


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _from_registry(spec: ModelSpec, registry_uri: str | None) -> Start:
    from roadbed.registry import Registry, looks_like_reference
    from roadbed.storage import open_store

    text = spec.weights
    if not looks_like_reference(text):
        raise UsageError(
            f"model.weights: {text!r} means nothing; write imagenet, coco, none, the path or s3:// uri of a file that "
            f"ends in {', '.join(SUFFIXES)}, or a version of the registry as NAME@ALIAS or NAME:NUMBER"
        )
    if registry_uri is None:
        raise UsageError(f"model.weights: {text} is looked up in a registry, and none was given; set output.store")
    version = Registry(open_store(registry_uri)).resolve(text)
    card = version.card()
    theirs = tuple(card["model"][key] for key in ("architecture", "backbone"))
    if theirs != (spec.architecture, spec.backbone):
        raise RoadbedError(
            f"model.weights: {version.uri} is {theirs[0]} over {theirs[1]}, the spec asks for {spec.architecture} over "
            f"{spec.backbone}; change model.architecture and model.backbone, or start from other weights"
        )
    tensors = decode_weights(version.get(WEIGHTS_FILE), origin=f"{version.uri}/{WEIGHTS_FILE}")
    names = tuple(label_class["name"] for label_class in card["label_space"]["classes"])
    return Start(f"{version.name}:{version.number}", our_names(tensors), card_scale(card), names)


def card_scale(card: dict[str, Any]) -> ColorScale:
    """Mean and deviation per channel of a version's card."""
    mean, std = (tuple(float(value) for value in card["normalization"][key]) for key in ("mean", "std"))
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
