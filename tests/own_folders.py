"""Folders of one's own for the tests of `roadbed data init`: frames of noise, masks of a few values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from roadbed.data.proposal.propose import Proposal
from roadbed.data.sources.folder import FolderSource, read_split_file
from roadbed.data.sources.folder_classes import ClassesFile, parse_classes
from roadbed.data.sources.folder_splits import Splitting


def classes(folder: Path) -> ClassesFile:
    return parse_classes((folder / "classes.yaml").read_text(), origin="classes.yaml")


def names(folder: Path) -> list[str]:
    return [entry.name for entry in classes(folder).classes]


def save(pixels: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def frames(folder: Path, num: int = 6, size_px: tuple[int, int] = (60, 80)) -> list[str]:
    """Frames of noise, of two drives; their names."""
    rng = np.random.default_rng(0)
    found = [f"{'north' if number < num // 2 else 'south'}_{number:03d}" for number in range(num)]
    for name in found:
        save(rng.integers(0, 255, (*size_px, 3)), folder / "images" / f"{name}.png")
    return found


def masks_of(folder: Path, values_HW: object, *, palette: np.ndarray | None = None, names: list[str]) -> None:
    for name in names:
        image = Image.fromarray(np.asarray(values_HW, np.uint8))
        if palette is not None:
            image.putpalette(palette.astype(np.uint8).ravel().tolist())
        (folder / "masks").mkdir(exist_ok=True)
        image.save(folder / "masks" / f"{name}.png")


def opened(proposal: Proposal) -> FolderSource:
    """The source that the proposed command of `data prepare` opens."""
    top, layout = proposal.top, proposal.layout
    splits = top / "splits.txt"
    splitting = Splitting(listed=read_split_file(str(splits))) if splits.exists() else None
    return FolderSource(
        top / layout.images, top / (layout.masks or ""), top / "classes.yaml", mask_suffix=layout.mask_suffix,
        splitting=splitting,
    )  # fmt: skip
