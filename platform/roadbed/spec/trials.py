"""Trials of a sweep: a train spec with some values changed; which may change, and whether each could be trained."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, TypeVar

from pydantic import ValidationError

from roadbed.spec.base import Section, describe_faults, known_keys, nearest_key
from roadbed.spec.dimension import Dimension
from roadbed.spec.space import points
from roadbed.spec.tune import TuneSpec

Base = TypeVar("Base", bound=Section)

_SAME_DATA = "scores on other data could not be compared"
_SAME_MEASURE = "trials must be measured alike for their scores to be compared"
_NOT_LEARNED = "it changes how fast a trial runs, not what it learns"
FIXED = {
    "kind": "every trial is a training run",
    "name": "trials are named after the sweep",
    "data.uri": _SAME_DATA,
    "data.eval_split": _SAME_DATA,
    "data.on_damaged": "trials should see the same samples; repair what is damaged",
    "data.prefetch_batches": _NOT_LEARNED,
    "data.cache_mb": _NOT_LEARNED,
    "data.memory_mb": _NOT_LEARNED,
    "train.eval_every": _SAME_MEASURE,
    "train.eval_scales": _SAME_MEASURE,
    "train.eval_flip": _SAME_MEASURE,
    "train.eval_batch": _NOT_LEARNED,
    "train.compile": _NOT_LEARNED,
    "train.explode_factor": "it says which runs are given up, not what they learn",
    "workers": "trials are given equal machines, or their times and budgets could not be compared",
    "cluster": "the sweep is one job of a cluster, its trials are not",
    "output": "the sweep decides where its trials are kept, and registers the winner alone",
}
"""Keys and sections that are the same for every trial, and why."""

CHANGEABLE = (
    "train.learning_rate",
    "train.backbone_rate_factor",
    "train.first_layer_rate_factor",
    "train.weight_decay",
    "train.clip_norm",
    "train.ema_decay",
    "loss.cross_entropy",
    "loss.dice",
    "loss.lovasz",
    "loss.class_balance",
    "loss.label_smoothing",
    "loss.hardest_share",
    "loss.auxiliary",
    "data.crop_area",
    "data.crop_max_share",
    "data.flip_probability",
    "data.color_probability",
    "data.color_strength",
    "data.weather_probability",
    "data.camera_probability",
    "data.paste_probability",
    "data.paste_share",
)
"""Keys that may change between two epochs of a run: no shape, optimiser state or number of steps hangs on them."""

_TRIED_POINTS = 2000


def with_values(base: Base, values: Mapping[str, Any]) -> Base:
    """The spec with the values of dotted keys in place of its own. Raises pydantic's ValidationError."""
    tree = base.model_dump(mode="json")
    for path, value in values.items():
        *sections, leaf = path.split(".")
        section = tree
        for name in sections:
            section = section[name]
        section[leaf] = value
    return type(base).model_validate(tree)


def check_trials(base: Section, tune: TuneSpec, *, epochs: int, eval_every: int) -> None:
    """Raise ValueError if the sweep would draw what no trial can take, or could not be judged as it is spoken of."""
    for path in tune.space:
        _check_path(path, base)
    _check_scheduler(tune, epochs=epochs, eval_every=eval_every)
    for path, dimension in tune.space.items():
        for value in dimension.probes():
            _check_value(base, tune.space, path, value)
    for values in islice(points(tune.space, _typical), _TRIED_POINTS):
        fault = _refusal(base, values)
        if fault:
            raise ValueError(
                f"tune.space: values are drawn together that no trial can take: {fault}; "
                "keep them apart with `when`, or leave one out"
            )


def _check_path(path: str, base: Section) -> None:
    known = [key for key in known_keys(type(base)) if _reason_fixed(key) is None]
    reason = _reason_fixed(path)
    if reason is not None and path in known_keys(type(base)):
        raise ValueError(f"tune.space.{path}: may not vary: {reason}; set it outside tune.space")
    if path not in known:
        near = nearest_key(path, known)
        hint = f"did you mean {near}?" if near else "see `roadbed explain train` for the keys there are"
        raise ValueError(f"tune.space: unknown key {path} of the train spec; {hint}")
    leaves = [key for key in known if key.startswith(f"{path}.")]
    if leaves:
        raise ValueError(f"tune.space.{path}: is a whole section; name its keys, such as {leaves[0]}")


def _reason_fixed(path: str) -> str | None:
    return FIXED.get(path) or FIXED.get(path.partition(".")[0])


def _check_scheduler(tune: TuneSpec, *, epochs: int, eval_every: int) -> None:
    scheduler = tune.scheduler
    if scheduler.kind == "none":
        return
    if scheduler.kind == "pbt":
        for path in tune.space:
            if path not in CHANGEABLE:
                raise ValueError(
                    f"tune.space.{path}: cannot change while a run goes, as pbt needs; those that can are "
                    f"{', '.join(CHANGEABLE)}"
                )
    elif "train.epochs" in tune.space:
        raise ValueError(
            f"tune.space.train.epochs: {scheduler.kind} compares trials of one length with each other; leave it out, "
            "or set tune.scheduler.kind to none"
        )
    key = "perturb_every_epochs" if scheduler.kind == "pbt" else "grace_epochs"
    first = getattr(scheduler, key)
    if first >= epochs:
        raise ValueError(
            f"tune.scheduler.{key}: {first} leaves nothing to decide of train.epochs {epochs}; "
            "set it lower, or tune.scheduler.kind to none"
        )
    if first % eval_every:
        raise ValueError(
            f"tune.scheduler.{key}: after {first} epochs there is no score with train.eval_every {eval_every}; set "
            f"train.eval_every to 1, or {key} to a multiple of it"
        )


def _check_value(base: Section, space: Mapping[str, Dimension], path: str, value: Any) -> None:
    """Some point of the others must go with the value."""
    chosen = points(space, lambda other, dim: [value] if other == path else _typical(other, dim), having=path)
    fault = None
    for values in islice(chosen, _TRIED_POINTS):
        refused = _refusal(base, values)
        if refused is None:
            return
        fault = fault or refused
    if fault is None:
        raise ValueError(f"tune.space.{path}: is never drawn, for its conditions never hold together; change when")
    raise ValueError(f"tune.space.{path}: no trial can take {value!r}: {fault}")


def _typical(_: str, dimension: Dimension) -> Any:
    return dimension.values() if dimension.form == "choice" else [dimension.inner()]


def _refusal(base: Section, values: Mapping[str, Any]) -> str | None:
    try:
        with_values(base, values)
    except ValidationError as error:
        return describe_faults(error, type(base))[0]
    return None
