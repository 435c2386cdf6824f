"""A frame looked at several times, at several sizes and mirrored, and the mean of what was seen.

Shapes: B batch, K classes, H and W pixels of the frames, h and w of logits that have another size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.nn import functional

from roadbed.errors import UsageError

MIN_SIDE_PX = 32
MIN_SCALE, MAX_SCALE = 0.25, 4.0

Model = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Views:
    """The frame at each of `scales` (over its own size), and with `is_flipped_too` each of these also mirrored.

    Source: Chen et al., DeepLab (arXiv:1606.00915), section 4.1, multi-scale inputs.
    """

    scales: Sequence[float] = (1.0,)
    is_flipped_too: bool = False

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Self:
        """Those with which a version was scored."""
        train = card.get("spec", {}).get("train", {})
        return cls(tuple(train.get("eval_scales", (1.0,))), bool(train.get("eval_flip", False)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of scales with commas between them, and perhaps "flip", as in 0.75,1,1.25,flip. Raises UsageError."""
        words = [word.strip() for word in text.split(",")]
        scales = [word for word in words if word != "flip"]
        try:
            found = tuple(float(word) for word in scales) or (1.0,)
        except ValueError:
            found = ()
        if not found or not all(MIN_SCALE <= scale <= MAX_SCALE for scale in found) or words.count("flip") > 1:
            raise UsageError(
                f"{text!r} are no views; write sizes over the frame's own, {MIN_SCALE:g} to {MAX_SCALE:g}, with commas "
                'between them, and "flip" for the mirrored ones too, as in 0.75,1,1.25,flip'
            )
        return cls(found, "flip" in words)

    @property
    def words(self) -> str:
        """What `parse` takes."""
        return ",".join([*(f"{scale:g}" for scale in self.scales), *["flip"] * self.is_flipped_too])

    @property
    def is_one(self) -> bool:
        """Whether there is only the frame as it is."""
        return tuple(self.scales) == (1.0,) and not self.is_flipped_too

    def predict(self, model: Model, images_B3HW: torch.Tensor) -> torch.Tensor:
        """What the largest of its classes is the prediction, (B, K, H, W): logits, or the mean shares of the views."""
        if self.is_one:
            logits_BKHW: torch.Tensor = model(images_B3HW)
            return logits_BKHW
        return self.shares(model, images_B3HW)

    def shares(self, model: Model, images_B3HW: torch.Tensor) -> torch.Tensor:
        """The mean over the views of every class's share in every pixel, (B, K, H, W)."""
        size_HW = images_B3HW.shape[-2:]
        views = []
        for scale in self.scales:
            scaled = images_B3HW if scale == 1.0 else _resized(images_B3HW, scale)
            views.append(_shares(model(scaled), size_HW))
            if self.is_flipped_too:
                views.append(_shares(model(scaled.flip(-1)).flip(-1), size_HW))
        return torch.stack(views).mean(0)


ONE_VIEW = Views()


def _resized(images_B3HW: torch.Tensor, scale: float) -> torch.Tensor:
    """In whole grey levels, as a picture of that size would be: engines take bytes."""
    size_hw = [max(MIN_SIDE_PX, round(scale * side)) for side in images_B3HW.shape[-2:]]
    resized = functional.interpolate(images_B3HW.float(), size_hw, mode="bilinear", align_corners=False, antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def _shares(logits_BKhw: torch.Tensor, size_HW: torch.Size) -> torch.Tensor:
    logits_BKHW = logits_BKhw.float()
    if logits_BKhw.shape[-2:] != size_HW:
        logits_BKHW = functional.interpolate(logits_BKHW, size_HW, mode="bilinear", align_corners=False)
    return logits_BKHW.softmax(1)
