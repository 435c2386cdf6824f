"""predictions.json: what made the predictions that lie beside it, and of which inputs. It is written before them.

Thanks to it, what is there can be left as it is: it was made by the same version in the same way, of the same files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from roadbed.data.parallel import in_threads
from roadbed.errors import NotFoundError, UsageError
from roadbed.prediction.inputs import MASK, WRITTEN, Input, video_of
from roadbed.storage import Store, json_bytes
from roadbed.storage.documents import get_json_with_etag

RECORD_KEY = "predictions.json"
DELETING_THREADS = 16
REMEDY = "name another output, or let --overwrite delete the predictions that are there"


def claim(store: Store, made_with: Mapping[str, Any], inputs: Sequence[Input], *, overwrite: bool) -> set[str]:
    """Let the predictions in `store` be those of `inputs`, besides what there is; the keys that are there.

    With `overwrite`, the predictions that the record names, and those of `inputs`, are deleted first. Raises UsageError
    if others are there: made otherwise, or of another file of the same name.
    """
    keys = {item.key for item in store.list()}
    record, etag = _read(store) if RECORD_KEY in keys else ({}, None)
    uris: dict[str, str] = record.get("inputs", {})
    asked = {one.name: one.uri for one in inputs}
    if overwrite:
        ours = _written_of(keys, uris.keys() | asked.keys())
        in_threads(store.delete, sorted(ours), DELETING_THREADS)
        keys, uris = keys - ours, {}
    elif etag is None:
        _check_none_there(store, keys, asked)
    else:
        _check_same(store, record, made_with, asked)
    now = {"made_with": dict(made_with), "inputs": uris | asked}
    if now != record:
        store.put_if(RECORD_KEY, json_bytes(now), etag=etag)
    return keys


def _read(store: Store) -> tuple[dict[str, Any], str | None]:
    try:
        return get_json_with_etag(store, RECORD_KEY)
    except NotFoundError:
        return {}, None


def _written_of(keys: Collection[str], names: Collection[str]) -> set[str]:
    """The keys of what is written of inputs with these names."""
    found = set()
    for key in keys:
        name = next((key.removesuffix(suffix) for suffix in WRITTEN if key.endswith(suffix)), None)
        if name is not None and (name in names or (key.endswith(MASK) and video_of(name) in names)):
            found.add(key)
    return found


def _check_none_there(store: Store, keys: Collection[str], asked: Collection[str]) -> None:
    there = sorted(_written_of(keys, asked))
    if there:
        raise UsageError(
            f"{store.uri}/{there[0]}: is there already, and without {RECORD_KEY} nobody knows what made it; {REMEDY}"
        )


def _check_same(
    store: Store, record: Mapping[str, Any], made_with: Mapping[str, Any], asked: Mapping[str, str]
) -> None:
    before = record.get("made_with", {})
    others = [
        f"{name} {before.get(name)}, now {value}" for name, value in made_with.items() if before.get(name) != value
    ]
    if others:
        raise UsageError(f"{store.uri}: what is there was made otherwise ({'; '.join(others)}); {REMEDY}")
    uris = record.get("inputs", {})
    moved = next((name for name, uri in asked.items() if uris.get(name, uri) != uri), None)
    if moved is not None:
        raise UsageError(f"{store.uri}: {moved}{MASK} is that of {uris[moved]}, not of {asked[moved]}; {REMEDY}")
