"""Predictions over several views of a frame."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from roadbed.inference.views import Views


class Colors(nn.Module):
    """Three classes, a pixel's logits are its colours: as good as a model that sees every pixel alone."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """The images in float."""
        self.seen.append(tuple(images_B3HW.shape))
        return images_B3HW.float() / 50


def stripes() -> torch.Tensor:
    """Three vertical stripes of 16, 32 and 16 pixels, each of one primary colour."""
    image_3HW = torch.zeros(3, 64, 64, dtype=torch.uint8)
    for channel, columns in enumerate((slice(0, 16), slice(16, 48), slice(48, 64))):
        image_3HW[channel, :, columns] = 200
    return image_3HW[None]


def test_one_view_is_the_models_own_logits() -> None:
    torch.testing.assert_close(Views((1.0,), False).predict(Colors(), stripes()), stripes().float() / 50)


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0), (0.75, 1.0, 1.5)])
@pytest.mark.parametrize("is_flipped_too", [True, False])
def test_views_lie_on_one_another(scales: tuple[float, ...], is_flipped_too: bool) -> None:
    """A mirrored view that is not mirrored back, or a scaled one that is shifted, would blur or move the stripes."""
    model = Colors()
    found_BKHW = Views(scales, is_flipped_too).predict(model, stripes())
    assert found_BKHW.shape == (1, 3, 64, 64)
    assert torch.equal(found_BKHW.argmax(1), stripes().argmax(1))
    assert [shape[-1] for shape in model.seen] == [
        round(64 * scale) for scale in scales for _ in range(1 + is_flipped_too)
    ]
    if scales != (1.0,) or is_flipped_too:
        torch.testing.assert_close(found_BKHW.sum(1), torch.ones(1, 64, 64))


def test_the_mean_is_of_shares() -> None:
    class Sides(nn.Module):
        """Sure of class 0 on the left of what it is given, less sure of class 1 on the right."""

        def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(1, 2, *images_B3HW.shape[-2:])
            logits[:, 0, :, :32], logits[:, 1, :, 32:] = 4.0, 1.0
            return logits

    shares = Views((1.0,), True).predict(Sides(), stripes())
    sure, unsure = torch.tensor([4.0, 0.0]).softmax(0), torch.tensor([0.0, 1.0]).softmax(0)
    torch.testing.assert_close(shares[0, :, 0, 0], (sure + unsure) / 2)
    torch.testing.assert_close(shares[0, :, 0, 63], (sure + unsure) / 2)
