"""Pairs of frame and mask below two folders, by their names; reads listings alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from roadbed.data.sources import natural_order
from roadbed.data.sources.listing import Listing, check_there, image_names, place
from roadbed.errors import DataError, UsageError
from roadbed.storage import Store

MASK_ENDINGS = ("_mask", "_masks", "_label", "_labels", "_gt", "_seg", "_L", "-mask", "-label")


@dataclass
class FolderPairs:
    """Keys of frame and mask by name (the path below the folder without suffix), and what does not pair up."""

    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def pair_files(images: Store, masks: Store, *, mask_suffix: str | None) -> FolderPairs:
    """Frames and masks of the same name, below sub-folders too.

    A mask may have `mask_suffix` at the end of its name, or one of MASK_ENDINGS if none is given. Raises DataError if
    nothing pairs up, UsageError if one folder is given for both and no suffix tells them apart.
    """
    if images.uri == masks.uri and not mask_suffix:
        raise UsageError(f"--images and --masks are both {place(images)}; say what masks end with: --mask-suffix _mask")
    for store, what in ((images, "the frames"), (masks, "the masks")):
        check_there(store, holding=what)
    found = FolderPairs()
    image_keys = _images(images, masks, found.problems)
    if images.uri == masks.uri:
        image_keys = {name: key for name, key in image_keys.items() if not name.endswith(mask_suffix or "")}
    mask_keys = _masks(_images(masks, images, found.problems), image_keys, mask_suffix, masks, found.problems)
    both = image_keys.keys() & mask_keys.keys()
    if not both:
        raise DataError(_nothing_pairs(images, masks, sorted(image_keys.values()), sorted(mask_keys.values())))
    for name in sorted(image_keys.keys() - both, key=natural_order):
        found.problems.append(f"{place(images, image_keys[name])}: no mask for it in {place(masks)}")
    for name in sorted(mask_keys.keys() - both, key=natural_order):
        found.problems.append(f"{place(masks, mask_keys[name])}: no frame for it in {place(images)}")
    found.keys = {name: (image_keys[name], mask_keys[name]) for name in sorted(both, key=natural_order)}
    return found


def _images(store: Store, other: Store, problems: list[str]) -> dict[str, str]:
    """Keys of image files by name; what lies below `other` is not ours, if that is a folder inside."""
    below_other = other.uri.removeprefix(f"{store.uri}/") + "/" if other.uri.startswith(f"{store.uri}/") else None
    keys: dict[str, str] = {}
    for key in image_names(Listing(store, "").keys):
        if below_other and key.startswith(below_other):
            continue
        name = str(PurePosixPath(key).with_suffix(""))
        if name in keys:
            problems.append(f"{place(store, key)}: {keys[name]} has the same name; keep one of them")
        keys[name] = key
    return keys


def _masks(
    keys: dict[str, str], frames: dict[str, str], suffix: str | None, store: Store, problems: list[str]
) -> dict[str, str]:
    """Keys of masks by the names of their frames."""
    masks: dict[str, str] = {}
    for name, key in keys.items():
        frame = _frame_name(name, frames, suffix)
        if frame is None:
            continue
        if frame in masks:
            problems.append(f"{place(store, key)}: {masks[frame]} is a mask of the same frame; keep one of them")
        masks[frame] = key
    return masks


def _frame_name(name: str, frames: dict[str, str], suffix: str | None) -> str | None:
    """The name of a mask's frame. With a suffix given, files without it are no masks: None."""
    if suffix:
        return name.removesuffix(suffix) if name.endswith(suffix) else None
    if name in frames:
        return name
    return next((name.removesuffix(end) for end in MASK_ENDINGS if name.removesuffix(end) in frames), name)


def _nothing_pairs(images: Store, masks: Store, image_keys: Sequence[str], mask_keys: Sequence[str]) -> str:
    frame = f"the first frame is {image_keys[0]}" if image_keys else "there are no frames"
    mask = f"the first mask is {mask_keys[0]}" if mask_keys else "there are no masks"
    return (
        f"{place(images)}: no frame has a mask in {place(masks)}: {frame}, {mask}; PNG or JPEG files pair by their "
        "paths below both folders, and --mask-suffix names what masks have at the end of theirs"
    )
