"""Which frames a proposal holds out: those of lists that are there, else whole sequences by a share of the frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from roadbed.data.sources import natural_order
from roadbed.data.sources.folder_splits import Splitting, plan_splits
from roadbed.data.sources.listing import IMAGE_SUFFIXES
from roadbed.data.sources.split_lists import TRAIN_SPLIT, ListedName
from roadbed.errors import UsageError

# Where exports in Pascal VOC's arrangement have their lists, and those of them that name a split.
LIST_FOLDERS = ("ImageSets/Segmentation", "")
LISTS = ("train", "val", "test")


def propose_splits(
    top: Path, names: Collection[str], *, val_share: float
) -> tuple[str | None, dict[str, int], list[str]]:
    """The text of a split file (`SPLIT NAME` a line), or None if folders say it; frames by split; notes, a line each.

    Raises UsageError if there are too few frames for the share.
    """
    try:
        plan = plan_splits(names, Splitting())
        notes = ["splits are the folders train/, val/ and so on"]
        return None, {split: len(found) for split, found in plan.splits.items()}, [*notes, *plan.problems]
    except UsageError:
        pass
    listed = _lists(top)
    notes = [f"splits are those of the lists {', '.join(sorted({item.place for item in listed}))}"] if listed else []
    splitting = Splitting(listed=listed) if listed else Splitting(val_share=val_share)
    plan = plan_splits(names, splitting)
    lines = [f"{split} {name}" for split, found in plan.splits.items() for name in sorted(found, key=natural_order)]
    counts = {split: len(found) for split, found in plan.splits.items()}
    return "\n".join(lines) + "\n", counts, [*notes, *plan.notes, *plan.problems]


def _lists(top: Path) -> tuple[ListedName, ...]:
    """The names in lists called after splits, if there is one for training."""
    for folder in LIST_FOLDERS:
        files = {split: top / folder / f"{split}.txt" for split in LISTS}
        if files[TRAIN_SPLIT].is_file():
            return tuple(
                ListedName(split, _bare(line), path.name)
                for split, path in files.items()
                if path.is_file()
                for line in _lines(path)
            )
    return ()


def _lines(path: Path) -> Sequence[str]:
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def _bare(name: str) -> str:
    """A frame's name without the suffix of an image."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name
