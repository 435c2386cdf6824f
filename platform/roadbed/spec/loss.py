"""The `loss` section: what is minimised, as a weighted sum."""

from __future__ import annotations

from pydantic import Field, model_validator

from roadbed.spec.base import Section


class LossSpec(Section):
    """Weights of the parts, and how cross entropy weighs pixels."""

    cross_entropy: float = Field(1.0, ge=0, description="weight of the cross entropy of the pixels")
    dice: float = Field(0.0, ge=0, description="weight of 1 - Dice, the mean over the classes of each frame")
    lovasz: float = Field(0.0, ge=0, description="weight of Lovász-softmax, which stands for 1 - IoU, of each frame")
    class_balance: float = Field(
        0.5, ge=0, le=1, description="class weights are (pixel share) ** -class_balance; 0 weighs all classes alike"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each label that cross entropy spreads over all classes"
    )
    hardest_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of each frame's pixels, those of the largest cross entropy, that count (OHEM)",
    )
    auxiliary: float = Field(
        0.4, ge=0, description="weight of the same loss of the auxiliary head, where model.auxiliary_head asks for one"
    )

    @model_validator(mode="after")
    def _something_is_minimised(self) -> LossSpec:
        if not self.cross_entropy + self.dice + self.lovasz:
            raise ValueError("loss: cross_entropy, dice and lovasz are all 0; give one of them a weight")
        return self
