"""That freed memory is kept, told by the page faults of the same work done again."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

# In a process of its own: the setting lasts as long as the process does.
WORK = """
import resource, sys
import torch
from roadbed.training.heap import keep_freed_memory

if not keep_freed_memory():
    sys.exit("not glibc")
torch.ones(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(20_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def num_faults() -> int:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=False)
    if done.stderr.strip() == "not glibc":
        pytest.skip("another C library than glibc")
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_memory_that_was_freed_is_there_again_without_page_faults() -> None:
    pages = 4 * 80_000_000 // resource.getpagesize()
    assert num_faults() < pages / 100
