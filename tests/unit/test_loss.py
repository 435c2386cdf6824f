"""Losses, class weights and schedule against figures worked out by hand, and shares against the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from roadbed.errors import UsageError
from roadbed.spec import LossSpec, TrainSpec
from roadbed.training.loss import Loss, class_weights, dice_loss, hardest_mean, lovasz_loss
from roadbed.training.schedule import rate_factor

IGNORE_ID = 255
WEIGHTS_K = torch.tensor([1.0, 2.0, 0.5, 3.0])


def test_weights_weigh_the_mean_pixel_one() -> None:
    pixels = np.array([900, 90, 10, 0])
    weights_K = class_weights(pixels, balance=0.5)
    assert weights_K[3] == 0
    assert float((weights_K * torch.tensor(pixels / pixels.sum())).sum()) == pytest.approx(1.0)
    assert float(weights_K[2] / weights_K[0]) == pytest.approx((900 / 10) ** 0.5)


def test_no_balance_weighs_classes_alike() -> None:
    assert class_weights(np.array([5, 1]), balance=0.0).tolist() == [1.0, 1.0]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and masks of which the last frame is not labelled at all."""
    generator = torch.Generator().manual_seed(0)
    logits_BKHW = torch.randn(4, 4, 5, 6, generator=generator)
    masks_BHW = torch.randint(0, 4, (4, 5, 6), generator=generator, dtype=torch.uint8)
    masks_BHW[0, :2] = IGNORE_ID
    masks_BHW[3] = IGNORE_ID
    return logits_BKHW, masks_BHW


SPECS = {
    "cross entropy": LossSpec(),
    "smooth": LossSpec(label_smoothing=0.1),
    "hardest": LossSpec(hardest_share=0.3),
    "dice": LossSpec(cross_entropy=0, dice=1),
    "lovasz": LossSpec(cross_entropy=0, lovasz=1),
    "all": LossSpec(cross_entropy=0.5, dice=0.3, lovasz=0.7, label_smoothing=0.05, hardest_share=0.5),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_uneven_shares_add_up_to_the_loss_and_gradient_of_the_whole(name: str, cut: int) -> None:
    loss = Loss(SPECS[name], WEIGHTS_K, ignore_id=IGNORE_ID)
    logits_BKHW, masks_BHW = batch()
    shares = (slice(0, cut), slice(cut, 4))
    divisors = loss.divisors(masks_BHW)
    parts = [loss.divisors(masks_BHW[share]) for share in shares]
    assert [sum(pair) for pair in zip(*parts, strict=True)] == pytest.approx(list(divisors))
    assert divisors.frames == 3
    found = []
    for pieces in ((slice(0, 4),), shares):
        logits = logits_BKHW.clone().requires_grad_()
        total = sum(loss(logits[piece], masks_BHW[piece], divisors) for piece in pieces)
        assert isinstance(total, torch.Tensor)
        total.backward()  # type: ignore[no-untyped-call]
        found.append((total.detach(), logits.grad))
    torch.testing.assert_close(found[0], found[1])
    assert found[0][1] is not None
    assert not found[0][1][3].any(), "a frame without labels has no gradient"


def test_cross_entropy_is_torchs_mean() -> None:
    logits_BKHW, masks_BHW = batch()
    for smoothing in (0.0, 0.2):
        loss = Loss(LossSpec(label_smoothing=smoothing), WEIGHTS_K, ignore_id=IGNORE_ID)
        expected = functional.cross_entropy(
            logits_BKHW, masks_BHW.long(), weight=WEIGHTS_K, ignore_index=IGNORE_ID, label_smoothing=smoothing
        )
        torch.testing.assert_close(loss(logits_BKHW, masks_BHW, loss.divisors(masks_BHW)), expected)


def test_the_auxiliary_head_has_a_weight_of_its_own() -> None:
    logits_BKHW, masks_BHW = batch()
    loss = Loss(LossSpec(auxiliary=0.25), WEIGHTS_K, ignore_id=IGNORE_ID)
    divisors = loss.divisors(masks_BHW)
    head, auxiliary = (loss(logits, masks_BHW, divisors) for logits in (logits_BKHW, logits_BKHW.flip(1)))
    torch.testing.assert_close(
        loss.of_outputs((logits_BKHW, logits_BKHW.flip(1)), masks_BHW, divisors), head + 0.25 * auxiliary
    )
    torch.testing.assert_close(loss.of_outputs((logits_BKHW,), masks_BHW, divisors), head)


def test_the_hardest_pixels_count_and_no_others() -> None:
    assert float(hardest_mean(torch.tensor([1.0, 5.0, 2.0, 4.0]), 0.5)) == 4.5
    assert float(hardest_mean(torch.tensor([1.0, 5.0]), 0.01)) == 5.0
    assert float(hardest_mean(torch.tensor([]), 0.5)) == 0.0


def hard(predicted: list[int], num_classes: int) -> torch.Tensor:
    return functional.one_hot(torch.tensor(predicted), num_classes).T.float()


def test_dice_by_hand() -> None:
    """Class 0: 2*2/(3+2), class 1: 2*1/(1+2); class 2 is not there."""
    found = dice_loss(hard([0, 0, 0, 1], 3), torch.tensor([0, 0, 1, 1]))
    assert float(found) == pytest.approx(1 - (4 / 5 + 2 / 3) / 2)
    assert float(dice_loss(hard([0, 1, 2], 3), torch.tensor([0, 1, 2]))) == 0.0


@pytest.mark.parametrize("predicted", list(itertools.product(range(3), repeat=4)))
def test_lovasz_of_hard_predictions_is_one_minus_iou(predicted: tuple[int, ...]) -> None:
    """What makes it an extension: at the corners it is the very thing that is scored."""
    truth = torch.tensor([0, 0, 1, 2])
    guesses = torch.tensor(predicted)
    ious = [float(((guesses == c) & (truth == c)).sum() / ((guesses == c) | (truth == c)).sum()) for c in range(3)]
    assert float(lovasz_loss(hard(list(predicted), 3), truth)) == pytest.approx(1 - sum(ious) / 3, abs=1e-6)


@pytest.mark.parametrize("name", SPECS)
def test_every_loss_falls_when_it_is_followed(name: str) -> None:
    loss = Loss(SPECS[name], WEIGHTS_K, ignore_id=IGNORE_ID)
    logits_BKHW, masks_BHW = batch()
    logits_BKHW.requires_grad_()
    optimizer = torch.optim.Adam([logits_BKHW], lr=0.3)
    divisors = loss.divisors(masks_BHW)
    first = float(loss(logits_BKHW, masks_BHW, divisors).detach())
    for _ in range(40):
        optimizer.zero_grad()
        loss(logits_BKHW, masks_BHW, divisors).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss(logits_BKHW, masks_BHW, divisors).detach()) < 0.5 * first
    labelled = masks_BHW != IGNORE_ID
    assert (logits_BKHW.argmax(1)[labelled] == masks_BHW[labelled]).float().mean() > 0.9


