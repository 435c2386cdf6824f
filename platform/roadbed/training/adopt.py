"""A run that begins with another one's newest checkpoint: weights, optimiser, place in the order of samples."""

from __future__ import annotations

from dataclasses import replace

from roadbed.errors import NotFoundError
from roadbed.runs import CheckpointRef, Pointer, Run
from roadbed.runs.state import POINTER_KEY
from roadbed.storage import get_json
from roadbed.training.checkpoint import MANIFEST

_TRIES = 5


def adopt(donor: Run, run: Run) -> CheckpointRef:
    """Copy the donor's newest whole checkpoint into a run that has none, and point to it: it is of no attempt there.

    Raises NotFoundError if the donor has none, ConflictError if the run has a pointer already.
    """
    for _ in range(_TRIES):
        found = donor.pointer().latest
        if found is None:
            break
        try:
            _copy(donor, run, found)
        except NotFoundError:
            continue  # a donor that lives has put a newer one in its place
        ref = replace(found, key=_key(found), attempt=0, score=None)
        data = Pointer(attempt=0, checkpoints=(ref,), best=None).to_bytes()
        run.store.put_if(POINTER_KEY, data, etag=None)
        return ref
    raise NotFoundError(f"{donor.uri}: has no whole checkpoint to go on from")


def _key(ref: CheckpointRef) -> str:
    return f"adopted/{ref.key.rpartition('/')[2]}"


def _copy(donor: Run, run: Run, ref: CheckpointRef) -> None:
    """Every file checked; the manifest last."""
    source, target = donor.store.child(ref.key), run.store.child(_key(ref))
    manifest = source.get(MANIFEST)
    for name, entry in get_json(source, MANIFEST)["files"].items():
        target.put(name, source.get(name, sha256=entry["sha256"]))
    target.put(MANIFEST, manifest)
