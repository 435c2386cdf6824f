"""In which words a notice of Ray comes."""

from __future__ import annotations

from roadbed.runtime.preemption import _when


def test_a_notice_says_when_the_node_goes_if_anybody_knows() -> None:
    assert _when(1_790_000_000_000) == "at 14:13:20 UTC"
    assert _when(None) == "soon"