def test_a_batch_without_labels_is_no_division_by_zero() -> None:
    masks_BHW = torch.full((1, 4, 4), IGNORE_ID, dtype=torch.uint8)
    for spec in SPECS.values():
        loss = Loss(spec, WEIGHTS_K, ignore_id=IGNORE_ID)
        assert loss.divisors(masks_BHW) == (0.0, 0.0)
        logits = torch.randn(1, 4, 4, 4, requires_grad=True)
        found = loss(logits, masks_BHW, loss.divisors(masks_BHW))
        found.backward()  # type: ignore[no-untyped-call]
        assert float(found.detach()) == 0.0
        assert logits.grad is not None
    assert Loss(LossSpec(), WEIGHTS_K, ignore_id=IGNORE_ID).divisors(masks_BHW[:0]) == (0.0, 0.0)


def test_nothing_to_minimise_is_refused() -> None:
    with pytest.raises(UsageError, match="all 0; give one of them a weight"):
        LossSpec.parse({"cross_entropy": 0}, origin="job.yaml")


def test_the_rate_rises_linearly_then_falls_to_zero() -> None:
    spec = TrainSpec(warmup_share=0.1, poly_power=0.9)
    factors = [rate_factor(step, spec, num_steps=100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5**0.9)
    assert factors[100] == 0.0
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_the_cosine_falls_slowly_at_both_ends() -> None:
    spec = TrainSpec(warmup_share=0.1, schedule="cosine")
    factors = [rate_factor(step, spec, num_steps=100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)
    assert factors[10] - factors[15] < factors[50] - factors[55] > factors[95] - factors[100]
