"""Checkpoints in a run's prefix: tensors as safetensors, state as JSON, and a manifest that makes them whole.

    attempts/0002/checkpoints/00000120/model.safetensors      weights that are trained
                                       ema.safetensors        averaged weights that are evaluated and published
                                       optimizer.safetensors  NAME/exp_avg, NAME/exp_avg_sq, NAME/step, ...
                                       state.json             step, epoch, next batch, precision, scores, ...
                                       manifest.json          bytes and sha256 of the others; written last

A checkpoint counts when its manifest is there and the run's pointer names it. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from roadbed.errors import DamagedError, DivergedError, FencedError, NotFoundError, RoadbedError, StoreError
from roadbed.models import SegmentationModel
from roadbed.runs import Attempt, CheckpointRef, Pointer, Run
from roadbed.storage import get_json
from roadbed.storage.checks import file_sha256
from roadbed.training.divergence import ADVICE

MANIFEST = "manifest.json"
WEIGHTS = "ema.safetensors"

log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on from a step: `files` maps a file name to its named tensors."""

    files: dict[str, Tensors]
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Optimiser steps taken before it."""
        return int(self.state["step"])

    @property
    def name(self) -> str:
        """Of its folder. One before and one after the evaluation of an epoch have the same step and other names."""
        return f"{self.step:08d}-unscored" if self.state.get("is_unscored") else f"{self.step:08d}"


def snapshot(tensors: Tensors) -> Tensors:
    """Copies on the CPU that later steps do not change."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: SegmentationModel) -> Tensors:
    """The optimiser's state by parameter name: `decoder.weight/exp_avg`, ..."""
    return {
        f"{name}/{key}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, model: SegmentationModel, tensors: Tensors) -> None:
    """Put back what `optimizer_tensors` took. Rates are not part of it: they follow from the step."""
    parameters = dict(model.named_parameters())
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        parameter = parameters[name]
        optimizer.state[parameter][key] = tensor.to(parameter.device)


def read_checkpoint(run: Run, ref: CheckpointRef) -> Checkpoint:
    """A whole checkpoint, every byte checked. Raises NotFoundError or DamagedError where it is not whole."""
    folder = run.store.child(ref.key)
    try:
        entries = get_json(folder, MANIFEST)["files"]
        contents = {name: folder.get(name, sha256=entry["sha256"]) for name, entry in entries.items()}
        state = json.loads(contents.pop("state.json"))
        return Checkpoint({name: safetensors.torch.load(data) for name, data in contents.items()}, state)
    except (KeyError, ValueError, safetensors.SafetensorError) as error:
        raise DamagedError(f"{folder.uri}: is not a checkpoint of this version ({error})") from None


def newest_whole_checkpoint(run: Run) -> tuple[CheckpointRef, Checkpoint] | None:
    """The newest checkpoint of the run's pointer that is whole, or None where the run has none yet.

    One that is torn or damaged is passed over and logged; if there are some and none is whole, DamagedError.
    """
    refs: tuple[CheckpointRef, ...] = ()
    for _ in range(2):  # An attempt that still lives may replace the checkpoints while they are read.
        before, refs = refs, run.pointer().checkpoints
        for ref in refs if refs != before else ():
            try:
                return ref, read_checkpoint(run, ref)
            except (NotFoundError, DamagedError) as error:
                log.warning("checkpoint passed over: step=%d reason=%s", ref.step, error)
    if refs:
        raise DamagedError(f"{run.uri}: none of its {len(refs)} checkpoints is whole; start anew under another name")
    return None


@dataclass(frozen=True)
class Written:
    """A checkpoint that lies in the store whole: its size, and how long that took."""

    num_bytes: int
    seconds: float


class CheckpointWriter:
    """Writes checkpoints of one attempt in the background, one at a time, and keeps the best and the newest.

    While the store cannot be reached, or the disk for temporary files is full, training goes on and the last whole
    checkpoint stands; `finish` alone insists. `trouble` says why the last one was not written, None if it was.
    """

    def __init__(self, attempt: Attempt, *, keep_last: int) -> None:
        self._attempt = attempt
        self._keep_last = keep_last
        self._written: str | None = None
        self._untold: deque[Written] = deque()
        self.trouble: str | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="roadbed-checkpoint")
        self._held: tuple[Checkpoint, float | None] | None = None
        self._writing: tuple[Checkpoint, float | None, Future[None]] | None = None

    def take_written(self) -> list[Written]:
        """The checkpoints that were written and that nobody has asked for yet."""
        return [self._untold.popleft() for _ in range(len(self._untold))]

    def hold(self, checkpoint: Checkpoint, *, score: float | None) -> None:
        """Keep a checkpoint, in place of one that is kept, until `release`. Its tensors must be snapshots."""
        self._held = (checkpoint, score)

    def release(self) -> None:
        """Save what is held, as `save` does; nothing if nothing is."""
        held, self._held = self._held, None
        if held is not None:
            self.save(held[0], score=held[1])

    def save(self, checkpoint: Checkpoint, *, score: float | None) -> None:
        """Begin to write a checkpoint, once the one before is done. Its tensors must be snapshots.

        Raises FencedError if the one before found that this attempt was replaced, DivergedError if it held what is no
        number.
        """
        self.wait()
        if checkpoint.name == self._written:
            return  # What a pointer names is never written again.
        self._writing = (checkpoint, score, self._pool.submit(self._write, checkpoint, score))

    def finish(self) -> None:
        """Wait for the last one; if it failed, try once more, and raise what then fails."""
        last = self._writing
        if not self.wait() and last is not None:
            self._write(last[0], last[1])

    def close(self) -> None:
        """Let a write that has begun end, whatever its outcome."""
        self._pool.shutdown(wait=True)

    def wait(self) -> bool:
        """Wait for the one that is being written; whether it was written, or there was none."""
        if self._writing is None:
            return True
        checkpoint, _, written = self._writing
        self._writing = None
        try:
            written.result()
        except StoreError as error:
            log.warning("checkpoint not written: step=%d reason=%s", checkpoint.step, error)
            self.trouble = f"step {checkpoint.step}: {error}"
            return False
        self.trouble = None
        return True

    def _write(self, checkpoint: Checkpoint, score: float | None) -> None:
        began = time.monotonic()
        _check_numbers(checkpoint, self._attempt.run.name)
        key = f"{self._attempt.folder}/checkpoints/{checkpoint.name}"
        entries: dict[str, dict[str, Any]] = {}
        with _scratch() as folder:
            for name, tensors in checkpoint.files.items():
                path = folder / name
                entries[name] = _save(tensors, path)
                self._attempt.upload(path, f"{key}/{name}", sha256=entries[name]["sha256"])
                path.unlink()
        state = json.dumps(checkpoint.state, sort_keys=True).encode()
        entries["state.json"] = {"bytes": len(state), "sha256": hashlib.sha256(state).hexdigest()}
        self._attempt.put(f"{key}/state.json", state)
        self._attempt.put(f"{key}/{MANIFEST}", json.dumps({"files": entries}, sort_keys=True, indent=1).encode())
        self._point_to(CheckpointRef(key=key, attempt=self._attempt.number, step=checkpoint.step, score=score))
        self._written = checkpoint.name
        num_bytes = sum(entry["bytes"] for entry in entries.values())
        self._untold.append(Written(num_bytes, time.monotonic() - began))

    def _point_to(self, ref: CheckpointRef) -> None:
        run = self._attempt.run
        before = run.pointer()
        best = before.best
        if ref.score is not None and (best is None or best.score is None or ref.score > best.score):
            best = ref
        kept = (ref, *(old for old in before.checkpoints if old.key != ref.key))[: self._keep_last]
        self._attempt.move_pointer(Pointer(attempt=self._attempt.number, checkpoints=kept, best=best))
        named = {old.key for old in (*kept, best) if old is not None}
        for old in {old for old in (*before.checkpoints, before.best) if old is not None and old.key not in named}:
            delete_checkpoint(self._attempt, old)


