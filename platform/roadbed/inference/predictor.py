"""Whole images to masks of their own size, with a model in memory or a version of the registry."""

from __future__ import annotations

from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch.nn import functional

from roadbed.data.labels import LabelSpace
from roadbed.errors import DamagedError
from roadbed.inference.images import ImageArray, read_image
from roadbed.inference.views import MIN_SIDE_PX, ONE_VIEW, Views
from roadbed.models import SegmentationModel, build_model
from roadbed.models.weights import WEIGHTS_FILE, card_scale
from roadbed.registry import Version
from roadbed.spec import ModelSpec

__all__ = ["Predictor", "read_image"]


class Predictor:
    """A model in evaluation mode with the meaning of its classes.

    `model` is moved to `device` and left in evaluation mode. `views` are what it sees of each image.
    """

    def __init__(
        self,
        model: SegmentationModel,
        label_space: LabelSpace,
        *,
        device: str | torch.device = "cpu",
        views: Views = ONE_VIEW,
    ) -> None:
        if model.num_classes != label_space.num_classes:
            raise ValueError(f"the model has {model.num_classes} classes, {label_space.name} {label_space.num_classes}")
        self.model = model.to(device).eval()
        self.label_space = label_space
        self.device = torch.device(device)
        self.views = views

    @classmethod
    def load(cls, version: Version, *, device: str | torch.device = "cpu", views: Views | None = None) -> Predictor:
        """The predictor of a published version, without `views` with those that it was scored with.

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
        return cls(model, label_space, device=device, views=Views.of_card(card) if views is None else views)

    @torch.inference_mode()
    def predict(self, image_HW3: np.ndarray[Any, Any]) -> ImageArray:
        """The mask (H, W) of class ids, uint8, of an RGB image (H, W, 3), uint8.

        Images narrower than 32 pixels are continued at their lower and right edges. Raises ValueError for other arrays.
        """
        if image_HW3.dtype != np.uint8 or image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or 0 in image_HW3.shape:
            raise ValueError(f"expected a uint8 image (H, W, 3), found {image_HW3.dtype} {image_HW3.shape}")
        height, width = image_HW3.shape[:2]
        image_13HW = torch.tensor(image_HW3, device=self.device).permute(2, 0, 1)[None]
        missing = (0, max(0, MIN_SIDE_PX - width), 0, max(0, MIN_SIDE_PX - height))
        if any(missing):
            image_13HW = functional.pad(image_13HW.float(), missing, mode="replicate")
        mask_HW = self.views.predict(self.model, image_13HW)[0, :, :height, :width].argmax(0)
        return np.asarray(mask_HW.to(torch.uint8).cpu().numpy())
