"""The `train` section: length, batch, optimiser, schedule, precision, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from roadbed.spec.base import Section

Scale = Annotated[float, Field(ge=0.25, le=4)]


class TrainSpec(Section):
    """How the weights are fitted."""

    epochs: int = Field(10, ge=1, description="passes over the training split")
    global_batch: int = Field(8, ge=1, description="samples per optimiser step, summed over all workers")
    micro_batch: int = Field(8, ge=1, description="most samples that one worker holds at once; more are accumulated")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="adamw, or sgd with Nesterov momentum 0.9")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of the head")
    backbone_rate_factor: float = Field(
        0.3, ge=0, le=1, description="learning rate of the backbone over that of the head"
    )
    first_layer_rate_factor: float = Field(
        1.0, gt=0, le=1, description="rate of the backbone's first layers over that of its last; even steps between"
    )
    weight_decay: float = Field(1e-2, ge=0, description="decay of weights (biases and norms have none)")
    warmup_share: float = Field(0.05, ge=0, lt=1, description="share of all steps in which the rate rises linearly")
    schedule: Literal["poly", "cosine"] = Field("poly", description="how the rate falls from its peak to zero")
    poly_power: float = Field(0.9, ge=0, description="of schedule poly: the rate falls as (1 - progress) ** poly_power")
    clip_norm: float = Field(0.0, ge=0, description="largest gradient norm; 0 does not clip")
    explode_factor: float = Field(
        10.0,
        ge=0,
        description="a run ends when its loss is above so many times the median of its recent steps 5 times in a row; "
        "0: only when it is no number",
    )
    ema_decay: float = Field(
        0.99, ge=0, lt=1, description="decay per step of the averaged weights that are kept; 0: none"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 on GPUs, the faster one where a CPU has bf16 instructions"
    )
    compile: bool = Field(
        False, description="let torch.compile make kernels of the network, which takes its time at the start; for GPUs"
    )
    eval_every: int = Field(1, ge=1, description="evaluate after every so many epochs, and after the last")
    eval_scales: tuple[Scale, ...] = Field(
        (1.0,),
        min_length=1,
        description="evaluation takes the mean of the predictions at these sizes over a frame's own",
    )
    eval_flip: bool = Field(False, description="and those of the mirrored frame")
    eval_batch: int = Field(4, ge=1, description="frames per evaluation batch (whole batches go to workers)")
    seed: int = Field(0, ge=0, description="seeds order, augmentation, initial head and dropout")

    @field_validator("explode_factor")
    @classmethod
    def _above_what_varies(cls, factor: float) -> float:
        if 0 < factor < 2:
            raise ValueError("expected 0, or 2 and more: losses of single steps vary by less than that only by luck")
        return factor
