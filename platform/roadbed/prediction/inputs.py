"""What is to be predicted: files, folders, globs, s3:// objects and prefixes as pictures and videos with their names.

A name leads from an input to what is written of it: NAME.mask.png and so on. It is the path below the folder, prefix or
fixed part of the glob that was asked for, without its suffix, so sub-folders come again in the output.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from roadbed.data.sources import natural_order
from roadbed.data.sources.listing import Listing
from roadbed.errors import UsageError
from roadbed.storage import open_store, split_uri

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})
# Of what is written of a picture or video. No folder or glob gives such files as inputs.
MASK, OVERLAY, SIDE = ".mask.png", ".overlay.png", ".side.png"
OVERLAY_VIDEO, SIDE_VIDEO = ".overlay.mp4", ".side.mp4"
WRITTEN = (MASK, OVERLAY, SIDE, OVERLAY_VIDEO, SIDE_VIDEO)
_FRAME = re.compile(r"(?P<video>.+)/\d{6,}")


@dataclass(frozen=True)
class Input:
    """A picture or video: `key` in the store at `root`, and the name of what is written of it."""

    root: str
    key: str

    @property
    def name(self) -> str:
        """The key without its suffix."""
        return str(PurePosixPath(self.key).with_suffix(""))

    @property
    def uri(self) -> str:
        """Where it lies."""
        return f"{self.root}/{self.key}"

    @property
    def place(self) -> str:
        """Where it lies, as people write it: a path for local files."""
        return self.uri.removeprefix("file://")

    @property
    def is_video(self) -> bool:
        """Whether it holds frames."""
        return PurePosixPath(self.key).suffix.lower() in VIDEO_SUFFIXES


def frame_name(video: str, number: int) -> str:
    """The name of what is written of a frame of the video of this name."""
    return f"{video}/{number:06d}"


def video_of(name: str) -> str | None:
    """The name of the video whose frame has this name; None if no frame could have it."""
    found = _FRAME.fullmatch(name)
    return found["video"] if found else None


def find_inputs(asked: Sequence[str]) -> tuple[list[Input], int]:
    """Every picture and video that was asked for, each once, and how many files of folders and globs were left out.

    Raises UsageError for what is not there or holds no picture or video, and for two inputs of which the same would be
    written.
    """
    found: dict[tuple[str, str], Input] = {}
    num_left_out = 0
    for text in asked:
        inputs, others = _inputs(text)
        num_left_out += others
        found |= {(one.uri, one.name): one for one in inputs}
    inputs = list(found.values())
    _check_names(inputs)
    return inputs, num_left_out


def _inputs(asked: str) -> tuple[list[Input], int]:
    """Those of one word of the command line, and how many files it has besides."""
    root, keys, is_named = _remote(asked) if asked.startswith("s3://") else _local(asked)
    if is_named:
        return [Input(root, key) for key in keys], 0
    taken = sorted(filter(_is_taken, keys), key=natural_order)
    if not taken:
        known = ", ".join(sorted(PICTURE_SUFFIXES | VIDEO_SUFFIXES))
        besides = f"; of its {len(keys)} files none is one" if keys else ""
        raise UsageError(f"{asked}: no pictures or videos there{besides} (looked for {known})")
    return [Input(root, key) for key in taken], len(keys) - len(taken)


def _is_taken(key: str) -> bool:
    is_read = PurePosixPath(key).suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES
    return is_read and not key.endswith(WRITTEN)


def _local(asked: str) -> tuple[str, list[str], bool]:
    """Root, keys below it, and whether it is a single file that was named."""
    path = Path(asked.removeprefix("file://")).expanduser()
    if asked and path.is_dir():  # an empty word, as of a variable that is not set, is not the working folder
        return _all_below(str(path))
    if asked and path.exists():
        return open_store(str(path.parent)).uri, [path.name], True
    if not glob.has_magic(asked):
        raise UsageError(f"{asked or repr(asked)}: no such file or folder")
    fixed = Path(_fixed_part(str(path)))
    files = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207  (a path, not a folder's glob)
    keys = sorted(file.relative_to(fixed).as_posix() for file in files if file.is_file())
    return open_store(str(fixed)).uri, keys, False


def _remote(asked: str) -> tuple[str, list[str], bool]:
    """As `_local`."""
    if glob.has_magic(asked):
        fixed = _fixed_part(asked)
        root, keys, _ = _all_below(fixed)
        pattern = asked.removeprefix(fixed).strip("/").split("/")
        return root, [key for key in keys if _matches(key.split("/"), pattern)], False
    if not asked.endswith("/") and asked.count("/") > 2:
        folder, key = split_uri(asked)
        store = open_store(folder)
        if store.exists(key):
            return store.uri, [key], True
    return _all_below(asked)


def _all_below(folder: str) -> tuple[str, list[str], bool]:
    listing = Listing(open_store(folder), "")
    return listing.store.uri, listing.keys, False


def _fixed_part(pattern: str) -> str:
    """The folders of a glob before the first of its wildcards: "a/b/*.png" -> "a/b"."""
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a key fit those of a glob, as `glob` has it: ** is any number of folders, also none."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[start:], pattern[1:] or ["*"]) for start in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _check_names(inputs: Sequence[Input]) -> None:
    by_name: dict[str, Input] = {}
    for one in inputs:
        other = by_name.setdefault(one.name, one)
        if other is not one:
            raise _same_name(other, one, one.name)
    for one in inputs:
        video = by_name.get(video_of(one.name) or "")
        if video is not None and video.is_video:
            raise _same_name(video, one, one.name)


def _same_name(one: Input, other: Input, name: str) -> UsageError:
    return UsageError(
        f"{one.place} and {other.place} would both be written to {name}{MASK}; name the folder above both, whose "
        "sub-folders the output has too, rename one, or predict them into two outputs"
    )
