"""Memory of tensors on a CPU that is kept when it is freed, and lies in large pages.

A training step asks for a gigabyte or two in blocks of many megabytes, frees them, and asks for the same again. The C
library gets each such block from the kernel and gives it back at once, so that every step waits for hundreds of
thousands of page faults. Here it is told to keep them: a process never gives back what it held at its peak. torch is
told to ask for huge pages, which take the faults that remain and make the memory faster to walk.

Measured (two cores, DeepLabV3+ over EfficientNet-Lite0, 256x352, batches of 8): 1.10 times the images/s from keeping
memory, 1.14 with huge pages.
"""

from __future__ import annotations

import ctypes
import os
import sys

# The numbers of glibc's <malloc.h>. Source of what they do: mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
NEVER, NONE, GROWTH_BYTES = -1, 0, 64 * 2**20


def keep_freed_memory() -> bool:
    """From now on this process keeps the memory that it frees. Returns whether the C library can (glibc alone)."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it with its first tensor
    library = ctypes.CDLL(None)
    if sys.platform != "linux" or not hasattr(library, "gnu_get_libc_version"):
        return False
    settings = ((M_MMAP_MAX, NONE), (M_TRIM_THRESHOLD, NEVER), (M_TOP_PAD, GROWTH_BYTES))
    return all(library.mallopt(name, value) == 1 for name, value in settings)
