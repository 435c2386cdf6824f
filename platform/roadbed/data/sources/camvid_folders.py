"""Where CamVid's frames and masks lie, in the arrangements that are in use; reads listings alone.

SegNet's             {train,val,test}/NAME.png + {train,val,test}annot/NAME.png        ids 0..11
pre-split (Kaggle)   {train,val,test}/NAME.png + {train,val,test}_labels/NAME_L.png    32 colours
original             701_StillsRaw_full/NAME.png + LabeledApproved_full/NAME_L.png     32 colours
fast.ai's            images/NAME.png + labels/NAME_P.png + codes.txt                   ids in the order of codes.txt
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from roadbed.data.sources import SampleRef, natural_order
from roadbed.data.sources.camvid_splits import assign_splits
from roadbed.data.sources.listing import Listing, check_there, image_names
from roadbed.errors import DataError

MaskKind = Literal["ids of 11", "ids of codes.txt", "colours"]

SPLITS = ("train", "val", "test")
SPLIT_MASKS: dict[str, MaskKind] = {"annot": "ids of 11", "_labels": "colours"}
FRAME_FOLDERS = ("701_StillsRaw_full", "images")
MASK_FOLDERS = ("LabeledApproved_full", "labels")
MASK_ENDINGS = ("_L", "_P")
CODES_FILE = "codes.txt"


@dataclass(frozen=True, slots=True)
class CamvidRef(SampleRef):
    """A frame and its mask, by their keys in the source's store."""

    image_key: str
    mask_key: str
    mask_kind: MaskKind


@dataclass
class CamvidFolder:
    """The pairs of a CamVid folder by split; what does not pair up, and what somebody should know, a line each."""

    splits: dict[str, list[CamvidRef]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan_camvid(listing: Listing) -> CamvidFolder:
    """Find all pairs. Raises DataError if it is not CamVid in any of the arrangements."""
    check_there(listing.store, holding="CamVid")
    pre_split = [split for split in SPLITS if listing.has_folder(split)]
    if any(_mask_folder(listing, split) for split in pre_split):
        return _scan_pre_split(listing, pre_split)
    frames, masks = (_first_folder(listing, names) for names in (FRAME_FOLDERS, MASK_FOLDERS))
    if frames and masks:
        return _scan_original(listing, frames, masks)
    raise DataError(_not_camvid(listing))


def _scan_pre_split(listing: Listing, splits: Iterable[str]) -> CamvidFolder:
    found = CamvidFolder(problems=_broken_links(listing))
    for split in splits:
        masks = _mask_folder(listing, split)
        if masks is None:
            found.problems.append(
                f"{listing.place(split)}: no masks beside it, neither {split}annot/ nor {split}_labels/"
            )
            continue
        kind = SPLIT_MASKS[masks.removeprefix(split)]
        found.splits[split] = _pair(listing, split, masks, kind, found.problems)
    return found


def _scan_original(listing: Listing, frames: str, masks: str) -> CamvidFolder:
    found = CamvidFolder(problems=_broken_links(listing))
    kind: MaskKind = "ids of codes.txt" if listing.has_file(CODES_FILE) else "colours"
    refs = {ref.key: ref for ref in _pair(listing, frames, masks, kind, found.problems)}
    for split, keys in assign_splits(listing, refs, found.problems, found.notes).items():
        found.splits[split] = [refs[key] for key in keys]
    return found


def _pair(listing: Listing, frames: str, masks: str, kind: MaskKind, problems: list[str]) -> list[CamvidRef]:
    image_keys = _images(listing, frames, problems)
    mask_keys = _images(listing, masks, problems, endings=MASK_ENDINGS)
    for name in sorted(image_keys.keys() - mask_keys.keys(), key=natural_order):
        problems.append(f"{listing.place(image_keys[name])}: no mask for it in {masks}/")
    for name in sorted(mask_keys.keys() - image_keys.keys(), key=natural_order):
        problems.append(f"{listing.place(mask_keys[name])}: no frame for it in {frames}/")
    names = sorted(image_keys.keys() & mask_keys.keys(), key=natural_order)
    refs = (CamvidRef(name, image_keys[name], mask_keys[name], kind) for name in names)
    return [ref for ref in refs if listing.faults.keys().isdisjoint((ref.image_key, ref.mask_key))]


def _images(listing: Listing, folder: str, problems: list[str], *, endings: tuple[str, ...] = ()) -> dict[str, str]:
    """Keys of image files by name, without suffix and without one of `endings`."""
    faults = ((key, fault) for key, fault in listing.faults.items() if key.rpartition("/")[0] == folder)
    problems += [f"{listing.place(key)}: {fault}" for key, fault in faults]
    keys: dict[str, str] = {}
    for file in image_names(listing.files(folder)):
        stem = file.rpartition(".")[0]
        ending = next((ending for ending in endings if stem.endswith(ending)), "")
        name = stem.removesuffix(ending)
        key = f"{folder}/{file}"
        if name in keys:
            other = keys[name].rpartition("/")[2]
            problems.append(f"{listing.place(key)}: {other} has the same name; keep one of them")
        keys[name] = key
    return keys


def _broken_links(listing: Listing) -> list[str]:
    """Folders that are links to nowhere; images beside the folders of frames and masks do not matter."""
    return [f"{listing.place(key)}: {fault}" for key, fault in listing.faults.items() if not {"/", "."} & set(key)]


def _mask_folder(listing: Listing, split: str, inside: str = "") -> str | None:
    return _first_folder(listing, [split + ending for ending in SPLIT_MASKS], inside)


def _first_folder(listing: Listing, names: Sequence[str], inside: str = "") -> str | None:
    return next((name for name in names if listing.has_folder(inside + name)), None)


def _not_camvid(listing: Listing) -> str:
    inner = next((name for name in listing.folders() if _looks_like_camvid(listing, f"{name}/")), None)
    hint = f"; did you mean {listing.place(inner)}?" if inner else ""
    hint += "".join(f"\n{line}" for line in _broken_links(listing))
    frames, masks = (" or ".join(f"{name}/" for name in names) for names in (FRAME_FOLDERS, MASK_FOLDERS))
    return (
        f"{listing.place()}: not CamVid. Looked for train/ with trainannot/ or train_labels/ beside it, and for "
        f"{frames} with {masks} beside it; found {listing.contents()}{hint}"
    )


def _looks_like_camvid(listing: Listing, inside: str) -> bool:
    has_splits = any(listing.has_folder(inside + split) and _mask_folder(listing, split, inside) for split in SPLITS)
    return has_splits or all(_first_folder(listing, names, inside) for names in (FRAME_FOLDERS, MASK_FOLDERS))
