"""torch, the accelerator below it, and the engines that run exported versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from roadbed.doctor.check import Finding, import_trouble

PACKAGES = ("torch", "torchvision")
DRIVER = Path("/proc/driver/nvidia/version")


def look_at_torch(_store: str) -> Iterator[Finding]:
    """Whether it and torchvision can be imported, and what a CPU gives it."""
    if (trouble := import_trouble(*PACKAGES)) is not None:
        yield Finding("problem", trouble, "pip install --force-reinstall 'torch>=2.14,<3' torchvision")
        return
    import torch

    from roadbed.inference.engines import has_bfloat16

    chosen = "the faster of bf16 and fp32, measured" if has_bfloat16() else "fp32, this CPU has no bfloat16"
    instructions = torch.backends.cpu.get_cpu_capability()
    amx = ", AMX" if torch.cpu._is_amx_tile_supported() else ""
    threads = torch.get_num_threads()
    counted = f"{threads} thread{'s' * (threads > 1)}"
    yield Finding("ok", f"{torch.__version__}, {counted}, {instructions}{amx}; precision auto on the CPU: {chosen}")


def look_at_accelerator(_store: str) -> Iterator[Finding]:
    """GPUs that torch sees, and a driver whose GPUs it does not; nothing where torch does not load."""
    if import_trouble(*PACKAGES) is not None:
        return
    import torch

    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    is_bf16 = bool(names) and torch.cuda.is_bf16_supported()
    yield judged(
        names,
        has_driver=DRIVER.exists(),
        cuda=torch.version.cuda,
        has_mps=torch.backends.mps.is_available(),
        precision="bf16" if is_bf16 else "fp32",
    )


def judged(names: Sequence[str], *, has_driver: bool, cuda: str | None, has_mps: bool, precision: str) -> Finding:
    """What it means: names of GPUs that torch sees, whether NVIDIA's driver is there, what torch was built for."""
    if names:
        return Finding("ok", f"{len(names)} x {names[0]}, CUDA {cuda}; precision auto: {precision}")
    if has_driver and cuda is None:
        return Finding(
            "problem",
            "NVIDIA's driver is there, but this torch is built for CPUs alone",
            "install torch and torchvision built for CUDA (pytorch.org has the command)",
        )
    if has_driver:
        return Finding(
            "problem",
            f"NVIDIA's driver is there and torch is built for CUDA {cuda}, but it sees no GPU",
            f"look at `nvidia-smi`: the driver must be made for CUDA {cuda}; unset CUDA_VISIBLE_DEVICES; give the "
            "container its GPUs (--gpus all)",
        )
    if has_mps:
        return Finding("note", "Apple's GPU is not used: roadbed trains on CUDA or the CPU")
    return Finding("ok", "none; the CPU trains and predicts")


def look_at_engines(_store: str) -> Iterator[Finding]:
    """Those besides torch: what runs exported versions; nothing where torch does not load."""
    if import_trouble(*PACKAGES) is not None:
        return
    from roadbed.inference import engines
    from roadbed.inference.engines import engine_version, is_installed, needs_files

    exported = [engine for engine in engines.PACKAGES if needs_files(engine)]
    there = [f"{engine} {engine_version(engine)}" for engine in exported if is_installed(engine)]
    absent = [engine for engine in exported if not is_installed(engine)]
    if not absent:
        yield Finding("ok", ", ".join(there))
        return
    told = (
        f"{', '.join(absent)} not installed: torch predicts, more slowly"
        if not there
        else (f"{', '.join(there)}; {', '.join(absent)} not installed")
    )
    yield Finding("note", told, "pip install 'roadbed[engines]'")
