"""Runs over a file store with a clock of the test: states, lineage, heartbeat. Races: contract/test_fencing.py."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from roadbed.errors import DamagedError, FencedError, RoadbedError, StoreError, UsageError
from roadbed.runs import HEARTBEAT_S, LOST_AFTER_S, Attempt, CheckpointRef, Heartbeat, Pointer, Run, list_runs
from roadbed.runs.lineage import surviving_steps
from roadbed.storage import Store, open_store
from support import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def run(root: Store, clock: Clock) -> Run:
    return Run(root, "quick", clock=clock)


def ref(attempt: int, step: int) -> CheckpointRef:
    return CheckpointRef(f"attempts/{attempt:04d}/checkpoints/{step:08d}", attempt, step)


def resume(run: Run, attempt: int, step: int) -> Attempt:
    return run.claim(details={"resumed_attempt": attempt, "resumed_step": step})


def log(attempt: Attempt, *steps: int) -> None:
    for step in steps:
        attempt.append("metrics", {"step": step, "attempt": attempt.number})
    attempt.flush()


def test_a_run_before_its_first_attempt(run: Run, root: Store) -> None:
    assert run.status() is None
    assert run.pointer() == Pointer()
    assert run.pointer().latest is None
    assert run.attempts() == []
    assert run.lines("metrics") == []
    assert list_runs(root) == []


def test_the_first_spec_stays(run: Run, root: Store) -> None:
    assert run.begin("name: quick\n") == "name: quick\n"
    assert run.begin("name: other\n") == "name: quick\n"
    assert list_runs(root) == ["quick"]


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a b"])
def test_names_that_are_none(root: Store, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a run"):
        Run(root, name)


def test_an_attempt_from_claim_to_finish(run: Run, clock: Clock) -> None:
    attempt = run.claim(details={"host": "here"})
    status = run.status()
    assert status is not None
    assert (status.state, status.attempt, status.step, status.beats) == ("running", 1, 0, 0)
    clock.sleep(2)
    attempt.beat(7, {"epoch": 1})
    attempt.put("attempts/0001/checkpoints/00000007/model", b"x")
    attempt.move_pointer(Pointer(checkpoints=(ref(1, 7),), best=ref(1, 7)))
    attempt.append("log", {"at": clock(), "level": "info", "text": "done"})
    clock.sleep(1)
    attempt.finish("finished", step=9, progress={"epoch": 2})
    status = run.status()
    assert status is not None
    assert (status.name, status.state, status.step, status.beats) == ("quick", "finished", 9, 2)
    assert (status.heartbeat_at, status.progress, status.reason) == (1003.0, {"epoch": 2}, None)
    assert run.pointer() == Pointer(1, (ref(1, 7),), ref(1, 7))
    ((number, claim),) = run.attempts()
    assert number == 1
    assert claim["host"] == "here"
    assert [line["text"] for line in run.lines("log")] == ["done"]


def test_beats_after_the_end_change_nothing(run: Run) -> None:
    attempt = run.claim(details={})
    attempt.finish("stopped", reason="asked to", step=3, progress={})
    attempt.beat(4, {})
    attempt.finish("failed", step=5, progress={})
    status = run.status()
    assert status is not None
    assert (status.state, status.reason, status.step) == ("stopped", "asked to", 3)


def test_a_heart_that_stops_reads_as_lost(run: Run, clock: Clock) -> None:
    attempt = run.claim(details={})
    clock.sleep(LOST_AFTER_S)
    assert (status := run.status()) is not None
    assert status.state == "running"
    clock.sleep(1)
    assert (status := run.status()) is not None
    assert (status.state, status.reason) == ("lost", "no heartbeat for 61 s")
    attempt.beat(1, {})
    assert (status := run.status()) is not None
    assert status.state == "running"
    attempt.finish("finished", step=1, progress={})
    clock.sleep(1000)
    assert (status := run.status()) is not None
    assert status.state == "finished"


def test_waiting_for_nobody_takes_no_time(run: Run, clock: Clock) -> None:
    run.wait_until_free(sleep=clock.sleep)
    attempt = run.claim(details={})
    attempt.finish("failed", step=0, progress={})
    run.wait_until_free(sleep=clock.sleep)
    run.claim(details={})
    clock.now += LOST_AFTER_S + 1
    before = clock.now
    run.wait_until_free(sleep=clock.sleep)
    assert clock.now == before


def test_waiting_for_a_silent_attempt_ends(run: Run, clock: Clock) -> None:
    run.claim(details={})
    told: list[str] = []
    run.wait_until_free(sleep=clock.sleep, notify=told.append)
    assert clock.now == 1_000 + 4 * HEARTBEAT_S
    assert told == ["run quick: attempt 1 gave a heartbeat 0 s ago; looking whether it lives"]


def test_a_run_that_is_being_trained_is_not_taken(run: Run, clock: Clock) -> None:
    attempt = run.claim(details={})

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        attempt.beat(12, {})

    with pytest.raises(RoadbedError, match=r"quick is being trained \(attempt 1, step 12\).*--takeover"):
        run.wait_until_free(sleep=sleep)


def test_a_run_that_ends_while_one_waits_is_free(run: Run) -> None:
    attempt = run.claim(details={})
    run.wait_until_free(sleep=lambda _: attempt.finish("finished", step=1, progress={}))


def test_the_driver_declares_a_run_failed(run: Run) -> None:
    run.fail("nothing runs yet")
    assert run.status() is None
    attempt = run.claim(details={})
    run.fail("of another attempt", attempt=2)
    assert (status := run.status()) is not None
    assert status.state == "running"
    run.fail("workers lost", attempt=1)
    assert (status := run.status()) is not None
    assert (status.state, status.reason) == ("failed", "workers lost")
    with pytest.raises(FencedError, match=r"attempt 1 was ended from outside \(failed: workers lost\)"):
        attempt.beat(1, {})
    with pytest.raises(FencedError, match="ended from outside"):
        attempt.put("attempts/0001/late", b"")
    run.fail("again")
    assert (status := run.status()) is not None
    assert status.reason == "workers lost"


def test_the_driver_marks_a_run_that_was_stopped(run: Run) -> None:
    run.claim(details={})
    run.fail("Ctrl-C", state="stopped")
    assert (status := run.status()) is not None
    assert (status.state, status.reason) == ("stopped", "Ctrl-C")
    run.wait_until_free(sleep=lambda _: pytest.fail("nobody trains it"))


def test_an_attempt_of_a_deleted_run_ends(run: Run) -> None:
    attempt = run.claim(details={})
    for info in run.store.list():
        run.store.delete(info.key)
    with pytest.raises(FencedError, match="the run was deleted"):
        attempt.beat(1, {})
    with pytest.raises(FencedError, match="the run was deleted"):
        attempt.move_pointer(Pointer())
    assert [*run.store.list()] == []


def test_an_attempt_writes_in_its_folder_alone(run: Run) -> None:
    attempt = run.claim(details={})
    for key in ("status.json", "attempts/0002/a", "attempts/00011/a", "../a"):
        with pytest.raises(ValueError, match="lies outside attempts/0001/"):
            attempt.put(key, b"")


def test_a_resumed_step_without_its_attempt_is_looked_up(run: Run) -> None:
    first = run.claim(details={})
    first.move_pointer(Pointer(checkpoints=(ref(1, 20), ref(1, 10)), best=ref(1, 5)))
    for step in (20, 10, 5):
        run.claim(details={"resumed_step": step})
        assert run.attempts()[-1][1]["resumed_attempt"] == 1
    with pytest.raises(ValueError, match=r"resumed_step=7, but latest.json names no checkpoint"):
        run.claim(details={"resumed_step": 7})


def test_lines_are_those_of_the_surviving_lineage(run: Run) -> None:
    log(run.claim(details={}), 1, 2, 3, 4, 5)
    log(resume(run, 1, 3), 4, 5, 6, 7)
    log(resume(run, 2, 6), 7, 8)
    assert [(line["attempt"], line["step"]) for line in run.lines("metrics")] == [
        (1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6), (3, 7), (3, 8)
    ]  # fmt: skip


def test_an_attempt_without_a_checkpoint_leaves_no_lines(run: Run) -> None:
    log(run.claim(details={}), 1, 2, 3, 4)
    log(resume(run, 1, 2), 3)
    log(resume(run, 1, 2), 3, 4)
    assert [(line["attempt"], line["step"]) for line in run.lines("metrics")] == [(1, 1), (1, 2), (3, 3), (3, 4)]


def test_a_checkpoint_that_was_moved_at_the_last_moment_keeps_the_lineage_whole(run: Run) -> None:
    # Attempt 2 chose step 2 before attempt 1 got its step 4 through; attempt 3 finds step 4.
    log(run.claim(details={}), 1, 2, 3, 4)
    log(resume(run, 1, 2), 3)
    log(resume(run, 1, 4), 5)
    assert [(line["attempt"], line["step"]) for line in run.lines("metrics")] == [
        (1, 1), (1, 2), (1, 3), (1, 4), (3, 5)
    ]  # fmt: skip


def test_starting_over_leaves_the_old_lines_out(run: Run) -> None:
    log(run.claim(details={}), 1, 2)
    log(run.claim(details={}), 1)
    assert [(line["attempt"], line["step"]) for line in run.lines("metrics")] == [(2, 1)]


def test_a_number_that_was_claimed_and_never_used_does_not_break_the_lineage(run: Run) -> None:
    first = run.claim(details={})
    run.store.put("attempts/0002/claim.json", b'{"resumed_step": 0, "resumed_attempt": 0}')
    log(first, 1, 2)
    assert [line["step"] for line in run.lines("metrics")] == [1, 2]
    assert run.claim(details={}).number == 3


def test_log_lines_without_a_step_all_survive(run: Run) -> None:
    for number in (1, 2):
        attempt = run.claim(details={})
        attempt.append("log", {"text": f"attempt {number}"})
        attempt.flush()
    assert [line["text"] for line in run.lines("log")] == ["attempt 1", "attempt 2"]


def test_a_lineage_that_bites_its_tail_is_damaged() -> None:
    with pytest.raises(DamagedError, match=r"attempts/0001/claim.json: says it resumed from attempt 2"):
        surviving_steps({1: {"resumed_attempt": 2}, 2: {"resumed_attempt": 1}}, 2)


def test_lines_before_a_checkpoint_are_written_before_the_pointer(run: Run) -> None:
    attempt = run.claim(details={})
    attempt.append("metrics", {"step": 1})
    attempt.move_pointer(Pointer(checkpoints=(ref(1, 1),)))
    assert [line["step"] for line in run.lines("metrics")] == [1]


def test_segments_are_immutable_and_numbered(run: Run) -> None:
    attempt = run.claim(details={})
    log(attempt, 1, 2)
    attempt.flush()
    log(attempt, 3)
    assert [info.key for info in run.store.list("attempts/0001/metrics/")] == [
        "attempts/0001/metrics/000001.jsonl",
        "attempts/0001/metrics/000002.jsonl",
    ]


def test_lines_that_could_not_be_written_stay_buffered(run: Run, tmp_path: Path) -> None:
    attempt = run.claim(details={})
    in_the_way = tmp_path / "runs/quick/attempts/0001/metrics"
    in_the_way.write_bytes(b"")
    attempt.append("metrics", {"step": 1})
    with pytest.raises(StoreError):
        attempt.flush()
    in_the_way.unlink()
    attempt.append("metrics", {"step": 2})
    attempt.flush()
    assert [line["step"] for line in run.lines("metrics")] == [1, 2]


def test_a_damaged_segment_is_named(run: Run) -> None:
    log(run.claim(details={}), 1)
    run.store.put("attempts/0001/metrics/000001.jsonl", b'{"step": 1}\n{"st')
    with pytest.raises(DamagedError, match=r"metrics/000001.jsonl: line 2 is not JSON"):
        run.lines("metrics")


@pytest.mark.parametrize(("key", "read"), [("status.json", Run.status), ("latest.json", Run.pointer)])
def test_damaged_pointers_are_named(run: Run, key: str, read: Any) -> None:
    run.store.put(key, b'{"attempt": 1}')
    with pytest.raises(DamagedError, match=f"/{key}: lacks or has other fields"):
        read(run)


def test_the_heart_beats_by_itself_and_survives_a_broken_store(run: Run, tmp_path: Path) -> None:
    attempt = run.claim(details={})
    with Heartbeat(attempt, lambda: (5, {"epoch": 1}), interval_s=0.01) as heartbeat:
        _wait(lambda: _beats(run) >= 2)
        lock = tmp_path / "runs/quick/.roadbed-lock"
        _wait(lambda: _put_folder_in_place_of(lock))  # From now on no write to the folder works.
        with pytest.raises(StoreError):
            run.store.put("other", b"")
        before = _beats(run)
        time.sleep(0.05)
        assert not heartbeat.fenced.is_set()
        assert _beats(run) == before
        lock.rmdir()
        _wait(lambda: _beats(run) > before)
    beats = _beats(run)
    time.sleep(0.05)
    assert _beats(run) == beats
    assert (status := run.status()) is not None
    assert (status.step, status.progress) == (5, {"epoch": 1})


def test_the_heart_of_a_replaced_attempt_stops(run: Run) -> None:
    attempt = run.claim(details={})
    with Heartbeat(attempt, lambda: (1, {}), interval_s=0.01) as heartbeat:
        run.claim(details={})
        assert heartbeat.fenced.wait(timeout=10)
    assert (status := run.status()) is not None
    assert (status.attempt, status.beats) == (2, 0)


def test_threads_share_an_attempt(run: Run) -> None:
    attempt = run.claim(details={})

    def work(writer: int) -> None:
        for step in range(10):
            attempt.beat(step, {})
            attempt.append("metrics", {"step": step, "writer": writer})
            attempt.flush()
            attempt.move_pointer(Pointer(checkpoints=(ref(1, step),)))

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _beats(run) == 40
    assert len(run.lines("metrics")) == 40


def _put_folder_in_place_of(file: Path) -> bool:
    file.unlink(missing_ok=True)
    try:
        file.mkdir()
    except FileExistsError:
        return False
    return True


def _beats(run: Run) -> int:
    status = run.status()
    assert status is not None
    return status.beats


def _wait(is_so: Any) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)
