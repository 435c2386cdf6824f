"""Which Cityscapes frames there are and where their masks lie; reads listings alone.

leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png       (or leftImg8bit_trainvaltest/leftImg8bit/...)
gtFine/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png        (or gtFine_trainvaltest/gtFine/...)

Names as in the dataset's own tools, https://github.com/mcordts/cityscapesScripts.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from roadbed.data.sources import natural_order
from roadbed.data.sources.listing import Listing, check_there, name_some, place
from roadbed.errors import DataError, UsageError
from roadbed.storage import Store

Labels = Literal["labelIds", "labelTrainIds"]

SPLITS = ("train", "val")
DUMMY_SPLIT = "test"
FRAMES, MASKS = "leftImg8bit", "gtFine"
FRAME_ENDING = "_leftImg8bit.png"
PACKED = "{0}_trainvaltest/{0}"
LABELS: tuple[Labels, ...] = ("labelIds", "labelTrainIds")


@dataclass(frozen=True)
class CityscapesPair:
    """A frame and its mask: `name` is CITY_SEQUENCE_FRAME, the keys are those of the source's store."""

    name: str
    image_key: str
    mask_key: str


@dataclass
class CityscapesFolder:
    """Pairs by split; what does not pair up, and what was left out on purpose, a line each."""

    pairs: dict[str, list[CityscapesPair]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan_cityscapes(
    store: Store, *, labels: Labels, splits: Sequence[str] | None, cities: Sequence[str] | None
) -> CityscapesFolder:
    """Find the pairs of `splits` (None: train and val) in `cities` (None: all there are).

    Raises DataError if it is not Cityscapes or lacks the masks, UsageError for splits and cities that are not there, or
    a split that holds nothing. Only where cities are chosen, and splits are not, such a split is left out with a note.
    """
    may_leave_out = splits is None and cities is not None
    splits = splits or SPLITS
    check_there(store, holding=f"{FRAMES}/ and {MASKS}/")
    listing = Listing(store, *(f"{folder}/" for folder in _tops()))
    frames, masks = (_find_top(listing, top) for top in (FRAMES, MASKS))
    if frames is None or masks is None:
        raise DataError(_not_cityscapes(store))
    _check_splits(listing, frames, splits)
    _check_cities(listing, frames, splits, cities)
    _check_labels(listing, masks, labels)
    found = CityscapesFolder(notes=_left_out(listing, frames, splits))
    for split in splits:
        problems: list[str] = []
        pairs = _pairs(listing, f"{frames}/{split}", f"{masks}/{split}", labels, cities, problems)
        found.problems += problems
        if pairs:
            found.pairs[split] = pairs
        elif problems:
            continue  # They name every file of the split.
        elif may_leave_out:
            found.notes.append(f"left out: {split}, where none of the cities asked for has a pair of frame and mask")
        else:
            raise UsageError(_nothing_in(listing, f"{frames}/{split}", f"{masks}/{split}", labels, cities))
    return found


def _tops() -> list[str]:
    return [folder for top in (FRAMES, MASKS) for folder in (top, PACKED.format(top))]


def _find_top(listing: Listing, top: str, inside: str = "") -> str | None:
    return next((folder for folder in (top, PACKED.format(top)) if listing.has_folder(inside + folder)), None)


def _pairs(
    listing: Listing, frames: str, masks: str, labels: Labels, cities: Sequence[str] | None, problems: list[str]
) -> list[CityscapesPair]:
    mask_ending = f"_gtFine_{labels}.png"
    pairs = []
    problems += _faults(listing, (frames, masks), (FRAME_ENDING, mask_ending), cities)
    for city in sorted({*listing.folders(frames), *listing.folders(masks)}):
        if cities is not None and city not in cities:
            continue
        image_names = _names(listing, f"{frames}/{city}", FRAME_ENDING)
        mask_names = _names(listing, f"{masks}/{city}", mask_ending)
        for name in sorted(image_names ^ mask_names):
            if name in image_names:
                place = listing.place(f"{frames}/{city}/{name}{FRAME_ENDING}")
                problems.append(f"{place}: no mask for it, {name}{mask_ending} in {masks}/{city}/")
            else:
                place = listing.place(f"{masks}/{city}/{name}{mask_ending}")
                problems.append(f"{place}: no frame for it in {frames}/{city}/")
        pairs += [
            CityscapesPair(name, f"{frames}/{city}/{name}{FRAME_ENDING}", f"{masks}/{city}/{name}{mask_ending}")
            for name in image_names & mask_names
        ]
    whole = (pair for pair in pairs if listing.faults.keys().isdisjoint((pair.image_key, pair.mask_key)))
    return sorted(whole, key=lambda pair: natural_order(pair.name))


def _nothing_in(listing: Listing, frames: str, masks: str, labels: Labels, cities: Sequence[str] | None) -> str:
    split = PurePosixPath(frames).name
    where = f" in {', '.join(cities)}" if cities else ""
    return (
        f"--splits: {split} has no pair of frame and mask{where}; looked for CITY/CITY_SEQUENCE_FRAME{FRAME_ENDING} in "
        f"{listing.place(frames)}/ and CITY/CITY_SEQUENCE_FRAME_gtFine_{labels}.png in {listing.place(masks)}/; put "
        "them there, or name the splits that have some"
    )


def _faults(
    listing: Listing, folders: Sequence[str], endings: Sequence[str], cities: Sequence[str] | None
) -> list[str]:
    """Frames and masks that cannot be used whatever they hold, and links to cities that are not there."""
    found = []
    stems = tuple(ending.removesuffix(".png") for ending in endings)
    for key, fault in listing.faults.items():
        folder = next((folder for folder in folders if key.startswith(f"{folder}/")), None)
        if folder is not None:
            city, _, name = key.removeprefix(f"{folder}/").partition("/")
            if (cities is None or city in cities) and (not name or PurePosixPath(name).stem.endswith(stems)):
                found.append(f"{listing.place(key)}: {fault}")
    return found


def _names(listing: Listing, folder: str, ending: str) -> set[str]:
    return {name.removesuffix(ending) for name in listing.files(folder) if name.endswith(ending)}


def _check_splits(listing: Listing, frames: str, splits: Sequence[str]) -> None:
    if DUMMY_SPLIT in splits:
        raise UsageError(
            f"--splits {','.join(splits)}: the masks of Cityscapes' {DUMMY_SPLIT} are dummies, its truth is kept by "
            f"the benchmark's server; choose from {', '.join(SPLITS)}"
        )
    for split in splits:
        if not listing.has_folder(f"{frames}/{split}"):
            there = ", ".join(listing.folders(frames)) or "none"
            raise UsageError(f"--splits: no {split}/ in {listing.place(frames)}; there are {there}")


def _check_cities(listing: Listing, frames: str, splits: Sequence[str], cities: Sequence[str] | None) -> None:
    there = sorted({city for split in splits for city in listing.folders(f"{frames}/{split}")})
    for city in cities or ():
        if city not in there:
            near = difflib.get_close_matches(city, there, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"--cities: no city {city!r} in {', '.join(splits)}; {hint}There are {', '.join(there)}")


def _check_labels(listing: Listing, masks: str, labels: Labels) -> None:
    found = {kind for kind in LABELS if any(key.endswith(f"_gtFine_{kind}.png") for key in listing.keys)}
    if labels in found:
        return
    if found:
        fix = f"use --labels {found.pop()}"
        if labels == "labelTrainIds":
            fix += ", or make them with `csCreateTrainIdLabelImgs` of the package cityscapesscripts"
    else:
        fix = "fetch the package gtFine_trainvaltest.zip"
    raise DataError(f"{listing.place(masks)}: holds no masks CITY_SEQUENCE_FRAME_gtFine_{labels}.png; {fix}")


def _left_out(listing: Listing, frames: str, splits: Sequence[str]) -> list[str]:
    notes = []
    for split in listing.folders(frames):
        if split not in splits:
            inside = f"{frames}/{split}"
            count = sum(len(listing.files(f"{inside}/{city}")) for city in listing.folders(inside))
            why = ", as its masks are dummies" if split == DUMMY_SPLIT else ""
            notes.append(f"left out: {split} ({count:,} frames){why}")
    return notes


def _not_cityscapes(store: Store) -> str:
    folders = store.list_folders()
    below = Listing(store, *(f"{name}/{top}/" for name in folders for top in _tops()))
    inner = next((name for name in folders if all(_find_top(below, top, f"{name}/") for top in (FRAMES, MASKS))), None)
    hint = f"; did you mean {place(store, inner)}?" if inner else ""
    return (
        f"{place(store)}: not Cityscapes. Looked for {FRAMES}/ (or {PACKED.format(FRAMES)}/) and {MASKS}/ (or "
        f"{PACKED.format(MASKS)}/); found {name_some([f'{name}/' for name in folders])}{hint}"
    )
