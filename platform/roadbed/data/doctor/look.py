"""One look at a pair: what is wrong with its files, and a row of figures by which the whole dataset is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from roadbed.data.doctor.findings import Fault
from roadbed.data.doctor.fit import REACH_PX, Fit, Outline, correlations, fit, frame_outline, mask_outline
from roadbed.data.doctor.frames import Remark, frame_remarks, tone, tone_remarks
from roadbed.data.doctor.likeness import THUMB_SIDE, perceptual_hash
from roadbed.data.doctor.masks import look_at_mask, used_palette
from roadbed.data.doctor.opening import Picture, RawFile, open_picture
from roadbed.data.doctor.subject import Subject, Table
from roadbed.data.labels import LabelSpace
from roadbed.data.sources.tables import MaskTable

# A peak of the correlation is one from so many standard deviations on, and elsewhere if it is so many higher there.
PEAK = 4.5
HIGHER = 1.2
# Where a mask lies, pairs of CamVid have 3.5 to 8.3 standard deviations, wrong ones -1 to 2.8 mostly; a mask with few
# borders before a house of many windows has 1.7. Their correlations are 0.14 to 0.47, those of wrong ones about 0.04.
LEAST_SURENESS, LEAST_CORRELATION = 2.6, 0.1
# From this share of a mask on a class fills it.
WHOLE = 0.9999


@dataclass
class Looks:
    """Rows of some pairs, in order, and the faults that were found on the way.

    `fit_sum` is the sum of the correlations of a split's pairs, by split, with their number and their scale.
    """

    rows_N: np.ndarray
    faults: list[Fault] = field(default_factory=list)
    palettes: dict[int, tuple[str, dict[int, tuple[int, int, int]]]] = field(default_factory=dict)
    fit_sums: dict[str, FitSum] = field(default_factory=dict)

    def fit_sum(self, split: str) -> FitSum:
        """That of a split, made if it is not there."""
        return self.fit_sums.setdefault(split, FitSum())


@dataclass
class FitSum:
    """Correlations of pairs, summed: a shift that all have stands out where that of one would not."""

    correlations_MM: np.ndarray = field(
        default_factory=lambda: np.zeros((2 * REACH_PX + 1, 2 * REACH_PX + 1), np.float64)
    )
    scale_sum: float = 0.0
    count: int = 0

    def add(self, correlations_MM: np.ndarray, scale: float, count: int = 1) -> None:
        """Take in another pair's, or those of `count` pairs."""
        self.correlations_MM += correlations_MM
        self.scale_sum += scale
        self.count += count


def row_type(label_space: LabelSpace) -> np.dtype[np.void]:
    """The figures of a pair. Those of frame and mask are 0 where `has_frame`, `has_mask` say that there are none."""
    return np.dtype(
        [
            ("has_frame", np.bool_),
            ("has_mask", np.bool_),
            ("is_flat", np.bool_),
            ("is_grey", np.bool_),
            ("is_suspect", np.bool_),
            ("height_px", np.uint32),
            ("width_px", np.uint32),
            ("brightness", np.float32),
            ("frame_digest", np.uint64),
            ("mask_digest", np.uint64),
            ("hash", np.uint64),
            ("thumb", np.uint8, (THUMB_SIDE, THUMB_SIDE)),
            ("unlabelled", np.int64),
            ("class_pixels", np.int64, (label_space.num_classes,)),
        ]
    )


def look_at(subject: Subject, positions: Sequence[int]) -> Looks:
    """Rows and faults of the pairs at some positions."""
    looks = Looks(np.zeros(len(positions), row_type(subject.label_space)))
    for row, position in enumerate(positions):
        pair = subject.pairs[position]
        _Look(subject.label_space, position, pair.split, looks).run(looks.rows_N[row], *subject.read(pair))
    return looks


