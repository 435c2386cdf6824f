"""Where a folder of one's own has its frames, its masks, or polygons to draw masks of."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roadbed.data.doctor.recognise import FRAME_FOLDERS, MASK_FOLDERS, known_arrangement
from roadbed.data.sources.folder_pairs import MASK_ENDINGS
from roadbed.data.sources.listing import IMAGE_SUFFIXES, name_some
from roadbed.errors import UsageError

DRAWN_MASKS = "masks"
CVAT_ROOT = b"<annotations>"
# So much of an XML file is looked at to tell what it is.
HEAD_BYTES = 4096


@dataclass(frozen=True)
class Layout:
    """Folders relative to the top, "." for the top itself. `mask_suffix` is given where both are one folder.

    Without masks there are files of polygons, as paths from the top: `labelme` one per frame, `cvat` one for all,
    `coco` one or more.
    """

    images: str
    masks: str | None
    mask_suffix: str | None = None
    labelme: tuple[str, ...] = ()
    cvat: str | None = None
    coco: tuple[str, ...] = ()


def find_layout(top: Path) -> Layout:
    """Look through a folder. Raises UsageError if it is none, or holds no frames, or neither masks nor polygons."""
    if not top.is_dir():
        raise UsageError(f"{top}: there is no such folder; name the one that holds frames and masks")
    known = known_arrangement({path.name for path in top.iterdir() if path.is_dir()})
    if known is not None:
        raise UsageError(
            f"{top}: arranged as {known} is, whose classes and splits are known; "
            f"`roadbed data prepare {known} {top} DEST` reads it as it is"
        )
    images = next((name for name in FRAME_FOLDERS if (top / name).is_dir()), ".")
    masks = next((name for name in MASK_FOLDERS if _has_images(top / name)), None)
    if not _has_images(top / images):
        found = sorted(f"{path.name}/" if path.is_dir() else path.name for path in top.iterdir())
        raise UsageError(
            f"{top}: no frames, for there are no PNG or JPEG files in {', '.join(f'{n}/' for n in FRAME_FOLDERS)} or "
            f"here; found {name_some(found)}; put frames into {top}/images"
        )
    if masks is not None:
        return Layout(images, masks)
    suffix = _common_suffix(top / images)
    if suffix is not None:
        return Layout(images, images, mask_suffix=suffix)
    cvat = next((path for path in sorted(top.glob("*.xml")) if _is_cvat(path)), None)
    if cvat is not None:
        return Layout(images, None, cvat=cvat.name)
    kinds = {str(path.relative_to(top)): _kind(path) for path in sorted(top.rglob("*.json"))}
    labelme, coco = (tuple(name for name, kind in kinds.items() if kind == wanted) for wanted in ("labelme", "coco"))
    if labelme or coco:
        return Layout(images, None, labelme=labelme, coco=() if labelme else coco)
    raise UsageError(
        f"{top}: frames in {images}/, but no masks in {', '.join(f'{name}/' for name in MASK_FOLDERS)}, none beside "
        "the frames (as NAME_mask.png), and no polygons of labelme (NAME.json), CVAT (annotations.xml) or COCO's kind; "
        "export some"
    )


def _kind(path: Path) -> Literal["labelme", "coco", "other"]:
    """What a JSON file holds."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return "other"
    if not isinstance(values, dict):
        return "other"
    if isinstance(values.get("shapes"), list):
        return "labelme"
    return "coco" if {"images", "annotations", "categories"} <= values.keys() else "other"


def _is_cvat(path: Path) -> bool:
    with path.open("rb") as file:
        return CVAT_ROOT in file.read(HEAD_BYTES)


def _has_images(folder: Path) -> bool:
    return folder.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.rglob("*"))


def _common_suffix(folder: Path) -> str | None:
    """What masks that lie beside their frames have at their ends, if half of the pictures are masks."""
    stems = [path.stem for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    endings = Counter(ending for ending in MASK_ENDINGS for stem in stems if stem.endswith(ending))
    ending, count = endings.most_common(1)[0] if endings else ("", 0)
    return ending if count and 2 * count >= len(stems) - 1 else None
