"""`make test-gpu` runs these tests; without a GPU each is skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def cuda() -> Iterator[torch.device]:
    """The first GPU, computing in plain float32: TensorFloat32 would be no match for a CPU."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: run `make test-gpu` on a machine with an NVIDIA GPU")
    flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield torch.device("cuda", 0)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = flags


@pytest.fixture
def two_gpus(cuda: torch.device) -> int:
    """The number of processes for tests over NCCL, which does not share a GPU."""
    if torch.cuda.device_count() < 2:
        pytest.skip(f"NCCL needs two GPUs, this machine has {torch.cuda.device_count()}")
    return 2
