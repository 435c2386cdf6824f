"""Any convolutional network of timm that has features at stride 4 and can be dilated to output stride 8 or 16.

Holds the network and the reading of its published weights. Importing this module imports timm, which takes seconds.

Source: https://huggingface.co/docs/timm/feature_extraction (`features_only`, `output_stride`).

Shapes: B batch, C channels, H and W input pixels, h and w the same over the stride, rounded up.
"""

from __future__ import annotations

import difflib

import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg, list_models, list_pretrained
from torch import nn
from torch.nn import functional

from roadbed.errors import RoadbedError, UsageError
from roadbed.models.depthwise import replace_depthwise
from roadbed.models.features import LOW_STRIDE, FeatureChannels, Features
from roadbed.models.weight_names import ColorScale, OurNames, Tensors
from roadbed.spec.model import TIMM_PREFIX as PREFIX

MAX_REASON = 300


class TimmBackbone(nn.Module):
    """`network` as timm makes it with `features_only`; `taps` are the places of our features in its list."""

    def __init__(self, network: nn.Module, *, taps: tuple[int, int, int], output_stride: int) -> None:
        super().__init__()
        self.network = network
        self.taps = taps
        self.output_stride = output_stride
        self.channels = FeatureChannels(*(_channels(network)[tap] for tap in taps))

    def forward(self, images_B3HW: torch.Tensor) -> Features:
        """Features at stride 4 and, twice, at the output stride.

        Some networks round sizes up and others down: zeros at the lower and right edges make whole strides of them.
        """
        height, width = images_B3HW.shape[-2:]
        below, right = -height % self.output_stride, -width % self.output_stride
        if below or right:
            images_B3HW = functional.pad(images_B3HW, (0, right, 0, below))
        features = self.network(images_B3HW)
        low, middle, high = (features[tap] for tap in self.taps)
        return Features(low[:, :, : -(-height // LOW_STRIDE), : -(-width // LOW_STRIDE)], middle, high)


def build_timm(name: str, *, output_stride: int) -> TimmBackbone:
    """The backbone of timm's name, with random weights.

    Raises UsageError if timm does not know it, or has it without the features that DeepLab needs.
    """
    _check_name(name)
    try:
        network = timm.create_model(name, features_only=True, output_stride=output_stride)
        _probe(network, height=3 * output_stride, width=5 * output_stride)
    except Exception as error:  # Constructors refuse with whatever they like.
        raise _unfit(name, output_stride, str(error).partition("\n")[0] or type(error).__name__) from None
    strides = _strides(network)
    if LOW_STRIDE not in strides or strides[-2:] != [output_stride] * 2:
        raise _unfit(name, output_stride, f"asked for it, it answers with strides {_words(strides)}")
    replace_depthwise(network)
    last = len(strides) - 1
    return TimmBackbone(network, taps=(strides.index(LOW_STRIDE), last - 1, last), output_stride=output_stride)


def read_timm(name: str, *, origin: str, tensors: Tensors | None = None) -> OurNames:
    """The weights of a timm network by our names: of `tensors`, as timm publishes them, or else from its hub.

    The whole network is loaded first, classifier and all, by timm's own rules for old files, and strictly: so nothing
    is missing unnoticed. `origin` is what the spec calls them. Raises RoadbedError if they cannot be had or do not fit.
    """
    _check_name(name)
    published = get_pretrained_cfg(name)
    if tensors:
        whole = _load_file(name, tensors, origin=origin, published=published)
    else:
        whole = _load_hub(name, origin=origin, published=published)
    return OurNames(_by_our_names(name, whole), is_whole=False, scale=_scale(published))


def _load_hub(name: str, *, origin: str, published: PretrainedCfg | None) -> Tensors:
    if published is None or not published.has_weights:
        raise UsageError(
            f"model.weights: {origin}: timm publishes no weights of {name}; name a file of them, start from random "
            f"weights with model.weights: none, or take another backbone"
        )
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        file = f"{published.hf_hub_id}/resolve/main/{published.hf_hub_filename or 'model.safetensors'}"
        where = f"https://huggingface.co/{file}" if published.hf_hub_id else published.url
        raise RoadbedError(
            f"model.weights: {origin}: timm's weights of {name} cannot be fetched from {where} ({_reason(error)}); "
            f"where there is a network, put that file into the object store and set model.weights to its s3:// uri, or "
            f"start from random weights with model.weights: none"
        ) from None


def _load_file(name: str, tensors: Tensors, *, origin: str, published: PretrainedCfg | None) -> Tensors:
    classifier = tensors.get(f"{published.classifier}.weight") if published else None
    num_classes = None if classifier is None else len(classifier)
    overlay = {"state_dict": dict(tensors)} | ({} if num_classes is None else {"num_classes": num_classes})
    try:
        whole = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=num_classes)
        return whole.state_dict()
    except (KeyError, RuntimeError, ValueError) as error:
        raise RoadbedError(
            f"model.weights: {origin} does not fit {PREFIX}{name} ({_reason(error)}); give the whole state dict of the "
            f"network of that name, with its classifier"
        ) from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:MAX_REASON].rstrip(".")


def _scale(published: PretrainedCfg | None) -> ColorScale | None:
    if published is None:
        return None
    mean, std = ((float(red), float(green), float(blue)) for red, green, blue in (published.mean, published.std))
    return mean, std


def _by_our_names(name: str, whole: Tensors) -> Tensors:
    """Of a whole network's tensors those of the backbone: timm writes `stages_0.` for `stages.0.` in some of them."""
    with torch.device("meta"):
        wanted = build_timm(name, output_stride=16).state_dict()
    found = {}
    for theirs, tensor in whole.items():
        for alias in (theirs, theirs.replace(".", "_", 1), f"model.{theirs}"):
            if f"network.{alias}" in wanted:
                found[f"backbone.network.{alias}"] = tensor
    return found


def _check_name(name: str) -> None:
    known = list_pretrained() if "." in name else list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`timm.list_models()` has their names"
        raise UsageError(f"model.backbone: {PREFIX}{name}: timm {timm.__version__} knows no such network; {hint}")


def _probe(network: nn.Module, *, height: int, width: int) -> None:
    """Raises whatever comes of a small image: some networks take images of one size alone, or of even features."""
    with torch.no_grad():
        features = network.eval()(torch.zeros(1, 3, height, width))
    network.train()
    for tensor, channels, stride in zip(features, _channels(network), _strides(network), strict=True):
        found, expected = tuple(tensor.shape[1:]), (channels, -(-height // stride), -(-width // stride))
        if found != expected:
            raise ValueError(f"features are {found}, and should be {expected}")


def _unfit(name: str, output_stride: int, reason: str) -> UsageError:
    with torch.device("meta"):
        strides = _words(_strides(timm.create_model(name, features_only=True)))
    return UsageError(
        f"model.backbone: {PREFIX}{name} cannot be used at model.output_stride {output_stride} ({reason}); timm has "
        f"its features at strides: {strides}. A DeepLab needs them at stride {LOW_STRIDE} and, by dilation, at "
        f"{output_stride}: take a convolutional network, such as {PREFIX}resnet18 or {PREFIX}convnext_nano"
    )


def _strides(network: nn.Module) -> list[int]:
    return list(network.feature_info.reduction())  # type: ignore[operator, union-attr]


def _channels(network: nn.Module) -> list[int]:
    return list(network.feature_info.channels())  # type: ignore[operator, union-attr]


def _words(strides: list[int]) -> str:
    return ", ".join(map(str, strides))
