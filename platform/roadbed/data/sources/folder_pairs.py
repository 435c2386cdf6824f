"""Pairs of frame and mask below two folders, by their names; reads listings alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from roadbed.data.sources import natural_order
from roadbed.data.sources.listing import IMAGE_SUFFIXES, Listing, check_there, image_names, place
from roadbed.errors import DataError, UsageError
from roadbed.storage import Store

MASK_ENDINGS = ("_mask", "_masks", "_label", "_labels", "_gt", "_seg", "_L", "-mask", "-label")
MAX_PROBLEMS_SHOWN = 5


@dataclass
class FolderPairs:
    """Keys of frame and mask by name (the path below the folder without suffix), and what does not pair up."""

    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Places of files that `problems` names already and that nobody need open."""


def pair_files(images: Store, masks: Store, *, mask_suffix: str | None) -> FolderPairs:
    """Frames and masks of the same name, below sub-folders too.

    A mask may have `mask_suffix` at the end of its name, or one of MASK_ENDINGS if none is given. Raises DataError if
    nothing pairs up, UsageError if one folder is given for both and no suffix tells them apart.
    """
    mask_suffix = _without_image_suffix(mask_suffix or "")
    if images.uri == masks.uri and not mask_suffix:
        raise UsageError(f"--images and --masks are both {place(images)}; say what masks end with: --mask-suffix _mask")
    for store, what in ((images, "the frames"), (masks, "the masks")):
        check_there(store, holding=what)
    found = FolderPairs()
    image_keys = mask_files = _images(images, masks, found)
    if images.uri == masks.uri:
        image_keys = {name: key for name, key in image_keys.items() if not name.endswith(mask_suffix)}
    else:
        mask_files = _images(masks, images, found, ending=mask_suffix)
    mask_keys = _masks(mask_files, image_keys, mask_suffix, masks, found.problems)
    both = image_keys.keys() & mask_keys.keys()
    if not both:
        nothing = _nothing_pairs(images, masks, sorted(image_keys.values()), sorted(mask_keys.values()))
        raise DataError("\n".join([nothing, *found.problems[:MAX_PROBLEMS_SHOWN]]))
    for name in sorted(image_keys.keys() - both, key=natural_order):
        found.problems.append(f"{place(images, image_keys[name])}: no mask for it in {place(masks)}")
    for name in sorted(mask_keys.keys() - both, key=natural_order):
        found.problems.append(f"{place(masks, mask_keys[name])}: no frame for it in {place(images)}")
    found.keys = {
        name: (image_keys[name], mask_keys[name])
        for name in sorted(both, key=natural_order)
        if found.broken.isdisjoint((place(images, image_keys[name]), place(masks, mask_keys[name])))
    }
    if not found.keys:
        raise DataError("\n".join([f"{place(images)}: no pair can be read", *found.problems[:MAX_PROBLEMS_SHOWN]]))
    return found


def _without_image_suffix(text: str) -> str:
    """Names are compared without .png, so an ending that was given with it is meant without it too."""
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if text.lower().endswith(suffix)), "")
    return text[: len(text) - len(suffix)]


def _images(store: Store, other: Store, found: FolderPairs, *, ending: str = "") -> dict[str, str]:
    """Keys of image files by name; what lies below `other` is not ours, if that is a folder inside.

    Files that cannot be used are problems, if the names that matter, which have this `ending`, are theirs.
    """
    below_other = other.uri.removeprefix(f"{store.uri}/") + "/" if other.uri.startswith(f"{store.uri}/") else None
    listing = Listing(store, "")
    for key, fault in listing.faults.items():
        path = PurePosixPath(key)
        is_ours = not (below_other and f"{key}/".startswith(below_other))
        if is_ours and (not path.suffix or path.stem.endswith(ending)):
            found.broken.add(place(store, key))
            found.problems.append(f"{place(store, key)}: {fault}")
    keys: dict[str, str] = {}
    for key in image_names(listing.keys):
        if below_other and key.startswith(below_other):
            continue
        name = str(PurePosixPath(key).with_suffix(""))
        if name in keys:
            found.problems.append(f"{place(store, key)}: {keys[name]} has the same name; keep one of them")
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
