"""What stands in CamVid's raw masks, as ids of a label space: colours, or ids in one of two orders."""

from __future__ import annotations

import difflib
import re

from roadbed.data.labels import CAMVID_11, CAMVID_COLORS, Color, LabelSpace, camvid_ids
from roadbed.data.sources.listing import Listing
from roadbed.data.sources.tables import UNKNOWN_ID, ColorTable, MaskTable
from roadbed.errors import DataError

COLOR_LINE = re.compile(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\S+)\s*")
COLOR_FILE = "label_colors.txt"
COLOR_HINT = "colour masks belong in train_labels/, val_labels/ or LabeledApproved_full/"


def segnet_table(label_space: LabelSpace, *, origin: str) -> MaskTable:
    """For SegNet's masks: ids 0..10, and 11 for unlabelled. Raises DataError if more classes are asked for."""
    if label_space != CAMVID_11:
        raise DataError(
            f"{origin}: its masks hold the 11 classes of SegNet's arrangement, but {label_space.name} was asked for; "
            "use --classes 11, or give CamVid with its original colour masks"
        )
    names = dict(enumerate((*label_space.class_names, "unlabelled")))
    ids = {raw_id: raw_id for raw_id in range(label_space.num_classes)} | {len(names) - 1: label_space.ignore_id}
    return MaskTable(ids, names=names, known="ids are 0..10, and 11 for unlabelled", hint=COLOR_HINT)


def codes_table(listing: Listing, key: str, label_space: LabelSpace) -> MaskTable:
    """For masks of ids in the order of codes.txt, a CamVid class name a line. Raises DataError for other names."""
    ids = camvid_ids(label_space)
    place = listing.place(key)
    names = listing.store.get(key).decode("utf-8-sig", errors="replace").split()
    for number, name in enumerate(names, 1):
        _check_name(place, number, name)
    if not 1 <= len(names) <= UNKNOWN_ID:
        raise DataError(f"{place}: {len(names)} class names; expected CamVid's 32, one a line")
    return MaskTable(
        {index: ids[name] for index, name in enumerate(names)},
        names=dict(enumerate(names)),
        known=f"{place} names 0..{len(names) - 1}",
        hint=COLOR_HINT,
    )


def color_table(listing: Listing, label_space: LabelSpace) -> ColorTable:
    """For colour masks: the colours of label_colors.txt if it is there or in a folder beside, else CamVid's own."""
    keys = [COLOR_FILE, *(f"{folder}/{COLOR_FILE}" for folder in listing.folders())]
    key = next((key for key in keys if listing.has_file(key)), None)
    colors = _read_colors(listing, key) if key else CAMVID_COLORS
    ids = camvid_ids(label_space)
    origin = listing.place(key) if key else "CamVid's 32 classes"
    return ColorTable(
        {color: ids[name] for name, color in colors.items()},
        names={color: name for name, color in colors.items()},
        known=f"known are those of {origin}",
    )


def _read_colors(listing: Listing, key: str) -> dict[str, Color]:
    place = listing.place(key)
    colors: dict[str, Color] = {}
    for number, line in enumerate(listing.store.get(key).decode("utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        match = COLOR_LINE.fullmatch(line)
        color = (int(match[1]), int(match[2]), int(match[3])) if match else (256, 256, 256)
        if match is None or max(color) > 255:
            raise DataError(
                f"{place}: line {number} is {line.strip()!r}; expected `R G B<TAB>Name`, as in `128 0 0 Building`"
            )
        _check_name(place, number, match[4])
        if color in colors.values():
            raise DataError(
                f"{place}: line {number} gives {match[4]} the colour {color}, which another class has already"
            )
        colors[match[4]] = color
    return colors


def _check_name(place: str, number: int, name: str) -> None:
    if name not in CAMVID_COLORS:
        near = difflib.get_close_matches(name, CAMVID_COLORS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; the classes are {', '.join(CAMVID_COLORS)}"
        raise DataError(f"{place}: line {number} names {name!r}, which is no CamVid class{hint}")
