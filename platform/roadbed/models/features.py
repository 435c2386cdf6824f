"""What a backbone hands to the heads, and what it tells about itself.

Shapes: B batch, C channels, h and w the images' size over the stride, rounded up.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch

LOW_STRIDE = 4


class Features(NamedTuple):
    """Features at stride 4, for the decoder; one stage before the last, for the auxiliary head; and the deepest ones.

    The last two are at the output stride.
    """

    low_BChw: torch.Tensor
    middle_BChw: torch.Tensor
    high_BChw: torch.Tensor


class FeatureChannels(NamedTuple):
    """C of each of the `Features`."""

    low: int
    middle: int
    high: int


class Backbone(Protocol):
    """A module from normalised images (B, 3, H, W) to `Features`, of whose channels heads are made."""

    channels: FeatureChannels
