"""Loss, class weights and schedule against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from roadbed.training.loss import class_weights, pixel_weight, summed_cross_entropy
from roadbed.training.schedule import rate_factor


def test_weights_weigh_the_mean_pixel_one() -> None:
    pixels = np.array([900, 90, 10, 0])
    weights_K = class_weights(pixels, balance=0.5)
    assert weights_K[3] == 0
    assert float((weights_K * torch.tensor(pixels / pixels.sum())).sum()) == pytest.approx(1.0)
    assert float(weights_K[2] / weights_K[0]) == pytest.approx((900 / 10) ** 0.5)


def test_no_balance_weighs_classes_alike() -> None:
    assert class_weights(np.array([5, 1]), balance=0.0).tolist() == [1.0, 1.0]


def test_shares_add_up_to_the_mean_over_the_whole_batch() -> None:
    """Two uneven shares, divided by the weight of both, give what one process gives."""
    generator = torch.Generator().manual_seed(0)
    logits_BKHW = torch.randn(3, 4, 5, 6, generator=generator)
    masks_BHW = torch.randint(0, 4, (3, 5, 6), generator=generator, dtype=torch.uint8)
    masks_BHW[0, :2] = 255
    weights_K = torch.tensor([1.0, 2.0, 0.5, 3.0])
    whole = torch.nn.functional.cross_entropy(logits_BKHW, masks_BHW.long(), weight=weights_K, ignore_index=255)
    total_weight = pixel_weight(masks_BHW, weights_K, ignore_id=255)
    parts = [
        summed_cross_entropy(logits_BKHW[share], masks_BHW[share], weights_K, ignore_id=255) / total_weight
        for share in (slice(0, 1), slice(1, 3))
    ]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-6)


def test_ignored_pixels_weigh_nothing() -> None:
    masks_BHW = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    assert pixel_weight(masks_BHW, torch.ones(3), ignore_id=255) == 0.0


def test_the_rate_rises_linearly_then_falls_to_zero() -> None:
    factors = [rate_factor(step, num_steps=100, warmup_share=0.1, poly_power=0.9) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5**0.9)
    assert factors[100] == 0.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
