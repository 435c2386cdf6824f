"""A crop of a random part that is not all road: RandomResizedCrop, drawn again while one class prevails.

Imports albumentations, which takes a second: import it where it is used.
"""

from __future__ import annotations

from typing import Annotated, Any

import albumentations
import cv2
from pydantic import Field

from roadbed.data.fused import CROP_DRAWS, is_prevailed

__all__ = ["BalancedCrop"]


class BalancedCrop(albumentations.RandomResizedCrop):  # type: ignore[misc]
    """Draws up to ten crops, and takes the first in which no class has more than `max_share` of the labelled pixels.

    The last one is taken if there is none. Source: the `cat_max_ratio` that the DeepLab recipes of mmsegmentation use.
    """

    class InitSchema(albumentations.RandomResizedCrop.InitSchema):  # type: ignore[misc]
        """What albumentations checks."""

        max_share: Annotated[float, Field(gt=0, le=1)]
        ignore_id: Annotated[int, Field(ge=0, le=255)]

    def __init__(
        self,
        size: tuple[int, int],
        max_share: float,
        ignore_id: int = 255,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (0.75, 4 / 3),
        interpolation: int = cv2.INTER_LINEAR,
        mask_interpolation: int = cv2.INTER_NEAREST,
        area_for_downscale: None = None,
        p: float = 1.0,
    ) -> None:
        super().__init__(size, scale, ratio, interpolation, mask_interpolation, area_for_downscale, p)
        self.max_share = max_share
        self.ignore_id = ignore_id

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Where to crop, by the mask of the frame."""
        for _ in range(CROP_DRAWS):
            drawn: dict[str, Any] = super().get_params_dependent_on_data(params, data)
            if not is_prevailed(data["mask"], drawn["crop_coords"], max_share=self.max_share, ignore_id=self.ignore_id):
                break
        return drawn
