"""What is wrong with a dataset though every pair is right by itself: duplicates, outliers, classes, splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from roadbed.data.doctor.findings import UNLABELLED, Fault
from roadbed.data.doctor.fit import fit
from roadbed.data.doctor.likeness import nearest
from roadbed.data.doctor.look import Looks, is_shifted, shift_words
from roadbed.data.doctor.subject import Subject
from roadbed.data.planning import TRAIN_SPLIT
from roadbed.data.sources.cityscapes_frames import show_size

# Distance from the median in robust standard deviations and in steps of 0..255, from which brightness is odd.
ODD_SPREADS, ODD_STEPS = 6.0, 50.0
DARKEST, BRIGHTEST = 16.0, 239.0
# Up to this share of a dataset, what is unlike the rest is odd.
ODD_SHARE = 0.2
VOID_MORE, VOID_MOST = 0.35, 0.5
RARE_SHARE = 0.0002
# Fewer frames say nothing about how often a class comes.
MANY_FRAMES, FEW_FRAMES = 50, 3
# Of the masks, the share that must be right before it is told which classes there are.
ENOUGH = 0.9
SHIFTED_CLASSES = 0.2


@dataclass(frozen=True)
class Whole:
    """All rows of a subject with the split of each, and what else the looks brought."""

    subject: Subject
    looks: Looks

    @cached_property
    def splits(self) -> Mapping[str, np.ndarray]:
        """The positions of the pairs of each split."""
        names = np.array([pair.split for pair in self.subject.pairs])
        return {split: np.flatnonzero(names == split) for split in self.subject.splits}

    def frame(self, position: int) -> str:
        """Where the frame of a pair lies."""
        return self.subject.places(self.subject.pairs[position])[0]

    def mask(self, position: int) -> str:
        """Where the mask of a pair lies."""
        return self.subject.places(self.subject.pairs[position])[1]

    def class_pixels(self, split: str) -> np.ndarray:
        """Pixels by class, int64 (K,)."""
        return np.asarray(self.looks.rows_N["class_pixels"][self.splits[split]].sum(axis=0))

    def unlabelled(self, split: str) -> int:
        """Ignored pixels."""
        return int(self.looks.rows_N["unlabelled"][self.splits[split]].sum())


def faults_across(whole: Whole) -> Iterator[Fault]:
    """All of them."""
    yield from _names(whole)
    yield from _splits(whole)
    yield from _tones(whole)
    yield from _sizes(whole)
    yield from _palettes(whole)
    yield from _void(whole)
    yield from _duplicates(whole)
    yield from _near_duplicates(whole)
    yield from _shifts(whole)
    rows_N = whole.looks.rows_N
    if rows_N["has_mask"].sum() >= ENOUGH * len(rows_N):
        yield from _classes(whole)


def class_shares(whole: Whole) -> dict[str, dict[str, float]]:
    """By split, the share of each class in all pixels of usable masks, and of what is unlabelled."""
    names = (*whole.subject.label_space.class_names, UNLABELLED)
    shares = {}
    for split in whole.subject.splits:
        pixels = [*whole.class_pixels(split).tolist(), whole.unlabelled(split)]
        shares[split] = {name: count / max(sum(pixels), 1) for name, count in zip(names, pixels, strict=True)}
    return shares


def _names(whole: Whole) -> Iterator[Fault]:
    """Names of one split that differ in case alone."""
    seen: dict[tuple[str, str], str] = {}
    for position, pair in enumerate(whole.subject.pairs):
        other = seen.setdefault((pair.split, pair.key.lower()), pair.key)
        if other != pair.key:
            yield Fault("name-case", whole.frame(position), f"{other} differs in case alone", position)


def _splits(whole: Whole) -> Iterator[Fault]:
    """Splits that are missing, and sequences that are in several."""
    counts = whole.subject.splits
    if TRAIN_SPLIT not in counts:
        yield Fault("split-empty", TRAIN_SPLIT, "nothing to train on", severity="error")
    if not set(counts) - {TRAIN_SPLIT}:
        yield Fault("split-empty", "val", "nothing to choose the best weights by")
    splits_of: dict[str, set[str]] = {}
    for pair in whole.subject.pairs:
        splits_of.setdefault(whole.subject.sequence(pair.key), set()).add(pair.split)
    shared = {name: splits for name, splits in splits_of.items() if name and len(splits) > 1}
    # Where all names are alike, as in img_001, they tell no sequences.
    if len(shared) < len(splits_of):
        for name, splits in shared.items():
            yield Fault("split-sequence", name, f"is in {', '.join(split for split in counts if split in splits)}")


def _tones(whole: Whole) -> Iterator[Fault]:
    """Frames of another brightness than the rest, and those without colours."""
    rows_N = whole.looks.rows_N
    places = np.flatnonzero(rows_N["has_frame"] & ~rows_N["is_flat"])
    if not len(places):
        return
    brightness_N = rows_N["brightness"][places].astype(np.float64)
    middle = float(np.median(brightness_N))
    spread = max(1.4826 * float(np.median(np.abs(brightness_N - middle))), 1.0)
    away_N = np.abs(brightness_N - middle)
    is_odd_N = (away_N > ODD_SPREADS * spread) & (away_N > ODD_STEPS)
    is_odd_N |= (brightness_N < DARKEST) | (brightness_N > BRIGHTEST)
    for position, value in zip(places[is_odd_N].tolist(), brightness_N[is_odd_N].tolist(), strict=True):
        detail = f"brightness {value:.0f} of 255; half of all frames are below {middle:.0f}"
        yield Fault("frame-brightness", whole.frame(position), detail, position)
    is_grey_N = rows_N["is_grey"][places]
    if 0 < is_grey_N.sum() <= ODD_SHARE * len(places):
        for position in places[is_grey_N].tolist():
            yield Fault("frame-grey", whole.frame(position), "no colours", int(position))


def _sizes(whole: Whole) -> Iterator[Fault]:
    """Sizes besides the most frequent one."""
    rows_N = whole.looks.rows_N
    places = np.flatnonzero(rows_N["has_frame"])
    sizes: Counter[tuple[int, int]] = Counter()
    first: dict[tuple[int, int], int] = {}
    for place in places.tolist():
        size = int(rows_N["height_px"][place]), int(rows_N["width_px"][place])
        sizes[size] += 1
        first.setdefault(size, place)
    for size, count in sizes.most_common()[1:]:
        usual, most = sizes.most_common(1)[0]
        detail = f"{show_size(size)}, as {count} in all; {most} frames have {show_size(usual)}"
        yield Fault("size-mixed", whole.frame(first[size]), detail, first[size])


def _palettes(whole: Whole) -> Iterator[Fault]:
    """Palette files in which a number has another colour than in most."""
    votes: dict[int, Counter[tuple[int, int, int]]] = {}
    for _, colors in whole.looks.palettes.values():
        for number, color in colors.items():
            votes.setdefault(number, Counter())[color] += 1
    usual = {number: counter.most_common(1)[0][0] for number, counter in votes.items()}
    for position, (place, colors) in whole.looks.palettes.items():
        odd = [number for number, color in colors.items() if color != usual[number]]
        if odd:
            detail = f"{odd[0]} is {colors[odd[0]]} here and {usual[odd[0]]} in most files"
            more = f", as {len(odd) - 1} more" if len(odd) > 1 else ""
            yield Fault("mask-palette", place, detail + more, position)


def _void(whole: Whole) -> Iterator[Fault]:
    """Masks and splits of which much is unlabelled."""
    rows_N = whole.looks.rows_N
    for split, places in whole.splits.items():
        places = places[rows_N["has_mask"][places]]
        if not len(places):
            continue
        labelled_N = rows_N["class_pixels"][places].sum(axis=1)
        shares_N = rows_N["unlabelled"][places] / np.maximum(rows_N["unlabelled"][places] + labelled_N, 1)
        middle = float(np.median(shares_N))
        if middle > VOID_MOST:
            yield Fault("void-share", split, f"{100 * middle:.0f} % of the median mask is unlabelled")
            continue
        is_odd_N = (shares_N > middle + VOID_MORE) & (labelled_N > 0)
        for position, share in zip(places[is_odd_N].tolist(), shares_N[is_odd_N].tolist(), strict=True):
            detail = f"{100 * share:.0f} % is unlabelled, {100 * middle:.0f} % of the median mask"
            yield Fault("mask-void", whole.mask(position), detail, position)


def _duplicates(whole: Whole) -> Iterator[Fault]:
    """Frames of the very same pixels."""
    rows_N = whole.looks.rows_N
    first: dict[int, int] = {}
    for place in np.flatnonzero(rows_N["has_frame"] & ~rows_N["is_flat"]).tolist():
        other = first.setdefault(int(rows_N["frame_digest"][place]), place)
        if other == place:
            continue
        is_across = whole.subject.pairs[place].split != whole.subject.pairs[other].split
        detail = f"has the very pixels of {whole.frame(other)}"
        yield Fault("duplicate-split" if is_across else "duplicate", whole.frame(place), detail, place, other)
        masks = rows_N["mask_digest"][[place, other]]
        if rows_N["has_mask"][[place, other]].all() and masks[0] != masks[1]:
            detail = f"has the frame of {whole.frame(other)} and another mask"
            yield Fault("labels-differ", whole.mask(place), detail, place, other)


def _near_duplicates(whole: Whole) -> Iterator[Fault]:
    """Frames that are nearly one of another split; of every two splits, those of the later one."""
    rows_N = whole.looks.rows_N
    is_good_N = rows_N["has_frame"] & ~rows_N["is_flat"]
    splits = {split: places[is_good_N[places]] for split, places in whole.splits.items()}
    names = list(splits)
    for number, split in enumerate(names):
        for before in names[:number]:
            ours, others = rows_N[splits[split]], rows_N[splits[before]]
            for row, other, bits in nearest(ours["hash"], ours["thumb"], others["hash"], others["thumb"]):
                position, like = int(splits[split][row]), int(splits[before][other])
                if ours["frame_digest"][row] != others["frame_digest"][other]:
                    detail = f"is nearly {whole.frame(like)} ({bits} of 64 bits differ)"
                    yield Fault("near-duplicate", whole.frame(position), detail, position, like)


def _shifts(whole: Whole) -> Iterator[Fault]:
    """Splits whose masks all lie beside what they label."""
    for split, total in whole.looks.fit_sums.items():
        found = fit(total.correlations_MM / total.count, total.scale_sum / total.count, near_px=1)
        if is_shifted(found):
            yield Fault("split-shifted", split, f"the masks of {total.count} pairs: {shift_words(found)}")


def _classes(whole: Whole) -> Iterator[Fault]:
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
