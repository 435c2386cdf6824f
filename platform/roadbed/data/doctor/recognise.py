"""What a folder or a uri holds: a prepared dataset, CamVid, Cityscapes, or frames and masks of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from roadbed.data.dataset import Dataset
from roadbed.data.doctor.arrangement import arrangement_faults
from roadbed.data.doctor.findings import Fault
from roadbed.data.doctor.subject import FileSource, Subject, subject_of_dataset, subject_of_source
from roadbed.data.manifest import MANIFEST_KEY
from roadbed.data.sources.camvid import CamvidSource
from roadbed.data.sources.camvid_folders import CODES_FILE, SPLIT_MASKS, SPLITS
from roadbed.data.sources.cityscapes import CityscapesSource
from roadbed.data.sources.folder import FolderSource, read_split_file
from roadbed.data.sources.folder_splits import Splitting
from roadbed.data.sources.listing import check_there, name_some, place, source_store
from roadbed.errors import UsageError
from roadbed.storage import Store

CLASSES_FILE, SPLITS_FILE = "classes.yaml", "splits.txt"
FRAME_FOLDERS = ("images", "frames", "imgs", "image", "JPEGImages")
MASK_FOLDERS = ("masks", "labels", "annotations", "mask", "label", "SegmentationClass")
CITYSCAPES_FOLDERS = {"leftImg8bit", "gtFine"}
ORIGINAL_FOLDERS = {"701_StillsRaw_full", "LabeledApproved_full"}
# Where nothing says how to split: so much is held out, for the doctor to look at what that would give.
VAL_SHARE = 0.2


@dataclass(frozen=True)
class FolderPlaces:
    """Where the parts of a folder of one's own lie, and how it is split.

    What is None, or says nothing, is to be found in the folder, as `roadbed data init` leaves it there.
    """

    images: str | None = None
    masks: str | None = None
    classes: str | None = None
    mask_suffix: str | None = None
    splitting: Splitting = field(default_factory=Splitting)


def recognise(src: str, places: FolderPlaces | None = None) -> Subject:
    """What `src` (a folder or a uri) holds, ready to be looked at.

    Raises UsageError for what is none of the kinds, or lacks its classes.yaml, DataError if nothing in it pairs up.
    """
    places = places or FolderPlaces()
    store = source_store(src)
    check_there(store, holding="a dataset")
    if store.exists(MANIFEST_KEY):
        return subject_of_dataset(Dataset.load(store))
    folders = set(store.list_folders())
    is_own = places.images is not None or places.classes is not None or store.exists(CLASSES_FILE)
    known = None if is_own else known_arrangement(folders)
    if known == "cityscapes":
        return _subject(CityscapesSource(store), place(store))
    if known == "camvid" or (not is_own and store.exists(CODES_FILE)):
        return _subject(CamvidSource(store), place(store))
    return _own(store, folders, places)


def known_arrangement(folders: set[str]) -> Literal["camvid", "cityscapes"] | None:
    """The dataset whose arrangement has these folders at the top."""
    if folders >= CITYSCAPES_FOLDERS:
        return "cityscapes"
    is_segnet = any(split in folders and split + ending in folders for split in SPLITS for ending in SPLIT_MASKS)
    return "camvid" if is_segnet or folders >= ORIGINAL_FOLDERS else None


def _own(store: Store, folders: set[str], places: FolderPlaces) -> Subject:
    where = place(store)
    images = places.images or _below(store, FRAME_FOLDERS, folders, "--images")
    masks = places.masks or _below(store, MASK_FOLDERS, folders, "--masks")
    classes = places.classes or f"{where}/{CLASSES_FILE}"
    if places.classes is None and not store.exists(CLASSES_FILE):
        raise UsageError(
            f"{classes}: there is no such file, so nothing says what the masks hold; `roadbed data init {where}` "
            "proposes one, or name one by --classes"
        )

    def source(splitting: Splitting) -> FolderSource:
        return FolderSource(images, masks, classes, mask_suffix=places.mask_suffix, splitting=splitting)

    splitting = places.splitting
    if splitting == Splitting() and store.exists(SPLITS_FILE):
        splitting = Splitting(listed=read_split_file(f"{where}/{SPLITS_FILE}"))
    try:
        return _subject(source(splitting), where, splitting=splitting)
    except UsageError as error:
        if splitting != Splitting() or not str(error).startswith("nothing says which frames"):
            raise
        held_out = Splitting(val_share=VAL_SHARE)
        told = f"looked at as with --val-share {VAL_SHARE}"
        return _subject(source(held_out), where, Fault("no-split", where, told), splitting=held_out)


def _below(store: Store, names: tuple[str, ...], folders: set[str], option: str) -> str:
    found = next((name for name in names if name in folders), None)
    if found is None:
        raise UsageError(
            f"{place(store)}: neither a prepared dataset, CamVid nor Cityscapes, and no folder {names[0]}/ or the "
            f"like; it holds {name_some(sorted(f'{name}/' for name in folders))}: name the folder by {option}"
        )
    return f"{place(store)}/{found}"


def _subject(source: FileSource, where: str, *faults: Fault, splitting: Splitting | None = None) -> Subject:
    found = (*faults, *arrangement_faults(source.problems))
    return subject_of_source(source, where, faults=found, splitting=splitting)
