"""The simulated link: what it makes readers wait, by a clock that only its own sleeping moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadbed.bench.link import Link, behind
from roadbed.errors import DamagedError
from roadbed.storage import open_store
from support import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def link(clock: Clock) -> Link:
    return Link(8_000, clock=clock, sleep=clock.sleep)


def test_a_read_takes_its_bytes_by_the_rate(clock: Clock, link: Link) -> None:
    link.carry(500, since=100.0)
    assert clock.now == pytest.approx(100.5)


def test_what_took_longer_anyhow_does_not_wait(clock: Clock, link: Link) -> None:
    clock.now = 101.0
    link.carry(500, since=100.0)
    assert clock.now == 101.0


def test_reads_of_the_same_time_share_the_link(clock: Clock, link: Link) -> None:
    link.carry(1000, since=100.0)
    link.carry(1000, since=100.0)
    assert clock.now == pytest.approx(102.0)


def test_an_idle_link_saves_nothing_up(clock: Clock, link: Link) -> None:
    link.carry(1000, since=100.0)
    clock.now = 200.0
    link.carry(1000, since=200.0)
    assert clock.now == pytest.approx(201.0)


def test_whole_and_ranged_reads_wait_and_all_else_is_the_stores(tmp_path: Path, clock: Clock, link: Link) -> None:
    store = open_store(str(tmp_path))
    store.put("a", b"x" * 1000)
    linked = behind(link, store)
    assert linked.get("a") == b"x" * 1000
    assert clock.now == pytest.approx(101.0)
    assert linked.get_range("a", 10, 250) == b"x" * 250
    assert clock.now == pytest.approx(101.25)
    assert linked.uri == store.uri
    assert [item.key for item in linked.list()] == ["a"]
    with pytest.raises(DamagedError):
        linked.get("a", sha256="0" * 64)


def test_no_link_is_the_store_itself(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert behind(None, store) is store
