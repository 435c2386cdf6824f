"""Publishing, finding and promoting versions under one root of a store."""

from __future__ import annotations

import difflib
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from roadbed.errors import ConflictError, NotFoundError, RoadbedError, UsageError
from roadbed.registry.gates import Gates, failed_gates
from roadbed.registry.references import check_name, parse_reference
from roadbed.registry.version import CARD_KEY, MANIFEST_KEY, Version, read_version
from roadbed.storage import Store, get_json, get_json_with_etag, json_bytes, open_store, put_json
from roadbed.storage.checks import file_sha256

CLAIM_KEY = "claim.json"
FORMAT_VERSION = 1
_RESERVED = {CARD_KEY, MANIFEST_KEY, CLAIM_KEY}
_MAX_CLAIMS = 1000


class Registry:
    """The models under `root`. Nothing is read or written until asked for."""

    def __init__(self, root: Store, *, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self._clock = clock
        self._models = root.child("models")

    def names(self) -> list[str]:
        """Names of the models that have a version or an alias, sorted."""
        return self._models.list_folders()

    def versions(self, name: str) -> list[int]:
        """Numbers of the whole versions, ascending: those that have a manifest."""
        folders = self._models.list_folders(f"{check_name(name, 'model')}/versions")
        numbers = sorted(int(folder) for folder in folders if folder.isdigit())
        return [number for number in numbers if self._version_store(name, number).exists(MANIFEST_KEY)]

    def publish(self, name: str, files: Mapping[str, bytes | Path], card: Mapping[str, Any]) -> Version:
        """Store `files` and `card` as the next version; it is seen by nobody before it is whole.

        Raises UsageError for an impossible name of model or file, ConflictError if somebody took it for abandoned.
        """
        check_name(name, "model")
        for reserved in sorted(_RESERVED & set(files)):
            raise UsageError(f"{reserved} is written by the registry itself; give that file another name")
        number, nonce = self._claim_number(name)
        store = self._version_store(name, number)
        facts = {file: _write(store, file, content) for file, content in sorted(files.items())}
        facts[CARD_KEY] = _write(store, CARD_KEY, json_bytes(card))
        manifest = {"format_version": FORMAT_VERSION, "name": name, "number": number, "files": facts}
        if get_json(store, CLAIM_KEY).get("nonce") != nonce:
            raise ConflictError(
                f"{store.uri}: was taken for abandoned by `roadbed gc`, so long did it take; publish it again"
            )
        put_json(store, MANIFEST_KEY, manifest)
        return Version(name, number, store, manifest)

    def resolve(self, reference: str) -> Version:
        """The version that NAME@ALIAS, NAME:NUMBER or a uri names.

        Raises UsageError for another form, NotFoundError that says what there is instead.
        """
        parts = parse_reference(reference)
        if parts.root_uri is not None:
            return Registry(open_store(parts.root_uri or "/"))._read(parts.name, parts.number or 0, reference)
        if parts.alias is None:
            return self._read(parts.name, parts.number or 0, reference)
        try:
            document = get_json(self._models, _alias_key(parts.name, parts.alias))
        except NotFoundError:
            raise NotFoundError(f"{reference}: {self._what_exists(parts.name)}") from None
        return self._read(parts.name, document["version"], reference)

    def aliases(self, name: str) -> dict[str, int]:
        """The version number of every alias of a model."""
        prefix = f"{check_name(name, 'model')}/aliases/"
        keys = [info.key for info in self._models.list(prefix) if info.key.endswith(".json")]
        return {key.removeprefix(prefix).removesuffix(".json"): get_json(self._models, key)["version"] for key in keys}

    def alias_history(self, name: str, alias: str) -> list[dict[str, Any]]:
        """Every move of an alias, oldest first: version, by, at (unix seconds), reason, failed_gates if forced."""
        try:
            document = get_json(self._models, _alias_key(name, alias))
        except NotFoundError:
            return []
        return [*document["history"]]

    def promote(
        self,
        name: str,
        number: int,
        *,
        alias: str = "champion",
        gates: Gates,
        force: bool = False,
        by: str,
        reason: str = "",
    ) -> None:
        """Move `alias` to version `number`, if that passes the gates against the version the alias names now.

        Raises RoadbedError with the figures if a gate fails and `force` is not set, ConflictError that says who won
        if the alias was moved meanwhile, NotFoundError for a version that is not there.
        """
        version = self._read(name, number, f"{name}:{number}")
        key = _alias_key(name, alias)
        document, etag = self._read_alias(key)
        champion = document["version"] if document else None
        if champion == number:
            return
        champion_card = None if champion is None else self._read(name, champion, f"{name}@{alias}").card()
        failures = failed_gates(version.card(), champion_card, gates)
        if failures and not force:
            lines = "\n".join(f"  {failure}" for failure in failures)
            raise RoadbedError(
                f"{name}:{number} is not promoted to {alias}:\n{lines}\n"
                "Train a better one, or pass --force to promote it anyway"
            )
        move = {"version": number, "by": by, "at": self._clock(), "reason": reason, "failed_gates": failures}
        history = [*(document["history"] if document else []), move]
        moved = {"name": name, "alias": alias, "version": number, "history": history, "nonce": secrets.token_hex(16)}
        try:
            self._models.put_if(key, json_bytes(moved), etag=etag)
        except ConflictError:
            raise ConflictError(self._who_won(name, number, alias, key)) from None

    def _read(self, name: str, number: int, reference: str) -> Version:
        try:
            return read_version(name, number, self._version_store(name, number))
        except NotFoundError:
            raise NotFoundError(f"{reference}: {self._what_exists(name)}") from None

    def _read_alias(self, key: str) -> tuple[dict[str, Any] | None, str | None]:
        try:
            return get_json_with_etag(self._models, key)
        except NotFoundError:
            return None, None

    def _version_store(self, name: str, number: int) -> Store:
        return self._models.child(f"{name}/versions/{number}")

    def _claim_number(self, name: str) -> tuple[int, str]:
        """The number of the next version, and the nonce by which the claim to it is known."""
        folders = self._models.list_folders(f"{name}/versions")
        first = max((int(folder) for folder in folders if folder.isdigit()), default=0) + 1
        for number in range(first, first + _MAX_CLAIMS):
            nonce = secrets.token_hex(16)
            claim = json_bytes({"claimed_at": self._clock(), "nonce": nonce})
            try:
                self._version_store(name, number).put_if(CLAIM_KEY, claim, etag=None)
            except ConflictError:
                continue
            return number, nonce
        raise ConflictError(f"{self._models.uri}/{name}: {_MAX_CLAIMS} others publish at this moment; try again later")

    def _what_exists(self, name: str) -> str:
        """What to tell somebody who asked for what is not there."""
        numbers, aliases, names = self.versions(name), self.aliases(name), self.names()
        if numbers:
            listed = ", ".join(map(str, numbers[-20:]))
            named = ", ".join(f"{alias} -> {number}" for alias, number in aliases.items())
            return f"no such version; {name} has versions {listed} and " + (f"aliases {named}" if named else "no alias")
        if not names:
            return (
                f"there is no model {name}, nor any other under {self._models.uri}; train one with output.register_as"
            )
        near = difflib.get_close_matches(name, names, n=1)
        others = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:20])}"
        return f"there is no model {name} under {self._models.uri}; {others}"

    def _who_won(self, name: str, number: int, alias: str, key: str) -> str:
        document, _ = self._read_alias(key)
        lost = f"{name}:{number} is not promoted to {alias}"
        if document is None:
            return f"{lost}: the alias was deleted at the same moment; promote again"
        last = document["history"][-1]
        return (
            f"{lost}: {last['by']} moved the alias to version {last['version']} at the same moment; "
            "look at that version and promote again if yours is better"
        )


def _alias_key(name: str, alias: str) -> str:
    return f"{check_name(name, 'model')}/aliases/{check_name(alias, 'alias')}.json"


def _write(store: Store, file: str, content: bytes | Path) -> dict[str, Any]:
    """Write one file of a version; its facts for the manifest."""
    if isinstance(content, Path):
        sha256, num_bytes = file_sha256(content), content.stat().st_size
        store.upload(content, file, sha256=sha256)
        return {"num_bytes": num_bytes, "sha256": sha256}
    store.put(file, content)
    return {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
