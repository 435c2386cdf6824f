"""Whole images to masks of their own size: one class for pictures, folders and requests, over any engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from roadbed.data.labels import LabelSpace
from roadbed.errors import DamagedError
from roadbed.inference.engines import Engine, LogitArray, TorchEngine
from roadbed.inference.images import ImageArray, read_image
from roadbed.inference.tiles import ShareArray, Tiles
from roadbed.inference.views import MIN_SIDE_PX, ONE_VIEW, Views
from roadbed.models import SegmentationModel, build_model
from roadbed.models.weights import WEIGHTS_FILE, card_scale
from roadbed.registry import Version
from roadbed.spec import ModelSpec

__all__ = ["Predictor", "load_model", "read_image"]

CONFIDENCE_PX = (360, 480)
"""The part of an image that confidence is judged by: of one size, so that no engine prepares for another."""


class Predictor:
    """An engine with the meaning of its classes, and how images are looked at.

    `views` are what it sees of each image; with `tiles`, larger images are seen through windows.
    """

    def __init__(
        self, engine: Engine, label_space: LabelSpace, *, views: Views = ONE_VIEW, tiles: Tiles | None = None
    ) -> None:
        self.engine = engine
        self.label_space = label_space
        self.views = views
        self.tiles = tiles

    @classmethod
    def of_model(
        cls,
        model: SegmentationModel,
        label_space: LabelSpace,
        *,
        device: str | torch.device = "cpu",
        views: Views = ONE_VIEW,
        tiles: Tiles | None = None,
    ) -> Predictor:
        """That of a model in memory, by torch. The model is moved to `device` and left in evaluation mode.

        Raises ValueError for classes that are not the model's.
        """
        if model.num_classes != label_space.num_classes:
            raise ValueError(f"the model has {model.num_classes} classes, {label_space.name} {label_space.num_classes}")
        return cls(TorchEngine(model, device=device), label_space, views=views, tiles=tiles)

    @classmethod
    def load(
        cls,
        version: Version,
        *,
        device: str | torch.device = "cpu",
        views: Views | None = None,
        tiles: Tiles | None = None,
    ) -> Predictor:
        """That of a published version, by torch; without `views` with those that it was scored with.

        Raises StoreError if its files cannot be had, DamagedError if they are not what its card says.
        """
        model, label_space = load_model(version)
        views = Views.of_card(version.card()) if views is None else views
        return cls.of_model(model, label_space, device=device, views=views, tiles=tiles)

    def predict(self, image_HW3: np.ndarray[Any, Any]) -> ImageArray:
        """The mask (H, W) of class ids, uint8, of an RGB image (H, W, 3), uint8.

        Images narrower than 32 pixels are continued at their lower and right edges. Raises ValueError for other arrays.
        """
        padded_HW3 = _padded(image_HW3)
        height, width = image_HW3.shape[:2]
        return self._mask(padded_HW3)[:height, :width]

    def predict_with_confidence(self, image_HW3: np.ndarray[Any, Any]) -> tuple[ImageArray, ShareArray]:
        """The mask of `predict`, and in every pixel (H, W) the share, 0..1, that the engine gives the mask's class.

        The share is the softmax of the logits, over several views their mean, over tiles what is blended of them.
        """
        mask_HW, confidence_HW = self._mask_and_confidence(_padded(image_HW3))
        height, width = image_HW3.shape[:2]
        return mask_HW[:height, :width], confidence_HW[:height, :width]

    def confidence(self, image_HW3: ImageArray) -> float:
        """How sure the network is of what it sees in the middle of an image, 0 to 1.

        That is the share of the class with the largest one, as a mean over one of 16 pixels; one view, as it is.
        """
        (height, width), (rows, columns) = image_HW3.shape[:2], CONFIDENCE_PX
        top, left = max(0, height - rows) // 2, max(0, width - columns) // 2
        middle_HW3 = image_HW3[top : top + rows, left : left + columns]
        seen = middle_HW3.shape
        missing = ((0, rows - seen[0]), (0, columns - seen[1]), (0, 0))
        padded_HW3 = np.ascontiguousarray(np.pad(middle_HW3, missing, mode="edge"))
        logits_Khw = self.engine.logits(padded_HW3, is_rare=True)[:, : seen[0] : 4, : seen[1] : 4]
        largest_hw = 1 / np.exp(logits_Khw - logits_Khw.max(0)).sum(0)
        return float(largest_hw.mean())

    def _mask(self, image_HW3: ImageArray) -> ImageArray:
        if self.tiles is not None and self.tiles.is_needed(*image_HW3.shape[:2]):
            return self.tiles.mask(self._shares, image_HW3)
        if self.views.is_one:
            return self.engine.mask(image_HW3)
        return np.asarray(self._shares(image_HW3).argmax(0), np.uint8)

    def _mask_and_confidence(self, image_HW3: ImageArray) -> tuple[ImageArray, ShareArray]:
        if self.tiles is not None and self.tiles.is_needed(*image_HW3.shape[:2]):
            return self.tiles.mask_and_confidence(self._shares, image_HW3)
        if not self.views.is_one:
            shares_KHW = self._shares(image_HW3)
            return np.asarray(shares_KHW.argmax(0), np.uint8), shares_KHW.max(0)
        mask_HW, logits_KHW = self.engine.mask_and_logits(image_HW3)
        chosen_1HW = torch.from_numpy(mask_HW).long()[None]
        return mask_HW, torch.from_numpy(logits_KHW).softmax(0).gather(0, chosen_1HW)[0].numpy()

    def _shares(self, image_HW3: ImageArray) -> LogitArray:
        image_13HW = torch.tensor(np.ascontiguousarray(image_HW3)).permute(2, 0, 1)[None]
        return np.asarray(self.views.shares(self._logits, image_13HW)[0].numpy())

    def _logits(self, image_13HW: torch.Tensor) -> torch.Tensor:
        image_HW3 = np.ascontiguousarray(image_13HW[0].permute(1, 2, 0).numpy())
        return torch.from_numpy(self.engine.logits(image_HW3))[None]


def _padded(image_HW3: np.ndarray[Any, Any]) -> ImageArray:
    """The image, continued at its lower and right edges to what the network needs. Raises ValueError if it is none."""
    if image_HW3.dtype != np.uint8 or image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or 0 in image_HW3.shape:
        raise ValueError(f"expected a uint8 image (H, W, 3), found {image_HW3.dtype} {image_HW3.shape}")
    missing = [max(0, MIN_SIDE_PX - side) for side in image_HW3.shape[:2]]
    if not any(missing):
        return image_HW3
    return np.pad(image_HW3, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")


def load_model(version: Version) -> tuple[SegmentationModel, LabelSpace]:
    """The network of a published version with its weights, and what its classes mean.

    Raises StoreError if its files cannot be had, DamagedError if they are not what its card says.
    """
    card = version.card()
    weights = version.get(WEIGHTS_FILE)
    try:
        spec = ModelSpec.parse(card["model"] | {"weights": "none"}, origin=f"{version.uri}/card.json: model")
        label_space = LabelSpace.from_json(card["label_space"])
        mean, std = card_scale(card)
    except KeyError as error:
        raise DamagedError(f"{version.uri}/card.json: has no {error.args[0]}; publish the version anew") from None
    model = build_model(spec, num_classes=label_space.num_classes, channel_mean=mean, channel_std=std)
    try:
        model.load_state_dict(safetensors.torch.load(weights))
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise DamagedError(
            f"{version.uri}/{WEIGHTS_FILE}: is not the model that card.json describes ({error}); "
            f"publish the version anew"
        ) from None
    return model, label_space
