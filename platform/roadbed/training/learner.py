"""What training changes: a model, the average of its weights, its optimiser, and where in the epochs they are.

Begins as the spec has it, or as a checkpoint left it, and gives checkpoints. When which of this happens is loop.py's.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from roadbed.data.dataset import Dataset
from roadbed.errors import TrainingError
from roadbed.models import SegmentationModel, build_model
from roadbed.spec import TrainJob
from roadbed.training.batch_norm import synchronize_batch_norm
from roadbed.training.checkpoint import WEIGHTS, Checkpoint, load_optimizer, optimizer_tensors, snapshot
from roadbed.training.group import Group
from roadbed.training.optimizer import AveragedModel, build_optimizer, set_learning_rate
from roadbed.training.precision import Precision, choose_precision

log = logging.getLogger(__name__)

NORM_STEPS = 20


@dataclass
class Position:
    """Where a run is: `step` optimiser steps are taken; next comes global batch `batch` of `epoch`."""

    step: int = 0
    epoch: int = 0
    batch: int = 0


class Learner:
    """One worker's model and what belongs to it. `start` is the checkpoint to go on from, the same on every worker.

    `scores` are those of the last evaluation. Raises RoadbedError where spec, dataset, weights and checkpoint do not
    fit each other.
    """

    def __init__(self, job: TrainJob, dataset: Dataset, group: Group, *, start: Checkpoint | None = None) -> None:
        self.position = Position()
        self.scores: dict[str, Any] = {}
        self.precision: Precision | None = None
        self._job, self._dataset, self._group = job, dataset, group
        self.model = self._build_model(start)
        self.averaged = AveragedModel(self.model, decay=job.train.ema_decay) if job.train.ema_decay else None
        self.optimizer = build_optimizer(self.model, job.train)
        if start is not None:
            self._restore(start)

    @property
    def evaluated_model(self) -> SegmentationModel:
        """The model that is evaluated and published: of the averaged weights, if there are any."""
        return self.averaged.model if self.averaged else self.model

    @property
    def is_synchronized(self) -> bool:
        """Whether batch norm looks at the shares of several workers."""
        return self._job.model.batch_norm == "sync" and self._group.num_workers > 1

    def choose_precision(self, images_B3HW: torch.Tensor) -> Precision:
        """The precision of this run; before the first step the first worker measures, and the others follow it."""
        if self.precision is None:
            chosen: Precision | None = None
            if self._group.is_first:
                micro_batch = images_B3HW[: self._job.train.micro_batch]
                chosen, seconds = choose_precision(self._job.train.precision, self.model, micro_batch)
                measured_s = {name: round(value, 3) for name, value in seconds.items()}
                log.info("precision: %s measured_s=%s", chosen, measured_s)
            self.precision = self._group.from_first(chosen)
        assert self.precision is not None
        return self.precision

    def clip(self) -> torch.Tensor | None:
        """Shorten the gradients to `train.clip_norm`, if that is asked for; their norm before.

        Where it is not, the norm is looked at now and then, for it costs a pass over all gradients.
        """
        if not self._job.train.clip_norm:
            if self.position.step % NORM_STEPS:
                return None
            gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
            return nn.utils.get_total_norm(gradients)
        return nn.utils.clip_grad_norm_(self.model.parameters(), self._job.train.clip_norm)

    def take_step(self, rate: float) -> None:
        """One step of the optimiser along the gradients, and of the average behind it."""
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.position.step += 1
        self.position.batch += 1
        if self.averaged is not None:
            self.averaged.update(step=self.position.step)

    def agree_on_statistics(self) -> None:
        """Average live batch-norm statistics over the workers, before they are evaluated or saved."""
        if self._job.model.batch_norm != "live":
            return
        for model in (self.model, self.averaged.model if self.averaged else None):
            if model is not None:
                self._group.average_([tensor for tensor in model.buffers() if tensor.is_floating_point()])

    def checkpoint(self, **also: Any) -> Checkpoint:
        """What the run needs to go on from here, as copies that later steps do not change; `also` is more state."""
        weights = snapshot(self.model.state_dict())
        files = {
            "model.safetensors": weights,
            WEIGHTS: snapshot(self.averaged.model.state_dict()) if self.averaged else weights,
            "optimizer.safetensors": snapshot(optimizer_tensors(self.optimizer, self.model)),
        }
        normalization = self.model.normalization
        state = asdict(self.position) | {
            "precision": self.precision,
            "scores": self.scores,
            "normalization": {"mean": list(normalization.mean), "std": list(normalization.std)},
            "dataset_digest": self._dataset.digest,
            "num_workers": self._group.num_workers,
        }
        return Checkpoint(files, state | also)

    def _restore(self, start: Checkpoint) -> None:
        state = start.state
        if state["dataset_digest"] != self._dataset.digest:
            raise TrainingError(
                f"run {self._job.name}: {self._dataset.uri} has changed since the run began (dataset.json was "
                f"{state['dataset_digest'][:12]}..., is {self._dataset.digest[:12]}...); start a run of another name"
            )
        self.model.load_state_dict(start.files["model.safetensors"])
        if self.averaged is not None:
            self.averaged.model.load_state_dict(start.files[WEIGHTS])
        load_optimizer(self.optimizer, self.model, start.files["optimizer.safetensors"])
        self.position = Position(state["step"], state["epoch"], state["batch"])
        self.precision, self.scores = state["precision"], state["scores"]

    def _build_model(self, start: Checkpoint | None) -> SegmentationModel:
        """The model as the spec has it, or as the checkpoint will fill it: that needs no other weights."""
        torch.manual_seed(self._job.train.seed)
        spec, mean, std = self._job.model, self._dataset.channel_mean, self._dataset.channel_std
        if start is not None:
            spec = spec.model_copy(update={"weights": "none"})
            mean, std = (tuple(start.state["normalization"][key]) for key in ("mean", "std"))
        model = build_model(
            spec,
            num_classes=self._dataset.label_space.num_classes,
            channel_mean=mean,
            channel_std=std,
            registry_uri=self._job.output.store,
            class_names=self._dataset.label_space.class_names,
        )
        if self.is_synchronized:
            synchronize_batch_norm(model)
        return model.to(self._group.device)
