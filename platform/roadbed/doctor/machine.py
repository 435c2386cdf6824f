"""Cores, memory and disks, as the kernel and a container's limits give them. Linux tells all of it, others less."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from roadbed.doctor.check import Finding

CGROUP = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")
_GB = 1e9
_LEAST_MEMORY_GB, _LITTLE_MEMORY_GB = 1.0, 4.0
_LEAST_DISK_GB, _LITTLE_DISK_GB = 1.0, 10.0
_LITTLE_SHARED_GB = 1.0


def look_at_cores(_store: str) -> Iterator[Finding]:
    """CPUs that the machine has, and that this process may use."""
    cores = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    share = cgroup_cpus(CGROUP)
    usable = min(allowed, share or allowed)
    if usable >= cores:
        yield Finding("ok", f"{cores} CPUs")
        return
    whole = max(1, int(usable))
    yield Finding(
        "note",
        f"{cores} CPUs, of which this process may use {usable:g}; threads are counted by the machine's",
        f"export OMP_NUM_THREADS={whole}, and give commands --threads {whole}",
    )


def look_at_memory(_store: str) -> Iterator[Finding]:
    """Free memory within a container's limit, and the room that Ray's objects have."""
    free = free_memory_gb(CGROUP)
    if free is None:
        yield Finding("ok", "not known on this system")
    elif free < _LEAST_MEMORY_GB:
        yield Finding(
            "problem", f"{free:.1f} GB are free, a training worker takes more", "end other programs, or raise the limit"
        )
    else:
        fix = "train on one worker (--set workers.num_workers=1) with small crops"
        is_little = free < _LITTLE_MEMORY_GB
        yield Finding("note" if is_little else "ok", f"{free:.1f} GB are free", fix if is_little else "")
    if SHARED_MEMORY.is_dir():
        shared = shutil.disk_usage(SHARED_MEMORY).free / _GB
        if shared < _LITTLE_SHARED_GB:
            yield Finding(
                "note",
                f"{SHARED_MEMORY} has {shared:.1f} GB free, so that Ray keeps objects on the disk, which is slower",
                "start the container with --shm-size 2g or more (on Kubernetes profiles do)",
            )


def look_at_disk(_store: str) -> Iterator[Finding]:
    """Room where shards are cached, and where a local store lies."""
    from roadbed.data.cache import default_folder
    from roadbed.runtime.local import local_folder

    for what, folder, variable in (
        ("cache of shards", default_folder(), "ROADBED_CACHE_DIR"),
        ("local store", local_folder(), "ROADBED_LOCAL_DIR"),
    ):
        yield _room(what, folder, variable)


def _room(what: str, folder: Path, variable: str) -> Finding:
    there = nearest_existing(folder)
    fix = f"make room, or set {variable} to a folder on another disk"
    if not can_write(there):
        return Finding("problem", f"{what} {folder}: you may not write in {there}", fix)
    free = shutil.disk_usage(there).free / _GB
    state = "problem" if free < _LEAST_DISK_GB else "note" if free < _LITTLE_DISK_GB else "ok"
    return Finding(state, f"{what} {folder}: {free:.1f} GB are free", "" if state == "ok" else fix)  # type: ignore[arg-type]


def can_write(folder: Path) -> bool:
    """Whether a file can be made there; it has no name, and is gone at once."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    absolute = folder.expanduser().absolute()
    return next(one for one in (absolute, *absolute.parents) if one.is_dir())


def cgroup_cpus(cgroup: Path) -> float | None:
    """CPUs that the cgroup allows, None without a limit. Source: kernel's cgroup-v2.rst, cpu.max."""
    words = _read(cgroup / "cpu.max").split()
    return None if len(words) != 2 or words[0] == "max" else int(words[0]) / int(words[1])


def free_memory_gb(cgroup: Path) -> float | None:
    """What can still be taken, None where the system does not say. Source: cgroup-v2.rst, memory.max; proc(5)."""
    lines = dict(line.split(":", 1) for line in _read(Path("/proc/meminfo")).splitlines() if ":" in line)
    if "MemAvailable" not in lines:
        return None
    free = 1024 * int(lines["MemAvailable"].split()[0])
    limit, used = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if limit.isdecimal() and used.isdecimal():
        free = min(free, int(limit) - int(used))
    return free / _GB


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