@dataclass(frozen=True)
class _Look:
    """A look at the pair at `position`."""

    space: LabelSpace
    position: int
    split: str
    looks: Looks

    def run(self, row: np.void, image: RawFile, mask: RawFile, table: Table) -> None:
        """Fill the row, and add to the faults."""
        frame = self._open(image, is_mask=False)
        labels = self._open(mask, is_mask=True)
        image_HW3 = None if frame is None else self._frame(row, frame)
        mask_HW = None if labels is None else self._mask(row, labels, table)
        if frame is None or labels is None:
            return
        if frame.size_px != labels.size_px:
            self._tell(labels.place, [("size-mismatch", _sizes(frame.size_px, labels.size_px))])
            row["has_mask"], row["unlabelled"], row["class_pixels"] = False, 0, 0
        elif image_HW3 is not None and mask_HW is not None and not row["is_flat"]:
            self._fit(row, labels.place, frame_outline(image_HW3), mask_outline(mask_HW))

    def _open(self, file: RawFile, *, is_mask: bool) -> Picture | None:
        found = open_picture(file, is_mask=is_mask)
        if isinstance(found, Picture):
            return found
        self._tell(file.place, [("file-broken", found)])
        return None

    def _frame(self, row: np.void, picture: Picture) -> np.ndarray | None:
        """The frame's pixels if it is one that can be used."""
        remarks = list(frame_remarks(picture))
        self._tell(picture.place, remarks)
        image_HW3 = np.ascontiguousarray(picture.rgb())
        found = tone(image_HW3)
        if not remarks:
            self._tell(picture.place, tone_remarks(image_HW3, found))
        row["has_frame"] = True
        row["is_flat"] = found.is_flat
        row["is_grey"] = found.is_grey and picture.mode == "RGB"
        row["brightness"] = found.brightness
        row["height_px"], row["width_px"] = picture.size_px
        row["frame_digest"] = _digest(image_HW3)
        row["hash"], row["thumb"] = perceptual_hash(image_HW3)
        return None if remarks else image_HW3

    def _mask(self, row: np.void, picture: Picture, table: Table) -> np.ndarray | None:
        """The mask's ids if they can be known."""
        look = look_at_mask(picture, table)
        self._tell(picture.place, look.remarks)
        if look.mask_HW is None:
            return None
        if isinstance(table, MaskTable) and (colors := used_palette(picture)):
            self.looks.palettes[self.position] = picture.place, colors
        counts_256 = np.bincount(look.mask_HW.ravel(), minlength=256)
        row["has_mask"] = True
        row["mask_digest"] = _digest(look.mask_HW)
        row["unlabelled"] = counts_256[self.space.ignore_id]
        row["class_pixels"] = counts_256[: self.space.num_classes]
        self._tell(picture.place, self._filled(counts_256))
        return look.mask_HW

    def _filled(self, counts_256: np.ndarray) -> Iterator[Remark]:
        ignored, total = int(counts_256[self.space.ignore_id]), int(counts_256.sum())
        if ignored == total:
            yield "mask-empty", "every pixel is ignored"
        elif ignored > WHOLE * total:
            yield "mask-empty", f"all but {total - ignored} pixels are ignored"
        elif counts_256.max() > WHOLE * total:
            yield "mask-one-class", f"all {self.space.class_names[int(counts_256.argmax())]}"

    def _fit(self, row: np.void, place: str, frame: Outline | None, mask: Outline | None) -> None:
        """Whether the mask lies upon the frame."""
        if frame is None or mask is None or (found_MM := correlations(frame, mask)) is None:
            return
        self.looks.fit_sum(self.split).add(found_MM, frame.scale)
        found = fit(found_MM, frame.scale)
        if is_shifted(found):
            self._tell(place, [("mask-shifted", shift_words(found))])
        else:
            is_labelled = row["unlabelled"] < row["class_pixels"].sum()
            row["is_suspect"] = is_labelled and found.sureness < LEAST_SURENESS and found.here < LEAST_CORRELATION

    def _tell(self, place: str, remarks: Iterator[Remark] | Sequence[Remark]) -> None:
        self.looks.faults += [Fault(check, place, detail, self.position) for check, detail in remarks]


def is_shifted(found: Fit) -> bool:
    """Whether a mask fits, and elsewhere than where it lies."""
    return found.is_off and found.certainty > HIGHER and found.best > PEAK * found.spread


def shift_words(found: Fit) -> str:
    """Where a mask wants to go."""
    across = f"{abs(found.right_px):.0f} px to the {'right' if found.right_px > 0 else 'left'}"
    down = f"{abs(found.down_px):.0f} px {'down' if found.down_px > 0 else 'up'}"
    ways = [way for way, far_px in ((across, found.right_px), (down, found.down_px)) if far_px]
    return f"fits best some {' and '.join(ways)}"


def _sizes(frame_px: tuple[int, int], mask_px: tuple[int, int]) -> str:
    (height, width), (mask_height, mask_width) = frame_px, mask_px
    text = f"the mask is {mask_width}x{mask_height}, its frame {width}x{height}"
    if (mask_width, mask_height) == (height, width):
        return f"{text}: turned by a quarter"
    is_alike = abs(mask_width * height - mask_height * width) <= max(width, height)
    return f"{text}: {'the same view in another size' if is_alike else 'another shape, so another view'}"


def _digest(pixels: np.ndarray) -> int:
    found = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=8)
    found.update(str(pixels.shape).encode())
    return int.from_bytes(found.digest(), "big")
