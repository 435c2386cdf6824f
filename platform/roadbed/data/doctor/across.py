"""What is wrong with a dataset though every pair is right by itself: names, splits, outliers; the rest is beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from roadbed.data.doctor.alike import duplicates, near_duplicates
from roadbed.data.doctor.classes import class_faults
from roadbed.data.doctor.findings import Fault
from roadbed.data.doctor.fit import fit
from roadbed.data.doctor.look import WHOLE, is_shifted, shift_words
from roadbed.data.doctor.whole import Whole
from roadbed.data.planning import TRAIN_SPLIT
from roadbed.data.sources.cityscapes_frames import show_size

# Distance from the median in robust standard deviations and in steps of 0..255, from which brightness is odd.
ODD_SPREADS, ODD_STEPS = 6.0, 50.0
DARKEST, BRIGHTEST = 16.0, 239.0
# Up to this share of a dataset, what is unlike the rest is odd.
ODD_SHARE = 0.2
VOID_MORE, VOID_MOST = 0.35, 0.5
# Of the masks, the share that must be right before it is told which classes there are.
ENOUGH = 0.9


def faults_across(whole: Whole) -> Iterator[Fault]:
    """All of them."""
    yield from _names(whole)
    yield from _splits(whole)
    yield from _tones(whole)
    yield from _sizes(whole)
    yield from _palettes(whole)
    yield from _void(whole)
    yield from duplicates(whole)
    yield from near_duplicates(whole)
    yield from _shifts(whole)
    rows_N = whole.looks.rows_N
    if rows_N["has_mask"].sum() >= ENOUGH * len(rows_N):
        yield from class_faults(whole)


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
        is_odd_N = (shares_N > middle + VOID_MORE) & (shares_N <= WHOLE)
        for position, share in zip(places[is_odd_N].tolist(), shares_N[is_odd_N].tolist(), strict=True):
            detail = f"{100 * share:.0f} % is unlabelled, {100 * middle:.0f} % of the median mask"
            yield Fault("mask-void", whole.mask(position), detail, position)


def _shifts(whole: Whole) -> Iterator[Fault]:
    """Splits whose masks all lie beside what they label."""
    for split, total in whole.looks.fit_sums.items():
        found = fit(total.correlations_MM / total.count, total.scale_sum / total.count, near_px=1)
        if is_shifted(found):
            yield Fault("split-shifted", split, f"the masks of {total.count} pairs: {shift_words(found)}")
