"""Tables that lead from what stands in raw masks (ids or colours) to ids of a label space."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from roadbed.data.labels import Color

UNKNOWN_ID = 254
MAX_VALUES_SHOWN = 5


class MaskTable:
    """Leads from raw ids to ids of a label space.

    `names` has a word for each raw id that there is; `known` says in words which those are, and `hint` what to do
    with files that hold colours.
    """

    def __init__(self, ids: Mapping[int, int], *, names: Mapping[int, str], known: str, hint: str = "") -> None:
        self._ids = dict(ids)
        self._names = dict(names)
        self._known = known
        self.hint = hint
        self._table_256 = np.full(256, UNKNOWN_ID, np.uint8)
        self._table_256[list(ids)] = list(ids.values())

    @property
    def settings(self) -> str:
        """Changes when the table does."""
        return f"ids {sorted(self._ids.items())}"

    @property
    def known_N(self) -> np.ndarray:  # noqa: N802
        """The raw ids that there are."""
        return np.array(sorted(self._ids), np.uint8)

    def map(self, raw_HW: np.ndarray) -> np.ndarray:
        """uint8 ids; UNKNOWN_ID where the raw id is none of the known."""
        return np.asarray(self._table_256[raw_HW])

    def describe_unknown(self, raw_HW: np.ndarray, mask_HW: np.ndarray) -> str:
        """The raw ids that were not known, how many pixels have each, and the known id that is nearest."""
        values, counts = np.unique(raw_HW[mask_HW == UNKNOWN_ID], return_counts=True)
        most = int(values[counts.argmax()])
        near = min(self._ids, key=lambda raw_id: (abs(raw_id - most), raw_id))
        return (
            f"unknown id {_list_counts(values.tolist(), counts)}; "
            f"nearest to {most} is {near}, {self._names[near]}; {self._known}"
        )


class ColorTable:
    """Leads from RGB colours to ids of a label space; `names` and `known` as in MaskTable, `hint` for files of ids."""

    def __init__(self, ids: Mapping[Color, int], *, names: Mapping[Color, str], known: str, hint: str = "") -> None:
        self._ids = dict(ids)
        self._names = dict(names)
        self._known = known
        self.hint = hint
        self._table = np.full(1 << 24, UNKNOWN_ID, np.uint8)
        for (red, green, blue), class_id in ids.items():
            self._table[red << 16 | green << 8 | blue] = class_id

    def __reduce__(self) -> tuple[object, ...]:
        # The table's 16 MB are made in a moment: they need not travel to every worker.
        make = partial(ColorTable, names=self._names, known=self._known, hint=self.hint)
        return make, (self._ids,)

    @property
    def settings(self) -> str:
        """Changes when the table does."""
        return f"colours {sorted(self._ids.items())}"

    @property
    def known_N3(self) -> np.ndarray:  # noqa: N802
        """The colours that there are."""
        return np.array(sorted(self._ids), np.uint8)

    def map(self, raw_HW3: np.ndarray) -> np.ndarray:
        """uint8 ids; UNKNOWN_ID where the colour is none of the known."""
        return np.asarray(self._table[_pack(raw_HW3)])

    def describe_unknown(self, raw_HW3: np.ndarray, mask_HW: np.ndarray) -> str:
        """The colours that were not known, how many pixels have each, and the known colour that is nearest."""
        packed, counts = np.unique(_pack(raw_HW3)[mask_HW == UNKNOWN_ID], return_counts=True)
        colors = [_unpack(value) for value in packed.tolist()]
        most = colors[int(counts.argmax())]
        near = min(self._ids, key=lambda color: sum((a - b) ** 2 for a, b in zip(color, most, strict=True)))
        return (
            f"unknown colour {_list_counts(colors, counts)}; "
            f"nearest to {most} is {near}, {self._names[near]}; {self._known}"
        )


def _pack(raw_HW3: np.ndarray) -> np.ndarray:
    red_HW, green_HW, blue_HW = (raw_HW3[..., channel].astype(np.uint32) for channel in range(3))
    return np.asarray(red_HW << 16 | green_HW << 8 | blue_HW)


def _unpack(value: int) -> Color:
    return value >> 16, value >> 8 & 255, value & 255


def _list_counts(values: list[int] | list[Color], counts: np.ndarray) -> str:
    by_count = sorted(zip(counts.tolist(), values, strict=True), key=lambda pair: -pair[0])
    shown = ", ".join(f"{value} ({count} pixels)" for count, value in by_count[:MAX_VALUES_SHOWN])
    more = len(by_count) - MAX_VALUES_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")
