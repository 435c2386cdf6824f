"""Of models: publications that never got their manifest, and files of exports that their manifest does not name."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from roadbed.errors import ConflictError, DamagedError, NotFoundError
from roadbed.leftovers.leftover import Leftover, delete_all, grouped, newest
from roadbed.registry.registry import CLAIM_KEY
from roadbed.registry.version import MANIFEST_KEY
from roadbed.storage import ObjectInfo, Store, get_json_with_etag, json_bytes

_VERSION = re.compile(r"([^/]+/versions/[0-9]+)/.+")
_EXPORT = re.compile(r"(exports/[^/]+)/.+")
_EXPORT_FOLDER = re.compile(r"([0-9a-f]{12})/.+")


def leftovers_of_models(
    root: Store, cutoff: float, *, clock: Callable[[], float], spare: Callable[[str], None]
) -> Iterator[Leftover]:
    """The leftovers of all models; `cutoff` as for runs."""
    models = root.child("models")
    for name in models.list_folders():
        versions = grouped(models.list(f"{name}/versions/"), partial(_first, _VERSION))
        for folder, infos in versions.items():
            store = models.child(folder)
            inside = [_below(info, folder) for info in infos]
            if any(info.key == MANIFEST_KEY for info in inside):
                try:
                    yield from _of_exports(store, inside, cutoff)
                except DamagedError as error:
                    spare(str(error))
            else:
                yield from _of_publication(store, inside, cutoff, clock)


def _of_publication(
    store: Store, infos: Sequence[ObjectInfo], cutoff: float, clock: Callable[[], float]
) -> Iterator[Leftover]:
    """A version without a manifest. Its claim stays: no other version ever gets its number."""
    files = [info for info in infos if info.key != CLAIM_KEY]
    if files and newest(infos) <= cutoff:
        why = f"a publication that broke off: it has no {MANIFEST_KEY}"
        delete = partial(_give_up, store, [info.key for info in files], clock)
        yield Leftover.of("version", store, "", files, why, delete)


def _give_up(store: Store, keys: Sequence[str], clock: Callable[[], float]) -> bool:
    """Take the claim from the publisher, who finds that out before the manifest, and then the files."""
    etag = None
    with suppress(NotFoundError):
        _, etag = store.get_with_etag(CLAIM_KEY)
    try:
        store.put_if(CLAIM_KEY, json_bytes({"given_up_at": clock(), "nonce": secrets.token_hex(16)}), etag=etag)
    except ConflictError:
        return False
    if store.exists(MANIFEST_KEY):
        return False
    delete_all(store, keys)
    return True


def _of_exports(store: Store, infos: Sequence[ObjectInfo], cutoff: float) -> Iterator[Leftover]:
    """Raises DamagedError for a manifest that cannot be read."""
    for place, group in grouped(infos, partial(_first, _EXPORT)).items():
        export, inside = store.child(place), [_below(info, place) for info in group]
        named, etag = _named(export)
        if any(info.key == MANIFEST_KEY and info.modified_at > cutoff for info in inside):
            continue  # Somebody may just be reading what it has named before.
        for folder, files in grouped(inside, partial(_first, _EXPORT_FOLDER)).items():
            unnamed = [info for info in files if info.key not in named]
            if unnamed and newest(files) <= cutoff:
                why = "another export has taken its place" if named else "an export that broke off: it has no manifest"
                delete = partial(_delete_export, export, folder, [info.key for info in unnamed], etag, cutoff)
                yield Leftover.of("export", export, folder, unnamed, why, delete)


def _named(export: Store) -> tuple[set[str], str | None]:
    """The keys that the manifest of an export names, and its etag; nothing if there is none."""
    try:
        manifest, etag = get_json_with_etag(export, MANIFEST_KEY)
    except NotFoundError:
        return set(), None
    try:
        return {facts["key"] for facts in manifest["files"].values()}, etag
    except (AttributeError, KeyError, TypeError):
        raise DamagedError(
            f"{export.uri}/{MANIFEST_KEY}: does not say which files it names; export the version again with --replace"
        ) from None


def _delete_export(export: Store, folder: str, keys: Sequence[str], etag: str | None, cutoff: float) -> bool:
    if _named(export)[1] != etag or newest(export.list(f"{folder}/")) > cutoff:
        return False
    delete_all(export, keys)
    return True


def _first(pattern: re.Pattern[str], key: str) -> str | None:
    found = pattern.fullmatch(key)
    return found[1] if found else None


def _below(info: ObjectInfo, folder: str) -> ObjectInfo:
    return ObjectInfo(info.key.removeprefix(f"{folder}/"), info.num_bytes, info.etag, info.modified_at)
