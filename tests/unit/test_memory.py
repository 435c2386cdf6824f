"""Shards in memory: never more than the bound, what was read last stays, and so does what nobody has read yet."""

from __future__ import annotations

from random import Random

from roadbed.data.memory import ShardMemory


def test_what_was_read_longest_ago_makes_room() -> None:
    memory = ShardMemory(3)
    for name in "abc":
        memory.keep(name, name.encode())
        memory.read(name)
    assert memory.read("a") == b"a"
    memory.keep("d", b"d")
    assert [memory.read(name) for name in "abcd"] == [b"a", None, b"c", b"d"]


def test_what_nobody_has_read_yet_stays_and_the_newcomer_goes() -> None:
    memory = ShardMemory(3)
    for name in "abcd":
        memory.keep(name, name.encode())
    assert [memory.holds(name) for name in "abcd"] == [True, True, True, False]
    assert memory.read("b") == b"b"
    memory.keep("d", b"d")
    assert [memory.holds(name) for name in "abcd"] == [True, False, True, True]


def test_an_epoch_that_was_broken_off_holds_no_room() -> None:
    memory = ShardMemory(2)
    for name in "ab":
        memory.keep(name, name.encode())
    memory.read("b")
    memory.begin_epoch()
    memory.keep("c", b"c")
    assert [memory.holds(name) for name in "abc"] == [False, True, True]


def test_the_bound_holds_and_bytes_are_those_of_the_name() -> None:
    rng, memory = Random(1), ShardMemory(100)
    kept = {str(number): bytes([number]) * rng.randint(1, 120) for number in range(30)}
    for _ in range(3000):
        name = rng.choice([*kept])
        memory.keep(name, kept[name])
        if rng.random() < 0.7:
            assert memory.read(name) in (kept[name], None)
        assert memory.held_bytes == sum(len(data) for name, data in kept.items() if memory.holds(name)) <= 100
