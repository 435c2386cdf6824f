"""Work as Ray tasks: a Mapper (data/parallel.py) for the CPUs of a cluster.

The function is put into Ray's object store once and unpacked once per worker process. As many tasks are under way as
there are workers; results come back as tasks end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from roadbed.data.parallel import ItemT, ResultT
from roadbed.errors import RoadbedError, UsageError
from roadbed.runtime.session import last_line, ray_connection, worker_environment

MAX_RETRIES = 3


class RayTasks:
    """A Mapper that has `num_workers` tasks of one CPU under way; `ray_tasks` makes one that is connected.

    A task whose worker process was lost is run again by Ray, up to `MAX_RETRIES` times; one that raised is not.
    """

    def __init__(self, num_workers: int) -> None:
        self._num_workers = num_workers

    def map(
        self, function: Callable[[ItemT], ResultT], items: Sequence[ItemT], *, count: Callable[[ItemT], Any]
    ) -> list[ResultT]:
        """See Mapper. Raises RoadbedError if workers are lost again and again."""
        import ray

        task = ray.remote(_call).options(
            num_cpus=1, max_retries=MAX_RETRIES, runtime_env={"env_vars": worker_environment()}
        )
        # In a list, so that a task gets the reference and not a copy of its own.
        shared = [ray.put(function)]
        results: dict[int, ResultT] = {}
        running: dict[Any, int] = {}
        waiting = iter(enumerate(items))
        try:
            while len(results) < len(items):
                while len(running) < self._num_workers and (following := next(waiting, None)):
                    running[task.remote(shared, following[1])] = following[0]
                (done,), _ = ray.wait([*running], num_returns=1)
                place = running.pop(done)
                results[place] = _result(done)
                count(items[place])
        finally:
            for reference in running:
                ray.cancel(reference)
        return [results[place] for place in range(len(items))]


@contextmanager
def ray_tasks(num_workers: int) -> Iterator[RayTasks]:
    """RayTasks on the Ray of RAY_ADDRESS, or on one of our own on this machine for this time.

    Raises UsageError if it has fewer CPUs than workers are asked for.
    """
    with ray_connection(num_cpus=num_workers) as resources:
        num_cpus = int(resources.get("CPU", 0))
        if num_cpus < num_workers:
            raise UsageError(
                f"{num_workers} workers of 1 CPU were asked for, but this Ray cluster has {num_cpus} CPU; "
                "lower --workers"
            )
        yield RayTasks(num_workers)


@dataclass(frozen=True)
class _Failure:
    """One of our own errors on its way to the driver: raised in a task it would come back as a page of traceback."""

    error: RoadbedError


def _call(shared: list[Any], item: Any) -> Any:
    """What Ray runs."""
    try:
        return _function(shared[0])(item)
    except RoadbedError as error:
        return _Failure(error)


@lru_cache(maxsize=1)
def _function(reference: Any) -> Callable[[Any], Any]:
    import ray

    function: Callable[[Any], Any] = ray.get(reference)
    return function


def _result(reference: Any) -> Any:
    """What a task returned. Raises its error."""
    import ray

    try:
        result = ray.get(reference)
    except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError):
        raise
    except ray.exceptions.RayError as error:
        raise RoadbedError(f"Ray lost a worker {MAX_RETRIES + 1} times: {last_line(error)}; run it again") from error
    if isinstance(result, _Failure):
        raise result.error
    return result
