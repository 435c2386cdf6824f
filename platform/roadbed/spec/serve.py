"""The `serve` section: which model answers over HTTP, how it is computed, and within which limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from roadbed.spec.base import Section

MIN_TILE_PX = 64


def _check_tile(sides: tuple[int, int] | None) -> tuple[int, int] | None:
    if sides is not None and min(sides) < MIN_TILE_PX:
        raise ValueError(f"expected height and width of at least {MIN_TILE_PX} pixels")
    return sides


class ReplicasSpec(Section):
    """How many processes answer, and when there are more or fewer of them."""

    min: int = Field(1, ge=0, description="fewest replicas; 0 lets the endpoint sleep while nobody asks")
    max: int = Field(2, ge=1, description="most replicas")
    threads: int = Field(1, ge=1, description="CPU cores, and threads, of each")
    target_requests: float = Field(
        2.0, gt=0, description="requests in work or waiting per replica that the number of replicas aims at"
    )
    upscale_delay_s: float = Field(2.0, ge=0, description="seconds of more load before replicas are added")
    downscale_delay_s: float = Field(60.0, ge=0, description="seconds of less load before replicas are taken away")

    @model_validator(mode="after")
    def _is_a_range(self) -> ReplicasSpec:
        if self.min > self.max:
            raise ValueError(f"serve.replicas: min {self.min} is more than max {self.max}; exchange them")
        return self


class LimitsSpec(Section):
    """What a request may ask for."""

    body_mb: float = Field(5.0, gt=0, description="largest body, in megabytes; larger ones are answered 413")
    megapixels: float = Field(
        4.2, gt=0, description="largest picture, in millions of pixels, told from its header; larger ones get 413"
    )
    body_timeout_s: float = Field(10.0, gt=0, description="seconds in which a body must have come, else 408")
    waiting: int = Field(
        16, ge=1, description="requests of one replica that may wait for its engine; one more is answered 429 at once"
    )


class ServeSpec(Section):
    """An HTTP endpoint."""

    model: str = Field(description="NAME@ALIAS, which is followed as it moves, or NAME:NUMBER, which stays")
    engine: Literal["auto", "torch", "inductor", "onnxruntime", "openvino"] = Field(
        "auto", description="what computes; auto: the fastest that the version is exported for and that is installed"
    )
    views: Literal["one", "scored"] = Field(
        "one", description="one: each picture is looked at once; scored: as often as the version was scored over"
    )
    tile_px: Annotated[tuple[int, int] | None, AfterValidator(_check_tile)] = Field(
        None, description="height and width of windows through which larger pictures are seen; null: as a whole"
    )
    follow_s: float = Field(5.0, gt=0, description="seconds between two looks whether the alias has moved")
    cors_origins: tuple[str, ...] = Field((), description='origins of other pages that may ask; "*" for all')
    replicas: ReplicasSpec = ReplicasSpec()
    limits: LimitsSpec = LimitsSpec()
