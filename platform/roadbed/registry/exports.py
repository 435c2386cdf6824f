"""A version's files for one engine, beside the version: written once per export, named by a manifest last.

versions/3/exports/openvino/0123456789ab/...     the files of one export
versions/3/exports/openvino/manifest.json        moved to the newest whole one: key, bytes and sha256 of every file
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roadbed.errors import ConflictError, DamagedError, NotFoundError, UsageError
from roadbed.registry.version import MANIFEST_KEY, Version
from roadbed.storage import Store, get_json, get_json_with_etag, json_bytes

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Export:
    """What an engine needs to run a version, and the report of how near it came to the version's own weights."""

    engine: str
    store: Store
    report: Mapping[str, Any]
    _files: Mapping[str, Mapping[str, Any]]

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self.store.uri

    @property
    def num_bytes(self) -> int:
        """The size of all its files."""
        return sum(int(facts["num_bytes"]) for facts in self._files.values())

    @property
    def files(self) -> list[str]:
        """Sorted names of its files."""
        return sorted(self._files)

    def get(self, file: str) -> bytes:
        """A file, checked. Raises NotFoundError if there is none of that name, DamagedError if its bytes differ."""
        if file not in self._files:
            raise NotFoundError(f"{self.uri}: has no file {file}; it has {', '.join(self.files)}")
        facts = self._files[file]
        return self.store.get(facts["key"], sha256=facts["sha256"])


def find_export(version: Version, engine: str) -> Export | None:
    """The newest whole export of a version for an engine, None if there is none. Raises DamagedError."""
    store = _store(version, engine)
    try:
        manifest = get_json(store, MANIFEST_KEY)
    except NotFoundError:
        return None
    try:
        return Export(engine, store, manifest["report"], manifest["files"])
    except KeyError as error:
        raise DamagedError(
            f"{store.uri}/{MANIFEST_KEY}: has no {error.args[0]}; export the version again with --replace"
        ) from None


def find_exports(version: Version) -> list[Export]:
    """The exports of a version, by the engine's name."""
    found = [find_export(version, engine) for engine in version.store.list_folders("exports")]
    return [export for export in found if export is not None]


def write_export(
    version: Version, engine: str, files: Mapping[str, bytes], report: Mapping[str, Any], *, replace: bool = False
) -> Export:
    """Store an export; nobody sees it before it is whole.

    Raises UsageError if there is one and `replace` is not set, ConflictError if another was written meanwhile.
    """
    store = _store(version, engine)
    etag = None
    with contextlib.suppress(NotFoundError):
        _, etag = get_json_with_etag(store, MANIFEST_KEY)
    if etag is not None and not replace:
        raise UsageError(f"{store.uri}: {version.name}:{version.number} is exported already; --replace exports it anew")
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    folder = hashlib.sha256(json_bytes({"files": sums, "report": report})).hexdigest()[:12]
    facts = {}
    for name, data in sorted(files.items()):
        key = f"{folder}/{name}"
        store.put(key, data)
        facts[name] = {"key": key, "num_bytes": len(data), "sha256": sums[name]}
    manifest = {"format_version": FORMAT_VERSION, "engine": engine, "files": facts, "report": dict(report)}
    try:
        store.put_if(MANIFEST_KEY, json_bytes(manifest), etag=etag)
    except ConflictError:
        raise ConflictError(
            f"{store.uri}: somebody else exported {version.name}:{version.number} at this moment; look at it with "
            f"`roadbed models show`, or export again with --replace"
        ) from None
    return Export(engine, store, report, facts)


def _store(version: Version, engine: str) -> Store:
    return version.store.child(f"exports/{engine}")
