"""Who does the work of a command: threads of this process, or that many CPUs of Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from roadbed.data.parallel import Mapper

MOST_THREADS = 8
# torch's compiler keeps what it compiles for a process, not for a thread.
ONE_AT_A_TIME = "inductor"


def workers_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The --workers option."""
    return click.option(
        "--workers",
        type=click.IntRange(1),
        metavar="N",
        help="Work on N CPUs of the Ray cluster of RAY_ADDRESS, or of this machine, instead of in threads.",
    )(function)


def check_reach(workers: int | None, uris: Sequence[str]) -> None:
    """Raises UsageError if workers elsewhere could not reach what lies in a folder of this machine.

    References to versions lie nowhere by themselves.
    """
    from roadbed.errors import UsageError
    from roadbed.registry import looks_like_reference
    from roadbed.runtime.session import is_ray_remote

    near = [
        uri for uri in uris if uri and not uri.startswith("s3://") and ("/" in uri or not looks_like_reference(uri))
    ]
    if workers is not None and near and is_ray_remote():
        raise UsageError(
            f"{near[0]}: workers on the Ray cluster at {os.environ['RAY_ADDRESS']} cannot reach a folder of this "
            "machine; name an s3:// prefix instead, or leave --workers out"
        )


@contextmanager
def chosen_mapper(num_threads: int, workers: int | None) -> Iterator[Mapper]:
    """Threads of this process, or tasks of the Ray that `connection` found.

    What Ray has to say meanwhile, as of workers that were lost, it writes to stdout, which is for results: it is led to
    stderr. Source: ray/_private/worker.py, listen_error_messages.
    """
    from roadbed.data.parallel import Threads

    if workers is None:
        yield Threads(num_threads)
        return
    from roadbed.runtime.map import ray_tasks

    with redirect_stdout(sys.stderr), ray_tasks(workers) as mapper:
        yield mapper


def default_threads(*engines: str) -> int:
    """One per CPU, within bounds, where each computes with one of these engines."""
    return 1 if ONE_AT_A_TIME in engines else min(os.cpu_count() or 1, MOST_THREADS)


def workers_words(num_threads: int, workers: int | None) -> str:
    """Who does the work, in words."""
    number, noun = (num_threads, "thread") if workers is None else (workers, "Ray worker")
    return f"{number} {noun}{'s' * (number > 1)}"
