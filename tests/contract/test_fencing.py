"""Who may write and who wins, on every store: stale attempts, attempts at once, promotions at once. Real threads."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from roadbed.errors import ConflictError, FencedError
from roadbed.registry import Gates, Registry
from roadbed.runs import Attempt, CheckpointRef, Heartbeat, Pointer, Run
from roadbed.storage import Store, open_store

WRITERS = 4
T = TypeVar("T")


class FencingContract:
    """What the two classes below inherit; `root` is empty and nobody else's."""

    def test_a_stale_attempt_that_wakes_up_writes_nothing(self, root: Store, tmp_path: Path) -> None:
        run = Run(root, "quick")
        (tmp_path / "file").write_bytes(b"x")
        stale = run.claim(details={})
        stale.move_pointer(_pointer(1, 10))
        stale.append("metrics", {"step": 11})
        live = run.claim(details={"resumed_attempt": 1, "resumed_step": 10})
        before = _everything(root)

        for write in (
            lambda: stale.put("attempts/0001/checkpoints/00000020/manifest.json", b"x"),
            lambda: stale.upload(tmp_path / "file", "attempts/0001/checkpoints/00000020/model"),
            lambda: stale.move_pointer(_pointer(1, 20)),
            lambda: stale.beat(20, {}),
            lambda: stale.flush(),
            lambda: stale.finish("finished", step=20, progress={}),
            lambda: stale.check_fence(),
        ):
            with pytest.raises(FencedError, match=r"run quick: attempt 1 was replaced by attempt 2"):
                write()

        assert _everything(root) == before
        live.move_pointer(_pointer(2, 12))
        live.finish("finished", step=12, progress={})
        assert run.pointer() == Pointer(2, _pointer(2, 12).checkpoints)

    def test_a_stale_attempt_that_already_passed_the_fence_cannot_move_a_pointer(
        self, root: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # It looks at the fence, falls asleep, is replaced, wakes up and goes on to its write.
        run = Run(root, "quick")
        stale = run.claim(details={})
        run.claim(details={})
        monkeypatch.setattr(stale, "check_fence", lambda: None)
        before = _everything(root)
        with pytest.raises(FencedError, match="was replaced by attempt 2"):
            stale.move_pointer(_pointer(1, 20))
        with pytest.raises(FencedError, match="was replaced by attempt 2"):
            stale.beat(20, {})
        assert _everything(root) == before

    def test_attempts_at_once_have_numbers_of_their_own_and_one_lives(self, root: Store) -> None:
        run = Run(root, "quick")

        def claim() -> Attempt | None:
            try:
                return run.claim(details={})
            except FencedError:
                return None

        claimed = [attempt for attempt in _at_once([claim] * WRITERS) if attempt is not None]
        numbers = [attempt.number for attempt in claimed]
        assert len(set(numbers)) == len(numbers)
        assert [number for number, _ in run.attempts()] == [1, 2, 3, 4]
        status = run.status()
        assert status is not None
        assert (status.state, status.attempt) == ("running", 4)
        assert run.pointer().attempt == 4
        living = [attempt.number for attempt in claimed if _may_write(attempt)]
        assert living == [4]

    def test_a_takeover_while_the_heart_beats(self, root: Store) -> None:
        run = Run(root, "quick")
        stale = run.claim(details={})
        with Heartbeat(stale, lambda: (1, {}), interval_s=0.005) as heartbeat:
            live = run.claim(details={})
            assert heartbeat.fenced.wait(timeout=30)
        live.beat(1, {})
        status = run.status()
        assert status is not None
        assert (status.attempt, status.beats) == (2, 1)

    def test_a_driver_that_gives_up_does_not_end_the_next_attempt(self, root: Store) -> None:
        run = Run(root, "quick")
        run.claim(details={})
        live = run.claim(details={})
        run.fail("the workers of attempt 1 were lost", attempt=1)
        live.beat(1, {})

    def test_versions_published_at_once_have_numbers_of_their_own(self, root: Store) -> None:
        registry = Registry(root)
        published = _at_once([lambda: registry.publish("road", {"weights": b"x"}, card(0.5))] * WRITERS)
        assert sorted(version.number for version in published) == [1, 2, 3, 4]
        assert registry.versions("road") == [1, 2, 3, 4]

    def test_of_two_promotions_at_once_exactly_one_wins(self, root: Store) -> None:
        registry = Registry(root)
        for _ in range(2 * 5 + 1):
            registry.publish("road", {"weights": b"x"}, card(0.5))
        registry.promote("road", 11, gates=Gates(), by="start")
        for round_ in range(5):
            seen = threading.Barrier(2)
            pair = (2 * round_ + 1, 2 * round_ + 2)
            outcomes = _at_once([partial(_promote, root, number, seen) for number in pair])
            won = [number for number, error in zip(pair, outcomes, strict=True) if error is None]
            (lost,) = [error for error in outcomes if error is not None]
            assert len(won) == 1
            assert registry.aliases("road") == {"champion": won[0]}
            assert registry.resolve("road@champion").number == won[0]
            assert f"somebody-{won[0]} moved the alias to version {won[0]} at the same moment" in str(lost)
        history = registry.alias_history("road", "champion")
        assert (history[0]["version"], len(history)) == (11, 6)

    def test_of_two_first_promotions_exactly_one_wins(self, root: Store) -> None:
        registry = Registry(root)
        for _ in range(2):
            registry.publish("road", {"weights": b"x"}, card(0.5))
        seen = threading.Barrier(2)
        outcomes = _at_once([partial(_promote, root, number, seen) for number in (1, 2)])
        assert [error is None for error in outcomes].count(True) == 1
        assert len(registry.alias_history("road", "champion")) == 1


class TestFileStore(FencingContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Store:
        return open_store(f"file://{tmp_path}/store")


@pytest.mark.s3
class TestS3Store(FencingContract):
    @pytest.fixture
    def root(self, s3_server: object) -> Store:
        return open_store(f"s3://roadbed/fencing/{uuid.uuid4().hex}")


def card(miou: float) -> dict[str, object]:
    return {
        "scores": {"miou": miou, "pixel_accuracy": 0.9, "iou_per_class": {"Road": miou}},
        "dataset": {"uri": "s3://roadbed/datasets/camvid", "digest": "00ff", "split": "val"},
    }


def _pointer(attempt: int, step: int) -> Pointer:
    key = f"attempts/{attempt:04d}/checkpoints/{step:08d}"
    return Pointer(attempt, (CheckpointRef(key, attempt, step),))


def _everything(root: Store) -> dict[str, bytes]:
    return {info.key: root.get(info.key) for info in root.list()}


def _may_write(attempt: Attempt) -> bool:
    try:
        attempt.beat(1, {})
        attempt.move_pointer(Pointer())
    except FencedError:
        return False
    return True


class _SeenTogether:
    """A store whose conditional writes wait until both promoters have read: the narrowest race there is."""

    def __init__(self, store: Store, seen: threading.Barrier) -> None:
        self._store = store
        self._seen = seen

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def child(self, prefix: str) -> _SeenTogether:
        return _SeenTogether(self._store.child(prefix), self._seen)

    def put_if(self, key: str, data: bytes, *, etag: str | None) -> str:
        self._seen.wait(timeout=30)
        return self._store.put_if(key, data, etag=etag)


def _promote(root: Store, number: int, seen: threading.Barrier) -> ConflictError | None:
    try:
        Registry(_SeenTogether(root, seen)).promote("road", number, gates=Gates(), by=f"somebody-{number}")
    except ConflictError as error:
        return error
    return None


def _at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """What each of `works` gave, all begun at the same moment."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], T]) -> T:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [*pool.map(begin, works)]
