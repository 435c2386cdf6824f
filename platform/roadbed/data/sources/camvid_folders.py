"""Where CamVid's frames and masks lie, in the arrangements that are in use; reads folder listings alone.

SegNet's             {train,val,test}/NAME.png + {train,val,test}annot/NAME.png        ids 0..11
pre-split (Kaggle)   {train,val,test}/NAME.png + {train,val,test}_labels/NAME_L.png    32 colours
original             701_StillsRaw_full/NAME.png + LabeledApproved_full/NAME_L.png     32 colours
fast.ai's            images/NAME.png + labels/NAME_P.png + codes.txt                   ids in the order of codes.txt
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from roadbed.data.sources import SampleRef, natural_order
from roadbed.data.sources.camvid_splits import assign_splits
from roadbed.errors import DataError

MaskKind = Literal["ids of 11", "ids of codes.txt", "colours"]

SPLITS = ("train", "val", "test")
SPLIT_MASKS: dict[str, MaskKind] = {"annot": "ids of 11", "_labels": "colours"}
FRAME_FOLDERS = ("701_StillsRaw_full", "images")
MASK_FOLDERS = ("LabeledApproved_full", "labels")
MASK_ENDINGS = ("_L", "_P")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
MAX_NAMES_SHOWN = 8


@dataclass(frozen=True)
class CamvidRef(SampleRef):
    """A frame and its mask."""

    image_path: Path
    mask_path: Path
    mask_kind: MaskKind


@dataclass
class CamvidFolder:
    """The pairs of a CamVid folder by split, and what does not pair up, a line each."""

    splits: dict[str, list[CamvidRef]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def scan_camvid(folder: Path) -> CamvidFolder:
    """Find all pairs under `folder`. Raises DataError if it is not CamVid in any of the arrangements."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise DataError(f"{folder}: {what}; give the folder that holds CamVid")
    pre_split = [split for split in SPLITS if (folder / split).is_dir()]
    if any(_mask_folder(folder, split) for split in pre_split):
        return _scan_pre_split(folder, pre_split)
    frames, masks = (_first_folder(folder, names) for names in (FRAME_FOLDERS, MASK_FOLDERS))
    if frames and masks:
        return _scan_original(folder, frames, masks)
    raise DataError(_not_camvid(folder))


def _scan_pre_split(folder: Path, splits: Iterable[str]) -> CamvidFolder:
    found = CamvidFolder()
    for split in splits:
        masks = _mask_folder(folder, split)
        if masks is None:
            found.problems.append(f"{folder / split}: no masks beside it, neither {split}annot/ nor {split}_labels/")
            continue
        kind = SPLIT_MASKS[masks.name.removeprefix(split)]
        found.splits[split] = _pair(folder / split, masks, kind, found.problems)
    return found


def _scan_original(folder: Path, frames: Path, masks: Path) -> CamvidFolder:
    found = CamvidFolder()
    kind: MaskKind = "ids of codes.txt" if (folder / "codes.txt").is_file() else "colours"
    refs = {ref.key: ref for ref in _pair(frames, masks, kind, found.problems)}
    for split, keys in assign_splits(folder, refs, found.problems).items():
        found.splits[split] = [refs[key] for key in keys]
    return found


def _pair(frames: Path, masks: Path, kind: MaskKind, problems: list[str]) -> list[CamvidRef]:
    image_paths = _images(frames, problems)
    mask_paths = _images(masks, problems, endings=MASK_ENDINGS)
    for name in sorted(image_paths.keys() - mask_paths.keys(), key=natural_order):
        problems.append(f"{image_paths[name]}: no mask for it in {masks.name}/")
    for name in sorted(mask_paths.keys() - image_paths.keys(), key=natural_order):
        problems.append(f"{mask_paths[name]}: no frame for it in {frames.name}/")
    names = sorted(image_paths.keys() & mask_paths.keys(), key=natural_order)
    return [CamvidRef(name, image_paths[name], mask_paths[name], kind) for name in names]


def _images(folder: Path, problems: list[str], *, endings: tuple[str, ...] = ()) -> dict[str, Path]:
    """Image files by name, without suffix and without one of `endings`."""
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        ending = next((ending for ending in endings if path.stem.endswith(ending)), "")
        name = path.stem.removesuffix(ending)
        if name in paths:
            problems.append(f"{path}: {paths[name].name} has the same name; keep one of them")
        paths[name] = path
    return paths


def _mask_folder(folder: Path, split: str) -> Path | None:
    return _first_folder(folder, [split + ending for ending in SPLIT_MASKS])


def _first_folder(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _not_camvid(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:MAX_NAMES_SHOWN]) + (
        f", ... ({len(names)} in all)" if len(names) > MAX_NAMES_SHOWN else ""
    )
    inner = next((path for path in sorted(folder.iterdir()) if path.is_dir() and _looks_like_camvid(path)), None)
    hint = f"; did you mean {inner}?" if inner else ""
    frames, masks = (" or ".join(f"{name}/" for name in names) for names in (FRAME_FOLDERS, MASK_FOLDERS))
    return (
        f"{folder}: not CamVid. Looked for train/ with trainannot/ or train_labels/ beside it, and for {frames} "
        f"with {masks} beside it; found {shown or 'an empty folder'}{hint}"
    )


def _looks_like_camvid(folder: Path) -> bool:
    has_splits = any((folder / split).is_dir() and _mask_folder(folder, split) for split in SPLITS)
    return has_splits or all(_first_folder(folder, names) for names in (FRAME_FOLDERS, MASK_FOLDERS))
