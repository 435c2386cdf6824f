"""A contiguous part of every training sequence, held out to choose by."""

from __future__ import annotations

import pytest

from roadbed.data.sources import SampleRef
from roadbed.data.sources.holdout import held_out
from roadbed.errors import UsageError


def refs(*keys: str) -> list[SampleRef]:
    return [SampleRef(key) for key in keys]


TRAIN = refs(*(f"0001TP_{number:06d}" for number in range(30, 120, 30)), *(f"Seq05VD_f{n:05d}" for n in range(8)))


def test_the_last_frames_of_every_sequence_are_held_out() -> None:
    parted = held_out({"train": TRAIN, "val": refs("0016E5_1")}, share=0.25)
    assert [ref.key for ref in parted["holdout"]] == ["0001TP_000090", "Seq05VD_f00006", "Seq05VD_f00007"]
    assert [ref.key for ref in parted["train"]] == [ref.key for ref in TRAIN if ref not in parted["holdout"]]
    assert [ref.key for ref in parted["val"]] == ["0016E5_1"]


def test_without_a_share_the_splits_stay() -> None:
    assert held_out({"train": TRAIN}, share=0.0) == {"train": TRAIN}


@pytest.mark.parametrize("share", [-0.1, 0.01, 0.99, 1.0, float("nan")])
def test_a_share_that_leaves_nothing_on_one_side_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"--holdout .* between 0 and 1"):
        held_out({"train": TRAIN}, share=share)
