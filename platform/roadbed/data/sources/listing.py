"""What lies below a prefix of a store: files by folder, listed once. The same for local folders and s3:// prefixes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from roadbed.errors import DataError
from roadbed.storage import Store, open_store

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
# What people have images in besides, and would wonder where they went.
UNREAD_SUFFIXES = frozenset(
    f".{name}"
    for names in ("avif bmp dib exr gif heic heif j2k jfif", "jp2 jpe pbm pgm pnm ppm tga tif tiff webp")
    for name in names.split()
)
MAX_NAMES_SHOWN = 8


class Listing:
    """The files of `store` below `prefixes` ("" for all, or "folder/"), hidden ones left out. Folders read "a/b"."""

    def __init__(self, store: Store, *prefixes: str) -> None:
        self.store = store
        keys = {key for prefix in prefixes for key in _keys(store, prefix)}
        self.keys = sorted(key for key in keys if not any(part.startswith(".") for part in key.split("/")))
        for key in self.keys:
            _check_name(store, key)
        self.faults = {key: fault for key in self.keys if (fault := _fault(store, key))}
        """By key, what is wrong with files that cannot be used, whatever they hold."""
        self._files: dict[str, list[str]] = {"": []}
        for key in self.keys:
            folder, _, name = key.rpartition("/")
            self._files.setdefault(folder, []).append(name)
        self._folders: dict[str, set[str]] = {}
        for folder in self._files:
            self._add_folder(folder)

    def files(self, folder: str = "") -> list[str]:
        """Sorted names of the files directly in a folder."""
        return self._files.get(folder, [])

    def folders(self, folder: str = "") -> list[str]:
        """Sorted names of the folders directly in a folder that hold a file somewhere below."""
        return sorted(self._folders.get(folder, ()))

    def has_folder(self, folder: str) -> bool:
        """Whether there is a file somewhere below the folder."""
        return folder in self._folders

    def has_file(self, key: str) -> bool:
        """Whether there is this file."""
        folder, _, name = key.rpartition("/")
        return name in self.files(folder)

    def place(self, key: str = "") -> str:
        """A key as a person writes it, or the top for ""."""
        return place(self.store, key)

    def contents(self, folder: str = "") -> str:
        """What lies directly in a folder, in a few words for an error text."""
        return name_some(sorted([*(f"{name}/" for name in self.folders(folder)), *self.files(folder)]))

    def _add_folder(self, folder: str) -> None:
        if folder not in self._folders:
            self._folders[folder] = set()
            if folder:
                parent, _, name = folder.rpartition("/")
                self._add_folder(parent)
                self._folders[parent].add(name)


def source_store(src: str | Path | Store) -> Store:
    """The store of a folder, of a uri, or of what is one already."""
    return open_store(str(src)) if isinstance(src, str | Path) else src


def place(store: Store, key: str = "") -> str:
    """An object as a person writes it: a path for local files, else the uri."""
    return f"{store.uri.removeprefix('file://')}/{key}".rstrip("/")


def link_fault(store: Store, key: str) -> str | None:
    """What is wrong with a local file that is a link to nowhere; None for all others."""
    path = f"{store.uri.removeprefix('file://')}/{key}"
    # Asked for every image of a dataset: without a Path, which costs more than the question.
    if not (store.uri.startswith("file://") and os.path.islink(path)) or Path(path).exists():  # noqa: PTH114
        return None
    return f"a link to {Path(path).readlink()}, where nothing is; mend or remove the link"


def check_there(store: Store, *, holding: str) -> None:
    """Raises DataError if a local folder is missing or a file; `holding` says what should lie in it."""
    folder = _local_folder(store)
    if folder is not None and not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise DataError(f"{folder}: {what}; give the folder that holds {holding}")


def name_some(names: Sequence[str]) -> str:
    """The first few of what a folder holds, and how many there are."""
    more = f", ... ({len(names)} in all)" if len(names) > MAX_NAMES_SHOWN else ""
    return ", ".join(names[:MAX_NAMES_SHOWN]) + more if names else "an empty folder"


def image_names(names: Sequence[str]) -> list[str]:
    """Those of `names` that end as an image does."""
    return [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]


def _keys(store: Store, prefix: str) -> Iterator[str]:
    folder = _local_folder(store)
    if folder is None:
        for item in store.list(prefix):
            yield item.key
    elif (folder / prefix).is_dir():
        yield from _local_keys(folder, prefix)


def _local_keys(top: Path, prefix: str) -> Iterator[str]:
    """Keys below a local folder, links followed: parts of a dataset often lie on another disk, and are linked."""
    above: dict[str, frozenset[str]] = {}
    for folder, folders, names in os.walk(top / prefix, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        ancestors = above.pop(folder, frozenset())
        # A link to a folder above would never end; two links to one folder are two folders.
        if real in ancestors:
            folders.clear()
            continue
        folders.sort()
        above.update((os.path.join(folder, name), ancestors | {real}) for name in folders)  # noqa: PTH118
        for name in names:
            yield Path(folder, name).relative_to(top).as_posix()


def _check_name(store: Store, key: str) -> None:
    """Raises DataError for a name whose bytes are no UTF-8: it could stand in no index."""
    try:
        key.encode()
    except UnicodeEncodeError:
        shown = key.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise DataError(
            f"{place(store, shown)}: its name is not UTF-8; rename it, as convmv does for whole folders"
        ) from None


def _fault(store: Store, key: str) -> str | None:
    """What is wrong with a file, judged without opening it."""
    suffix = PurePosixPath(key).suffix.lower()
    if suffix in UNREAD_SUFFIXES:
        return f"{suffix} files are not read; convert it to PNG, as with `magick IN OUT.png`, or remove it"
    # What is linked from elsewhere are images, and whole folders, whose names have no suffix.
    return link_fault(store, key) if not suffix or suffix in IMAGE_SUFFIXES else None


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be listed: {error.strerror}; check its permissions") from None


def _local_folder(store: Store) -> Path | None:
    return Path(store.uri.removeprefix("file://")) if store.uri.startswith("file://") else None
