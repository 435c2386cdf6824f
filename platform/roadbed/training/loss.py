"""Losses over ignored pixels and uneven shares, as sums that any number of workers can add up.

Cross entropy is a sum over pixels, divided by the class weights of all labelled pixels of the global batch. What is no
sum over pixels (the hardest pixels alone, Dice, Lovász) is defined of a frame, and the mean is taken over the labelled
frames of the global batch. Both divisors depend on the masks alone, so workers agree on them before any gradient.

K classes, B samples, H x W pixels, P labelled pixels of one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from roadbed.spec import LossSpec

CountArray = np.ndarray[Any, np.dtype[np.int64]]


class Divisors(NamedTuple):
    """What sums over a batch are divided by: the class weights of its labelled pixels, and how many frames have any."""

    pixel_weight: float
    frames: float


class Loss:
    """The weighted sum of a `loss` section. `weights_K` are the class weights, on the device of the logits."""

    def __init__(self, spec: LossSpec, weights_K: torch.Tensor, *, ignore_id: int) -> None:
        self._spec = spec
        self._weights_K = weights_K
        self._cpu_weights_K = weights_K.cpu().double()  # once: each step would have to wait for the device
        self._ignore_id = ignore_id

    def divisors(self, masks_BHW: torch.Tensor) -> Divisors:
        """Those of these masks (uint8, on the CPU); those of a global batch are the sums over its shares."""
        counts_BN = torch.stack(
            [torch.bincount(mask.flatten(), minlength=self._ignore_id + 1) for mask in masks_BHW.int()]
            or [torch.zeros(self._ignore_id + 1, dtype=torch.int64)]
        )[:, : len(self._weights_K)]
        weight = (counts_BN.double() * self._cpu_weights_K).sum()
        return Divisors(float(weight), float((counts_BN.sum(1) > 0).sum()))

    def of_outputs(self, outputs: Sequence[torch.Tensor], masks_BHW: torch.Tensor, divisors: Divisors) -> torch.Tensor:
        """That of the head's logits and, with its own weight, of the auxiliary head's, if there are two outputs."""
        head, *auxiliary = (self(logits_BKHW, masks_BHW, divisors) for logits_BKHW in outputs)
        return head + self._spec.auxiliary * auxiliary[0] if auxiliary else head

    def __call__(self, logits_BKHW: torch.Tensor, masks_BHW: torch.Tensor, divisors: Divisors) -> torch.Tensor:
        """The part of these samples (a scalar) in the mean loss of the global batch whose `divisors` are given."""
        spec, logits_BKHW = self._spec, logits_BKHW.float()
        total = logits_BKHW.new_zeros(())
        if spec.cross_entropy:
            total = total + spec.cross_entropy * self._cross_entropy(logits_BKHW, masks_BHW, divisors)
        if spec.dice or spec.lovasz:
            for logits_KHW, mask_HW in zip(logits_BKHW, masks_BHW, strict=True):
                part = self._of_frame(logits_KHW, mask_HW)
                total = total + part / max(divisors.frames, 1.0)
        return total

    def _cross_entropy(self, logits_BKHW: torch.Tensor, masks_BHW: torch.Tensor, divisors: Divisors) -> torch.Tensor:
        is_whole = self._spec.hardest_share == 1.0
        losses = functional.cross_entropy(
            logits_BKHW,
            masks_BHW.long(),
            weight=self._weights_K,
            ignore_index=self._ignore_id,
            label_smoothing=self._spec.label_smoothing,
            reduction="sum" if is_whole else "none",
        )
        if is_whole:
            return losses / max(divisors.pixel_weight, 1e-12)
        means = [
            hardest_mean(loss_HW[mask_HW != self._ignore_id], self._spec.hardest_share)
            for loss_HW, mask_HW in zip(losses, masks_BHW, strict=True)
        ]
        return torch.stack(means).sum() / max(divisors.frames, 1.0)

    def _of_frame(self, logits_KHW: torch.Tensor, mask_HW: torch.Tensor) -> torch.Tensor:
        labelled_HW = mask_HW != self._ignore_id
        shares_KP = logits_KHW[:, labelled_HW].softmax(0)
        labels_P = mask_HW[labelled_HW].long()
        part = shares_KP.new_zeros(()) + 0.0 * logits_KHW.sum()
        if not len(labels_P):
            return part
        if self._spec.dice:
            part = part + self._spec.dice * dice_loss(shares_KP, labels_P)
        if self._spec.lovasz:
            part = part + self._spec.lovasz * lovasz_loss(shares_KP, labels_P)
        return part


def class_weights(class_pixels: CountArray, *, balance: float) -> torch.Tensor:
    """A weight per class, (share of labelled pixels) ** -balance, scaled so that the mean pixel weighs 1.

    A class without pixels weighs 0: no pixel of it can come, and it must not bend the scale.
    """
    pixels = torch.tensor(class_pixels, dtype=torch.float64)
    shares = pixels / pixels.sum()
    weights = torch.where(shares > 0, shares.clamp_min(1e-12) ** -balance, 0.0)
    return (weights / (weights * shares).sum()).float()


def hardest_mean(losses_P: torch.Tensor, share: float) -> torch.Tensor:
    """The mean of that share of the losses, the largest, at least one; 0 of none.

    Source: Shrivastava et al., online hard example mining (arXiv:1604.03540), by pixels.
    """
    if not len(losses_P):
        return losses_P.sum()
    hardest, _ = losses_P.topk(max(1, round(share * len(losses_P))), sorted=False)
    return hardest.mean()


def dice_loss(shares_KP: torch.Tensor, labels_P: torch.Tensor) -> torch.Tensor:
    """1 - Dice of soft predictions (they add up to 1 over the classes), the mean over the classes that are there.

    Source: Milletari et al., V-Net (arXiv:1606.04797), with plain sums in the denominator.
    """
    truth_KP = _one_hot(labels_P, len(shares_KP))
    common_K = (shares_KP * truth_KP).sum(1)
    truth_K = truth_KP.sum(1)
    dice_K = 2 * common_K / (shares_KP.sum(1) + truth_K)
    return (1 - dice_K)[truth_K > 0].mean()


def lovasz_loss(shares_KP: torch.Tensor, labels_P: torch.Tensor) -> torch.Tensor:
    """The Lovász extension of 1 - IoU at the errors of soft predictions, the mean over the classes that are there.

    Source: Berman et al., The Lovász-Softmax loss (arXiv:1705.08790), algorithm 1.
    """
    truth_KP = _one_hot(labels_P, len(shares_KP))
    is_there_K = truth_KP.any(1)
    truth_KP, shares_KP = truth_KP[is_there_K], shares_KP[is_there_K]
    errors_KP = (truth_KP - shares_KP).abs()
    return (errors_KP * _iou_steps(errors_KP.detach(), truth_KP)).sum(1).mean()


@torch.no_grad()
def _iou_steps(errors_KP: torch.Tensor, truth_KP: torch.Tensor) -> torch.Tensor:
    """How much 1 - IoU grows as each pixel, in falling order of the errors, becomes wrong."""
    # Floats from 0 on are ordered as their bits are. Whole numbers, row by row in rising order, are sorted by radix on
    # a CPU, which takes a quarter of the time; the sorting is most of this loss.
    bits_KP = errors_KP.float().view(torch.int32)
    order_KP = torch.stack([bits_P.neg().argsort() for bits_P in bits_KP])
    hits_KP = truth_KP.gather(1, order_KP).cumsum(1)
    truth_K1 = hits_KP[:, -1:]
    places_P = torch.arange(1, hits_KP.shape[1] + 1, device=hits_KP.device, dtype=hits_KP.dtype)
    # IoU loss of the predictions in which the pixels up to each place are wrong.
    losses_KP = 1 - (truth_K1 - hits_KP) / (truth_K1 + places_P - hits_KP)
    steps_KP = losses_KP.diff(dim=1, prepend=losses_KP.new_zeros((len(losses_KP), 1)))
    return torch.empty_like(steps_KP).scatter_(1, order_KP, steps_KP)


def _one_hot(labels_P: torch.Tensor, num_classes: int) -> torch.Tensor:
    return functional.one_hot(labels_P, num_classes).T.float()