def _check_numbers(checkpoint: Checkpoint, run_name: str) -> None:
    """Raises DivergedError unless every number of a checkpoint is finite: nobody could go on from it."""
    for file, tensors in checkpoint.files.items():
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DivergedError(
                    f"run {run_name}: after step {checkpoint.step} {name} of {file} holds what is no number; no "
                    f"checkpoint is written of it, the last one is from before it. {ADVICE}"
                )


def delete_checkpoint(attempt: Attempt, ref: CheckpointRef) -> None:
    """Remove a checkpoint, its manifest first, so that what is left of it is never taken for whole.

    Raises FencedError, and removes nothing more, once a newer attempt began.
    """
    folder = attempt.run.store.child(ref.key)
    try:
        for key in (MANIFEST, *(info.key for info in folder.list() if info.key != MANIFEST)):
            attempt.check_fence()
            folder.delete(key)
    except FencedError:
        raise
    except RoadbedError as error:
        log.warning("old checkpoint not removed: step=%d reason=%s", ref.step, error)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for files on their way to the store. Raises StoreError if there is no room for one."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="roadbed-checkpoint-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(error) from error
    with folder as path:
        yield Path(path)


def _save(tensors: Tensors, path: Path) -> dict[str, Any]:
    """Write tensors to a new file; its size and checksum. Raises StoreError if the disk does not take them."""
    try:
        safetensors.torch.save_file(tensors, path)
        return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    except (OSError, safetensors.SafetensorError) as error:
        raise _no_room(error) from error


def _no_room(error: Exception) -> StoreError:
    return StoreError(
        f"{tempfile.gettempdir()}: a checkpoint cannot be put together there ({error}); make room, or set TMPDIR to a "
        f"folder on another disk"
    )
