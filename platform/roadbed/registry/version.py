"""One published version: immutable files that its manifest names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadbed.errors import DamagedError, NotFoundError
from roadbed.storage import Store, get_json

MANIFEST_KEY = "manifest.json"
CARD_KEY = "card.json"


class Version:
    """Version `number` of the model `name`; made by Registry, which has read the manifest."""

    def __init__(self, name: str, number: int, store: Store, manifest: Mapping[str, Any]) -> None:
        self.name = name
        self.number = number
        self.store = store
        self.uri = store.uri
        self._files = manifest["files"]

    def __repr__(self) -> str:
        return f"Version({self.name}:{self.number} at {self.uri})"

    @property
    def files(self) -> list[str]:
        """Sorted names of the files that belong to the version, card.json among them."""
        return sorted(self._files)

    def num_bytes(self, file: str) -> int:
        """The size of a file, by the manifest."""
        return int(self._facts(file)["num_bytes"])

    def sha256(self, file: str) -> str:
        """The sha256 (hex) of a file, by the manifest."""
        return str(self._facts(file)["sha256"])

    def get(self, file: str) -> bytes:
        """A file, checked. Raises NotFoundError if the manifest does not name it, DamagedError if bytes differ."""
        return self.store.get(file, sha256=self.sha256(file))

    def download(self, file: str, path: Path) -> None:
        """A file into `path`, checked as in `get`."""
        self.store.download(file, path, sha256=self.sha256(file))

    def card(self) -> dict[str, Any]:
        """What is known of the version: scores, dataset, run, environment, ..."""
        self.get(CARD_KEY)
        return get_json(self.store, CARD_KEY)

    def _facts(self, file: str) -> Mapping[str, Any]:
        if file not in self._files:
            raise NotFoundError(f"{self.uri}: has no file {file}; it has {', '.join(self.files)}")
        facts: Mapping[str, Any] = self._files[file]
        return facts


def read_version(name: str, number: int, store: Store) -> Version:
    """The version at `store`. Raises NotFoundError if it has no manifest: a publication that was never completed."""
    manifest = get_json(store, MANIFEST_KEY)
    if not isinstance(manifest.get("files"), dict):
        raise DamagedError(f"{store.uri}/{MANIFEST_KEY}: names no files; publish the version anew")
    return Version(name, number, store, manifest)
