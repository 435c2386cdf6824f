"""The workers that train together, as the loop sees them. With one worker every operation is the identity.

Numbers and small objects travel over gloo on the CPU, gradients over the group that DistributedDataParallel uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from roadbed import errors
from roadbed.errors import RoadbedError, TrainingError
from roadbed.training.watch import Watch

CountArray = np.ndarray[Any, np.dtype[np.int64]]


class Group:
    """`num_workers` processes, of which this is number `rank`, computing on `device`.

    `watch` says what this worker is doing; the group itself tells it of every wait for the others.
    """

    def __init__(self, *, rank: int = 0, num_workers: int = 1, device: torch.device | None = None) -> None:
        self.rank = rank
        self.num_workers = num_workers
        self.device = device or torch.device("cpu")
        self.watch = Watch()
        self._cpu = _gloo_group() if num_workers > 1 else None

    @property
    def is_first(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    def sum(self, values: Iterable[float]) -> list[float]:
        """The values, summed over the workers in float64."""
        total = torch.tensor(list(values), dtype=torch.float64)
        if self._cpu is not None:
            with self.watch.meeting():
                dist.all_reduce(total, group=self._cpu)
        return [float(value) for value in total]

    def sum_counts(self, counts: CountArray) -> CountArray:
        """Integer counts, summed over the workers without rounding."""
        total = torch.from_numpy(np.ascontiguousarray(counts, dtype=np.int64)).clone()
        if self._cpu is not None:
            with self.watch.meeting():
                dist.all_reduce(total, group=self._cpu)
        return total.numpy()

    def average_(self, tensors: list[torch.Tensor]) -> None:
        """Replace floating-point tensors by their mean over the workers, in place."""
        if self._cpu is None or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float().cpu() for tensor in tensors])
        with self.watch.meeting():
            dist.all_reduce(flat, group=self._cpu)
        flat /= self.num_workers
        for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(mean.reshape(tensor.shape))

    def gather(self, value: Any) -> list[Any]:
        """The value of every worker, in the order of ranks."""
        if self._cpu is None:
            return [value]
        values: list[Any] = [None] * self.num_workers
        with self.watch.meeting():
            dist.all_gather_object(values, value, group=self._cpu)
        return values

    def from_first(self, value: Any) -> Any:
        """The first worker's value."""
        if self._cpu is None:
            return value
        box = [value]
        with self.watch.meeting():
            dist.broadcast_object_list(box, src=0, group=self._cpu)
        return box[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that every worker enters: a RoadbedError on any of them is raised on all of them at its end."""
        failure = None
        try:
            yield
        except RoadbedError as error:
            failure = error
        self.raise_together(failure)

    def raise_together(self, failure: RoadbedError | None) -> None:
        """If any worker has failed, raise its error on every worker, so that none waits for another for ever."""
        described = (public_name(failure), str(failure)) if failure else None
        for rank, found in enumerate(self.gather(described)):
            if found is not None:
                kind, text = found
                where = f" (on worker {rank} of {self.num_workers})" if self.num_workers > 1 else ""
                raise getattr(errors, kind, TrainingError)(text + where)


def public_name(error: RoadbedError) -> str:
    """The name in roadbed.errors of an error's class, or of the nearest above it that stands there."""
    return next(kind.__name__ for kind in type(error).__mro__ if hasattr(errors, kind.__name__))


def _gloo_group() -> dist.ProcessGroup:
    """A group of all workers over gloo, beside the one that gradients use."""
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)
    return group
