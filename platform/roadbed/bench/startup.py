"""What the start of one process costs: run as `python -m roadbed.bench.startup URI RANK NUM_RANKS GLOBAL_BATCH`.

A process of its own, so that seconds and memory are those of a loader that begins, and of nothing else. Prints JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

_STATUS = Path("/proc/self/status")


def peak_rss_mb() -> float:
    """The most memory that this process ever held, in MB (10^6 bytes).

    Linux counts it per program in VmHWM; ru_maxrss would begin with what the parent had when it forked.
    """
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def measure_start(uri: str, *, rank: int, num_ranks: int, global_batch: int) -> dict[str, float]:
    """Seconds and peak memory of each step from a bare interpreter with numpy to a rank's first batch of samples."""
    figures = {"bare_mb": peak_rss_mb()}
    times = [time.perf_counter()]

    import roadbed.data.loader  # noqa: F401 - what a loader's process needs, albumentations apart
    from roadbed.data.dataset import Dataset
    from roadbed.data.order import EpochOrder, lanes_of_rank

    times.append(time.perf_counter())
    figures["imported_mb"] = peak_rss_mb()
    dataset = Dataset.open(uri)
    split = dataset.split("train")
    times.append(time.perf_counter())
    index = split.index
    times.append(time.perf_counter())
    order = EpochOrder(
        split.shard_sizes, digest=dataset.digest, seed=0, epoch=0, global_batch=global_batch, window_shards=4
    )
    samples = order.batch(0, lanes_of_rank(rank, num_ranks=num_ranks, num_lanes=global_batch))
    records = [index.record(int(sample)) for sample in samples]
    times.append(time.perf_counter())

    steps = np.diff(times).tolist()
    figures |= dict(zip(("imports_s", "open_s", "index_s", "first_batch_s"), steps, strict=True))
    figures |= {"start_s": sum(steps[1:]), "peak_mb": peak_rss_mb(), "num_records": len(records)}
    return figures | {"above_bare_mb": figures["peak_mb"] - figures["bare_mb"]}


if __name__ == "__main__":
    uri, *numbers = sys.argv[1:]
    rank, num_ranks, global_batch = map(int, numbers)
    sys.stdout.write(json.dumps(measure_start(uri, rank=rank, num_ranks=num_ranks, global_batch=global_batch)))
