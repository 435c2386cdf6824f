"""The `data` section: which dataset, which splits, and how frames are cropped and augmented."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from roadbed.spec.base import Section, StoreUri

Side = Annotated[int, Field(ge=32, le=8192)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class DataSpec(Section):
    """Where samples come from and what happens to them on the way to the model."""

    uri: StoreUri = Field(description="prefix of a prepared dataset, s3://BUCKET/PREFIX or file:///FOLDER")
    train_split: str = Field("train", description="split to train on")
    eval_split: str = Field("val", description="split to evaluate on after epochs")
    crop_px: tuple[Side, Side] = Field((240, 320), description="height and width of training crops, pixels")
    crop_area: tuple[Share, Share] = Field(
        (0.25, 1.0), description="smallest and largest share of a frame's area that a crop takes before it is resized"
    )
    crop_max_share: Share = Field(
        1.0,
        description="crops are drawn again, up to ten times, while one class has more than this share of them",
    )
    flip_probability: Probability = Field(0.5, description="how often a crop is mirrored left to right")
    color_probability: Probability = Field(0.5, description="how often brightness, contrast and colours are changed")
    color_strength: float = Field(
        0.3, ge=0, le=1, description="by which share of itself each may change; hue by a tenth of that share of a turn"
    )
    weather_probability: Probability = Field(0.0, description="how often it rains, or a shadow or the sun falls in")
    camera_probability: Probability = Field(0.0, description="how often a frame is blurred, noisy or compressed")
    paste_probability: Probability = Field(
        0.0, description="how often a crop gets the rare classes of another frame's crop, pixel upon pixel"
    )
    paste_share: Share = Field(
        0.02, description="classes are rare that have less than this share of the labelled pixels"
    )
    window_shards: int = Field(4, ge=1, description="samples are shuffled within windows of so many (shuffled) shards")
    prefetch_batches: int = Field(4, ge=1, le=64, description="batches decoded ahead of the training step")
    cache_mb: int = Field(
        10_000, ge=0, description="shards of s3:// kept on each machine's disk for all its workers, megabytes; 0: none"
    )
    memory_mb: int = Field(1024, ge=16, description="shards kept in a worker's memory, megabytes")
    on_damaged: Literal["fail", "skip"] = Field(
        "fail", description="a sample that is not what the index says: end the run, or skip it, count it and go on"
    )

    @model_validator(mode="after")
    def _area_is_ordered(self) -> DataSpec:
        if self.crop_area[0] > self.crop_area[1]:
            raise ValueError(f"data.crop_area: the smaller share comes first, found {list(self.crop_area)}")
        return self
