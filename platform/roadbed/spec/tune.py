"""The `tune` section: what varies over the trials of a sweep, who proposes values, who ends trials, and the budget."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from roadbed.spec.base import Section
from roadbed.spec.dimension import Dimension
from roadbed.spec.space import COUNTED_POINTS, check_conditions, num_points

SCHEDULER_KEYS: dict[str, tuple[str, ...]] = {
    "asha": ("grace_epochs", "reduction_factor"),
    "pbt": ("perturb_every_epochs", "exploit_share", "resample_probability"),
    "median": ("grace_epochs", "min_trials"),
    "none": (),
}


class SchedulerSpec(Section):
    """Who ends trials early, or changes them while they run. Only the keys of its kind may be set."""

    kind: Literal["asha", "pbt", "median", "none"] = Field(
        "asha",
        description="asha: only the best share of the trials goes on at each rung; median: trials below the median of "
        "the others end; pbt: bad trials go on from the weights of good ones, with changed values; none: all end alone",
    )
    grace_epochs: int = Field(1, ge=1, description="of asha and median: epochs that every trial is given")
    reduction_factor: int = Field(
        3, ge=2, description="of asha: one in so many trials passes a rung; rungs are so many times as far apart"
    )
    min_trials: int = Field(3, ge=1, description="of median: trials that must have come as far before one is ended")
    perturb_every_epochs: int = Field(2, ge=1, description="of pbt: epochs between two changes of a trial")
    exploit_share: float = Field(
        0.25,
        gt=0,
        le=0.5,
        description="of pbt: so large a share of the trials, the worst, takes the weights of the best",
    )
    resample_probability: float = Field(
        0.25, ge=0, le=1, description="of pbt: how often a changed value is drawn anew instead of moved a little"
    )

    @model_validator(mode="after")
    def _has_keys_of_its_kind(self) -> SchedulerSpec:
        for key in sorted(self.model_fields_set - {"kind", *SCHEDULER_KEYS[self.kind]}):
            owners = " and ".join(kind for kind, keys in SCHEDULER_KEYS.items() if key in keys)
            raise ValueError(f"tune.scheduler.{key} is of {owners}, found with kind {self.kind}; leave it out")
        return self

    @model_serializer(mode="wrap")
    def _with_keys_of_its_kind(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        return {key: value for key, value in values.items() if key == "kind" or key in SCHEDULER_KEYS[self.kind]}


class TuneSpec(Section):
    """A sweep: trials of one train spec, each with values of its own for the paths of `space`."""

    space: dict[str, Dimension] = Field(
        description="what varies and how: dotted keys of the train spec, each with {uniform: [low, high]}, or "
        "loguniform, int, logint; {quniform: [low, high, step]}; or {choice: [...]}. With `when: {other.key: value}` "
        "beside it, a key is drawn only where that choice was"
    )
    trials: int = Field(ge=1, description="how many trials; with searcher grid, as many as the grid has points")
    metric: Literal["miou", "pixel_accuracy", "mean_accuracy"] = Field(
        "miou", description="score on data.eval_split by which trials are compared"
    )
    mode: Literal["max"] = Field("max", description="max: of every metric that there is more is better")
    searcher: Literal["tpe", "random", "grid"] = Field(
        "tpe",
        description="tpe: values near those of good trials, after some random ones; random; grid: every combination",
    )
    seed: int = Field(0, ge=0, description="seeds what the searcher draws; trials train with train.seed")
    scheduler: SchedulerSpec = SchedulerSpec()
    baseline: bool = Field(
        True, description="also train the spec as it stands, to its end and besides the trials: what they must beat"
    )
    hours: float | None = Field(None, gt=0, description="no trial begins, and all end, after so many hours; null: none")
    gpu_hours: float | None = Field(
        None, gt=0, description="the same, of hours times GPUs that trials held; null: no such limit"
    )
    max_concurrent: int | None = Field(None, ge=1, description="most trials at a time; null: as many as there is room")

    @field_validator("space")
    @classmethod
    def _is_a_tree(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        if not space:
            raise ValueError("expected at least one path to search, such as train.learning_rate")
        check_conditions(space)
        return space

    @model_validator(mode="after")
    def _points_suffice(self) -> TuneSpec:
        count = num_points(self.space)
        if self.searcher == "grid":
            self._check_grid(count)
        if count is not None and self.trials > count:
            raise ValueError(
                f"tune.trials: {self.trials} is more than the number of points in tune.space, {count}; "
                f"set it to {count}, or search more"
            )
        return self

    def _check_grid(self, count: int | None) -> None:
        continuous = [path for path, dimension in self.space.items() if dimension.is_continuous]
        if continuous:
            raise ValueError(
                f"tune.searcher: grid needs values that can be counted, {continuous[0]} is drawn by "
                f"{self.space[continuous[0]].form}; give it choice, int or quniform, or set tune.searcher to random"
            )
        if count is None:
            raise ValueError(
                f"tune.searcher: the grid of tune.space has more than {COUNTED_POINTS:,} points; take fewer values, "
                "or set tune.searcher to random"
            )
        if self.trials < count:
            raise ValueError(
                f"tune.trials: {self.trials} is less than the number of points in the grid, {count}; set it to "
                f"{count}, take fewer values, or set tune.searcher to random"
            )

    @model_validator(mode="after")
    def _population_can_change(self) -> TuneSpec:
        if self.scheduler.kind != "pbt":
            return self
        if self.searcher != "random":
            raise ValueError(
                f"tune.searcher: {self.searcher} needs values that stay for the length of a trial, and scheduler pbt "
                "changes them; set tune.searcher to random"
            )
        if self.trials < 2:
            raise ValueError("tune.trials: pbt compares trials with each other, found 1; set it to 2 or more")
        for path, dimension in self.space.items():
            if dimension.when:
                raise ValueError(
                    f"tune.space.{path}: pbt changes values alone, so none may hang on another; leave when out"
                )
        return self
