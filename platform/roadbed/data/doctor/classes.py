"""Classes that are absent, rare, or in other shares than in training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from roadbed.data.doctor.findings import Fault
from roadbed.data.doctor.whole import Whole
from roadbed.data.planning import TRAIN_SPLIT

RARE_SHARE = 0.0002
# Fewer frames say nothing about how often a class comes.
MANY_FRAMES, FEW_FRAMES = 50, 3
# The share of the pixels that may have another class than in training.
SHIFTED_CLASSES = 0.2


def class_faults(whole: Whole) -> Iterator[Fault]:
    """Classes that training lacks or hardly has, that cannot be scored, or that splits have in other shares."""
    if TRAIN_SPLIT not in whole.subject.splits:
        return
    pixels_K = whole.class_pixels(TRAIN_SPLIT)
    frames_K = (whole.looks.rows_N["class_pixels"][whole.splits[TRAIN_SPLIT]] > 0).sum(axis=0)
    shares_K = pixels_K / max(int(pixels_K.sum()), 1)
    for name, pixels, frames, share in zip(
        whole.subject.label_space.class_names, pixels_K, frames_K, shares_K, strict=True
    ):
        is_few = frames < FEW_FRAMES and len(whole.splits[TRAIN_SPLIT]) >= MANY_FRAMES
        if pixels == 0:
            yield Fault("class-absent", name, f"no pixel in {TRAIN_SPLIT}")
        elif share < RARE_SHARE or is_few:
            yield Fault("class-rare", name, f"{100 * share:.4f} % of labelled pixels, in {frames} frames")
    for split in whole.subject.splits:
        if split != TRAIN_SPLIT:
            yield from _against_training(whole, split, shares_K)


def _against_training(whole: Whole, split: str, train_shares_K: np.ndarray) -> Iterator[Fault]:
    pixels_K = whole.class_pixels(split)
    if not pixels_K.sum():
        return
    shares_K = pixels_K / pixels_K.sum()
    names = whole.subject.label_space.class_names
    for name, pixels, share in zip(names, pixels_K, train_shares_K, strict=True):
        if pixels == 0 and share > 0:
            yield Fault("class-unscored", f"{name} in {split}", f"no pixel; {100 * share:.2f} % of training's")
    # Total variation: the share of the pixels that would have to change their class.
    moved = float(np.abs(shares_K - train_shares_K).sum()) / 2
    if moved > SHIFTED_CLASSES:
        most = int(np.abs(shares_K - train_shares_K).argmax())
        detail = (
            f"{100 * moved:.0f} % of the pixels would have to change class, most of all {names[most]}: "
            f"{100 * train_shares_K[most]:.1f} % in {TRAIN_SPLIT}, {100 * shares_K[most]:.1f} % here"
        )
        yield Fault("class-shift", split, detail)
