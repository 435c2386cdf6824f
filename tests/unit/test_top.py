"""`roadbed top` over runs that were written down and metrics as Ray's agent writes them: what is seen, what fits."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from roadbed.cli.top import text_url
from roadbed.cli.top.picture import CARD_LINES, fitted, picture
from roadbed.cli.top.screen import watch
from roadbed.cli.top.sparkline import sparkline
from roadbed.errors import StoreError
from roadbed.runs import Attempt, Pointer, Run, Statuses
from roadbed.runtime.local import LocalState, Process, RayHead, metrics_urls
from roadbed.runtime.local.process_table import look_up
from roadbed.runtime.local.state import write_state
from roadbed.storage import Store, open_store
from roadbed.tuning.sweep import LiveSweep
from roadbed.watching import Look, RunNow, Telling, Watcher
from roadbed.watching.endpoints import quantile
from state_examples import begun_sweep, checkpoint
from support import Clock

Command = Callable[..., tuple[int, str, str]]
AGENT = (Path(__file__).parents[1] / "golden" / "ray_agent.txt").read_text()
"""What the agent of ray 2.60 tells of two replicas and a run, without most of what it tells of Ray itself."""
URL = "http://127.0.0.1:8000"


@pytest.fixture
def root(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def step(number: int, *, at: float, loss: float = 1.0) -> dict[str, Any]:
    rates = {"learning_rate": 0.01, "images_per_s": 8.0, "data_wait_share": 0.25}
    return {"step": number, "epoch": 0, "at": at, "loss": loss, **rates}


def trained(attempt: Attempt, steps: range, clock: Clock, *, first_loss: float = 2.0) -> dict[str, Any]:
    """Steps of two seconds, evaluated and saved at every tenth; the last one's line."""
    line: dict[str, Any] = {}
    for number in steps:
        clock.now += 2.0
        line = step(number, at=clock.now, loss=first_loss / number)
        attempt.append("metrics", line)
        if number % 10 == 0:
            miou = 0.5 + number / 1000
            attempt.append("metrics", {"step": number, "epoch": 1, "at": clock.now, "miou": miou})
            ref = checkpoint(attempt, number, score=miou)
            attempt.move_pointer(Pointer(checkpoints=(ref,), best=ref))
    return line


def live_run(root: Store, clock: Clock, name: str = "night") -> Attempt:
    """Thirty of a hundred steps, the last five of them told by the heartbeat alone."""
    attempt = Run(root, name, clock=clock).claim(details={})
    line = trained(attempt, range(1, 26), clock)
    attempt.flush()
    clock.now += 10.0
    attempt.beat(30, line | {"num_steps": 100, "step": 30, "at": clock.now, "miou": 0.52})
    return attempt


def ended_run(root: Store, clock: Clock, name: str) -> None:
    attempt = Run(root, name, clock=clock).claim(details={})
    line = trained(attempt, range(1, 11), clock)
    attempt.finish("finished", step=10, progress=line | {"num_steps": 10, "miou": 0.51})


def nobody(url: str) -> tuple[int, bytes]:
    raise ConnectionRefusedError(111, "Connection refused")


def watcher(root: Store, clock: Clock, get: Any = nobody, urls: tuple[str, ...] = ()) -> Watcher:
    return Watcher(root, url=URL, metrics_urls=lambda: urls, get=get, clock=clock, seconds=clock)


def seen(root: Store, clock: Clock, *, most: int = 20) -> dict[str, RunNow]:
    return {run.status.name: run for run in watcher(root, clock).look(most_runs=most, most_sweeps=3).runs}


def lines_of(look: Look, *, width: int = 80, height: int = 24, trouble: str = "") -> list[str]:
    drawn = picture(look, store="s3://roadbed", url=URL, width=width, height=height, trouble=trouble).plain.split("\n")
    assert len(drawn) <= height
    assert [line for line in drawn if len(line) > width] == []
    return drawn


def test_a_live_run_is_told_by_its_last_steps_and_its_heartbeat(root: Store) -> None:
    clock = Clock()
    live_run(root, clock)
    clock.now += 3.0
    run = seen(root, clock)["night"]
    assert (run.losses[0], run.losses[-1]) == ((1, 2.0), (30, 2.0 / 25))
    assert run.mious == ((10, 0.51), (20, 0.52))
    assert run.best_miou == 0.52
    assert (run.images_per_s, run.data_share) == (8.0, 0.25)
    assert run.seconds_left == pytest.approx(70 * 2.0)
    assert (run.silent_s, run.still_s, run.is_stalled) == (3.0, 3.0, False)


def test_a_run_that_takes_no_steps_is_stalled_unless_it_evaluates(root: Store) -> None:
    clock = Clock()
    attempt = live_run(root, clock)
    told = attempt._status.progress
    clock.now += 61.0
    attempt.beat(30, told)
    run = seen(root, clock)["night"]
    assert (run.is_stalled, run.still_s, run.silent_s, run.seconds_left) == (True, 61.0, 0.0, None)
    attempt.beat(30, told | {"evaluating": "3/9"})
    assert not seen(root, clock)["night"].is_stalled
    clock.now += 61.0
    assert seen(root, clock)["night"].status.state == "lost"
    Run(root, "night", clock=clock).claim(details={"resumed_step": 20, "resumed_attempt": 1}).beat(20, {})
    assert not seen(root, clock)["night"].is_stalled, "the new attempt has taken no step yet"


def test_what_was_done_again_is_told_once(root: Store) -> None:
    clock = Clock()
    live_run(root, clock)
    second = Run(root, "night", clock=clock).claim(details={"resumed_step": 20, "resumed_attempt": 1})
    trained(second, range(21, 24), clock, first_loss=1.0)
    second.flush()
    losses = seen(root, clock)["night"].losses
    assert [place for place, _ in losses] == list(range(1, 24))
    assert losses[-1] == (23, 1.0 / 23)


def test_the_latest_come_after_those_that_live_and_as_many_as_asked(root: Store) -> None:
    clock = Clock()
    for name in ("a", "b", "c"):
        ended_run(root, clock, name)
    live_run(root, clock, "y")
    live_run(root, clock, "x")
    look = watcher(root, clock).look(most_runs=4, most_sweeps=1)
    assert [run.status.name for run in look.runs] == ["x", "y", "c", "b"]
    assert look.num_runs == {"running": 2, "finished": 3}


def test_damaged_objects_are_passed_over(root: Store) -> None:
    clock = Clock()
    live_run(root, clock)
    ended_run(root, clock, "old")
    root.put("runs/torn/status.json", b"{")
    root.put("runs/old/attempts/0001/metrics/000001.jsonl", b"{")
    root.put("sweeps/odd/spec.yaml", b"kind: train\n")
    Run(root, "odd", folder="sweeps", clock=clock).claim(details={}).beat(0, {"trials": 4})
    look = watcher(root, clock).look(most_runs=9, most_sweeps=3)
    assert [(run.status.name, len(run.losses)) for run in look.runs] == [("night", 26), ("old", 0)]
    assert [(one.name, one.planned, one.best) for one in look.sweeps] == [("odd", 4, None)]


@pytest.mark.parametrize("num_ended", [3, 30])
def test_a_second_look_asks_for_what_lives_alone(root: Store, num_ended: int) -> None:
    clock = Clock()
    for number in range(num_ended):
        ended_run(root, clock, f"old-{number:03d}")
    attempt = live_run(root, clock)
    looks = watcher(root, clock)
    looks.look(most_runs=50, most_sweeps=3)
    before = root.stats.num_requests
    attempt.beat(31, attempt._status.progress)
    beating = root.stats.num_requests - before
    looks.look(most_runs=50, most_sweeps=3)
    assert root.stats.num_requests - before - beating == 2, "status.json and latest.json of the run that lives"
    clock.now += 600
    before = root.stats.num_requests
    looks.look(most_runs=50, most_sweeps=3)
    assert root.stats.num_requests - before <= 2 + 16, "those that ended are looked at again, a few at a time"


def test_a_run_that_is_started_again_is_noticed(root: Store) -> None:
    clock = Clock()
    ended_run(root, clock, "old")
    statuses = Statuses(partial(Run, root, clock=clock), clock=clock, most_again=1)
    statuses.read(["old"])
    Run(root, "old", clock=clock).claim(details={})
    for waited_s, state in ((60, "finished"), (61, "lost")):
        clock.now += waited_s
        found = statuses.read(["old"])[0]["old"]
        assert found is not None
        assert found.state == state


def filled_sweep(root: Store, clock: Clock) -> LiveSweep:
    attempt, live = begun_sweep(root, clock)
    for number, value in enumerate((0.4, 0.6)):
        live.begin(number, {"train.learning_rate": 0.01})
        clock.now += 1800
        live.score(number, epoch=1, value=value)
    live.end(0, "stopped", "below the median")
    attempt.beat(1, {"trials": 3})
    return live


def test_a_sweep_is_told_by_its_trials_and_goes_on(root: Store) -> None:
    clock = Clock()
    live = filled_sweep(root, clock)
    looks = watcher(root, clock)
    sweep = looks.look(most_runs=1, most_sweeps=1).sweeps[0]
    assert (sweep.trials, sweep.planned, sweep.best) == ({"stopped": 1, "running": 1}, 3, 0.6)
    assert (sweep.gpu_hours, sweep.cpu_hours) == (3.0, 3.0)
    live.score(1, epoch=2, value=0.7)
    live._attempt.beat(1, {"trials": 3})
    look = looks.look(most_runs=1, most_sweeps=1)
    assert look.sweeps[0].best == 0.7
    assert "streets  running  2/3: 1 running, 1 stopped  best 70.0 %  3.0 GPU h" in lines_of(look)


def grown(text: str, factor: float) -> str:
    """The text later, when all that is counted is so many times as much."""

    def more(found: re.Match[str]) -> str:
        return f"{found[1]} {factor * float(found[2])}"

    return re.sub(r"(?m)^(ray_roadbed\w+_(?:total|bucket)\{.*\}) (\S+)$", more, text)


def test_the_first_look_tells_counts_and_later_ones_tell_rates() -> None:
    telling = Telling()
    telling.add(AGENT, at=100.0)
    first = telling.endpoints()[0]
    assert (first.name, first.is_rate, first.requests) == ("street", False, {"200": 200.0, "429": 2.0})
    assert (first.replicas, first.max_replicas, first.waiting, first.versions) == (2, 3, 4, (7,))
    assert first.p50_s == pytest.approx(0.025 + 0.025 * 100 / 180)
    assert first.p95_s == pytest.approx(0.1 + 0.15 * 10 / 20)
    assert telling.shares() == {"street": {"backward": pytest.approx(2 / 3), "data": pytest.approx(1 / 3)}}
    telling.add(grown(AGENT, 1.25), at=110.0)
    assert not telling.endpoints()[0].is_rate, "Ray's processes tell every 10 s"
    telling.add(grown(AGENT, 1.5), at=125.0)
    later = telling.endpoints()[0]
    assert (later.is_rate, later.requests) == (True, {"200": 4.0, "429": 0.04})
    assert later.p50_s == pytest.approx(first.p50_s)
    telling.add(grown(AGENT, 2.0), at=185.0)
    assert telling.endpoints()[0].requests["200"] == pytest.approx(100 / 60), "over the last minute"


def test_what_began_anew_or_was_away_for_a_while_makes_no_false_rates() -> None:
    telling = Telling()
    telling.add(AGENT, at=0.0)
    telling.add("", at=10.0)
    assert telling.endpoints() == []
    telling.add(AGENT, at=30.0)
    assert telling.endpoints()[0].requests == {"200": 0.0, "429": 0.0}
    assert telling.endpoints()[0].p50_s is None
    assert telling.shares() == {}
    telling.add(grown(AGENT, 0.5), at=40.0)
    assert telling.endpoints()[0].requests["200"] == pytest.approx(100 / 40)
    telling = Telling()
    telling.add("", at=0.0)
    telling.add(AGENT, at=30.0)
    assert telling.endpoints()[0].requests["200"] == 0.0, "counted before anybody looked"


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({0.1: 0.0, math.inf: 0.0}, 0.5, None),
        ({0.1: 10.0, math.inf: 10.0}, 0.5, 0.05),
        ({0.1: 0.0, 0.2: 10.0, math.inf: 10.0}, 0.9, 0.19),
        ({0.1: 1.0, math.inf: 10.0}, 0.95, 0.1),
    ],
)
def test_quantiles_are_linear_within_a_bucket(
    buckets: dict[float, float], share: float, expected: float | None
) -> None:
    assert quantile(buckets, share) == (expected if expected is None else pytest.approx(expected))


def test_an_endpoint_is_seen_by_its_port_and_by_its_metrics(root: Store) -> None:
    clock = Clock()
    answers: dict[str, tuple[int, bytes]] = {
        f"{URL}/readyz": (200, b'{"status": "ready", "model": "road:7"}'),
        "http://ray/metrics": (200, AGENT.encode()),
    }

    def get(url: str) -> tuple[int, bytes]:
        return answers[url] if url in answers else nobody(url)

    looks = watcher(root, clock, get, ("http://ray/metrics",))
    look = looks.look(most_runs=1, most_sweeps=1)
    assert lines_of(look)[-2:] == [
        "http://127.0.0.1:8000  ready, road:7",
        "street  202 so far: 200 200, 429 2  p50 39 ms, p95 175 ms  2/3 replicas  v7  4 …",
    ]
    clock.now += 50.0
    answers["http://ray/metrics"] = (200, grown(AGENT, 1.5).encode())
    answers[f"{URL}/readyz"] = (503, b'{"error": {"message": "no model is served yet"}}')
    assert lines_of(looks.look(most_runs=1, most_sweeps=1))[-2:] == [
        "http://127.0.0.1:8000  no model is served yet",
        "street  2.0/s: 200 2.0, 429 0.02  p50 39 ms, p95 175 ms  2/3 replicas  v7  4 wa…",
    ]
    answers |= {f"{URL}/readyz": (200, b"<html>"), "http://ray/metrics": (404, b"")}
    told = lines_of(looks.look(most_runs=1, most_sweeps=1))[-2:]
    assert told == [f"none: {URL}: no endpoint of roadbed; no metrics tell of one", "http://ray/metrics: status 404"]
    answers["http://ray/metrics"] = (200, b"ray_roadbed_serve_waiting{ 1\n")
    assert "no text of metrics" in lines_of(looks.look(most_runs=1, most_sweeps=1))[-1]
    answers["http://ray/metrics"] = (200, b"\xff")
    assert "is no text of metrics" in lines_of(looks.look(most_runs=1, most_sweeps=1))[-1]
    answers.clear()
    told = lines_of(looks.look(most_runs=1, most_sweeps=1))[-2:]
    assert told == [
        f"none: {URL}: Connection refused; no metrics tell of one",
        "http://ray/metrics: Connection refused",
    ]


def test_phases_of_a_run_come_from_its_processes(root: Store) -> None:
    clock = Clock()
    live_run(root, clock, "street")
    looks = watcher(root, clock, lambda url: (200, AGENT.encode()), ("http://ray/metrics",))
    look = looks.look(most_runs=1, most_sweeps=1)
    assert "  8.0 images/s  33 % waiting for data, 67 % backward  heartbeat 0 s ago" in lines_of(look)


def test_metrics_are_those_of_a_ray_or_what_a_prometheus_collected() -> None:
    assert text_url("http://127.0.0.1:8080/metrics") == "http://127.0.0.1:8080/metrics"
    url = text_url("http://127.0.0.1:9090")
    assert url.startswith(
        "http://127.0.0.1:9090/federate?match%5B%5D=%7B__name__%3D~%22ray_roadbed_serve_requests_total%7C"
    )


def test_the_local_ray_is_found_by_what_it_writes_for_prometheus(tmp_path: Path) -> None:
    assert metrics_urls(tmp_path) == ()
    facts = look_up(os.getpid())
    assert facts is not None
    process = Process(os.getpid(), facts.started)
    write_state(LocalState(tmp_path, ray=RayHead(process, "127.0.0.1:1", "http://127.0.0.1:2", "token", None, "log")))
    assert metrics_urls(tmp_path) == ()
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "prom_metrics_service_discovery.json").write_text(
        '[{"labels": {"job": "ray"}, "targets": ["127.0.0.1:21890", "127.0.0.1:31689"]}]'
    )
    assert metrics_urls(tmp_path) == ["http://127.0.0.1:21890/metrics", "http://127.0.0.1:31689/metrics"]


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ([], 8, ""),
        ([1.0], 8, "▄"),
        ([3.0, 3.0, 3.0], 8, "▄▄▄"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 4, "▁▃▆█"),
        ([1.0, math.nan, 2.0], 8, "▁ █"),
        ([1.0, math.inf, 2.0, 2.0], 2, "▁█"),
        ([math.nan, math.nan], 8, "  "),
        ([1.0, 2.0], 0, ""),
    ],
)
def test_sparklines(values: list[float], width: int, text: str) -> None:
    assert sparkline([(place, value) for place, value in enumerate(values)], width) == text


def test_sparklines_are_drawn_by_place() -> None:
    assert sparkline([(0, 1.0), (1, 1.0), (2, 1.0), (100, 2.0)], 4) == "▁▁▁█"


@pytest.mark.parametrize(
    ("num_live", "num_runs", "room", "expected"),
    [
        (0, 0, 10, (0, 0)),
        (2, 2, 6, (2, 0)),
        (2, 5, 10, (2, 3)),
        (2, 9, 11, (2, 3)),
        (3, 3, 8, (2, 1)),
        (20, 20, 12, (0, 10)),
        (0, 200, 12, (0, 10)),
        (5, 200, 2, (0, 0)),
    ],
)
def test_runs_that_fit(num_live: int, num_runs: int, room: int, expected: tuple[int, int]) -> None:
    cards, rows = fitted(num_live, num_runs, room)
    assert (cards, rows) == expected
    assert CARD_LINES * cards + (rows + 1 if rows else 0) + (cards + rows < num_runs) <= room


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (200, 60), (80, 3)])
def test_two_hundred_runs_fit_any_terminal(root: Store, width: int, height: int) -> None:
    clock = Clock()
    live_run(root, clock, "a-run-with-a-name-that-is-longer-than-any-column-of-a-narrow-terminal")
    statuses = [Run(root, f"run-{number:03d}", clock=clock).claim(details={}) for number in range(200)]
    for attempt in statuses[4:]:
        attempt.finish("failed", reason="the loss is nan", step=3, progress={"num_steps": 10, "miou": 0.5})
    filled_sweep(root, clock)
    for attempt in statuses[:4]:
        attempt.beat(3, {"num_steps": 10})
    live_run(root, clock, "b")
    look = watcher(root, clock).look(most_runs=height, most_sweeps=2)
    lines = lines_of(look, width=width, height=height, trouble="as it was 14 s ago, trying again: " + 20 * "gone ")
    assert lines[0].startswith("roadbed top")
    if height >= 24:
        shown = sum(line.startswith(("run-", "b ", "a-run")) for line in lines)
        assert f"and {201 + 1 - shown} more; see `roadbed runs list`" in lines
        assert lines[-1].startswith("none: http")


def test_a_picture_at_eighty_columns(root: Store) -> None:
    clock = Clock()
    for name in ("old", "older-than-that-and-long"):
        ended_run(root, clock, name)
        clock.now += 7200
    live_run(root, clock)
    clock.now += 4
    lines = lines_of(watcher(root, clock).look(most_runs=24, most_sweeps=3))[1:]
    assert lines == [
        "",
        "runs  1 running, 2 finished",
        "night  running  " + "━" * 12 + "─" * 27 + "  30/100  2 min 20 s left",
        "  loss 0.080 █▄▃▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  mIoU 52.0 % ▁█ best 52.0 %",
        "  8.0 images/s  25 % waiting for data  heartbeat 4 s ago",
        "run                 state            step  loss          mIoU last/best    ago",
        "older-than-that-a…  finished        10/10  0.200 █▃▂▁▁▁  51.0/51.0 ▄       2 h",
        "old                 finished        10/10  0.200 █▃▂▁▁▁  51.0/51.0 ▄       4 h",
        "",
        "endpoints",
        f"none: {URL}: Connection refused; no metrics tell of one",
    ]


def test_an_empty_store_says_how_to_begin(root: Store) -> None:
    look = watcher(root, Clock()).look(most_runs=24, most_sweeps=3)
    assert "runs  none yet; start one with `roadbed train jobs/NAME.yaml`" in lines_of(look)


def test_a_pipe_gets_one_picture_or_one_document(roadbed: Command, root: Store) -> None:
    clock = Clock(time.time())
    live_run(root, clock)
    failed = Run(root, "spoilt", clock=clock).claim(details={})
    failed.append("metrics", step(1, at=clock.now, loss=math.nan))
    failed.finish("failed", reason="the loss is nan", step=1, progress={})
    nowhere = ("--store", root.uri, "--url", "http://127.0.0.1:9/", "--metrics", "http://127.0.0.1:9/metrics")
    status, out, err = roadbed("top", *nowhere)
    assert (status, err) == (0, "")
    assert "none: http://127.0.0.1:9: Connection refused; no metrics tell of one" in out
    assert "\x1b" not in out
    status, out, _ = roadbed("top", "--json", *nowhere)
    document = json.loads(out, parse_constant=pytest.fail)
    run = document["runs"][0]
    assert (run["name"], run["state"], run["step"], run["num_steps"]) == ("night", "running", 30, 100)
    assert (run["loss"], run["miou"], run["best_miou"]) == (0.08, 0.52, 0.52)
    assert [one["loss"] for one in document["runs"]] == [0.08, None]
    assert (document["endpoints"], document["is_ready"], document["said"]) == ([], None, "Connection refused")


@pytest.mark.parametrize(("option", "value"), [("--url", "127.0.0.1:8000"), ("--metrics", "file:///etc/passwd")])
def test_addresses_are_of_http(roadbed: Command, root: Store, option: str, value: str) -> None:
    status, _, err = roadbed("top", option, value, "--store", root.uri)
    assert status == 2
    assert f"{option} {value}: is no address of HTTP; write it as in http://127.0.0.1:8000" in err


def test_a_store_that_does_not_answer_is_an_error(roadbed: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ENDPOINT_URL", "http://127.0.0.1:9"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    status, out, err = roadbed("top", "--store", "s3://roadbed/gone")
    assert (status, out) == (1, "")
    assert "s3://roadbed/gone" in err
    assert "http://127.0.0.1:9 does not answer" in err


def test_a_store_that_goes_away_is_told_and_asked_again(root: Store) -> None:
    clock, out = Clock(), io.StringIO()
    live_run(root, clock)
    looks = watcher(root, clock)
    console = Console(file=out, force_terminal=True, width=80, height=24, highlight=False)
    asked: list[int] = []

    def shown(words: str) -> None:
        while words not in out.getvalue():
            time.sleep(0.01)

    def look() -> Look:
        asked.append(1)
        if len(asked) == 1:
            raise StoreError("s3://roadbed: does not answer")
        if len(asked) == 2:
            shown("trying again: s3://roadbed: does not answer")
            Run(root, "another", clock=clock).claim(details={})
        else:
            shown("another")
            os.kill(os.getpid(), signal.SIGINT)
        return looks.look(most_runs=24, most_sweeps=3)

    def draw(seen: Look, trouble: str) -> Any:
        return picture(seen, store="s3://roadbed", url=URL, width=80, height=24, trouble=trouble)

    first = looks.look(most_runs=24, most_sweeps=3)
    watch(look, draw, first=first, every_s=0.01, console=console)
    assert out.getvalue().endswith("\x1b[?25h\x1b[?1049l")


TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def test_the_screen_goes_on_until_ctrl_c_and_leaves_the_terminal_whole(root: Store) -> None:
    clock = Clock(time.time())
    attempt = Run(root, "night").claim(details={})
    attempt.beat(7, {"num_steps": 20, "at": clock.now, "step": 7, "loss": 0.5})
    command = [
        sys.executable,
        "-m",
        "roadbed",
        "top",
        "--store",
        root.uri,
        "--every",
        "0.5",
        "--url",
        "http://127.0.0.1:9",
    ]
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([sys.executable, "-c", TERMINAL, *command], env=environment, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""

        def until(words: bytes) -> None:
            nonlocal said
            while words not in said:
                more = os.read(process.stdout.fileno(), 65536)
                assert more, said
                said += more

        try:
            until(b"7/20")
            attempt.beat(8, {"num_steps": 20})
            until(b"8/20")
            attempt.beat(9, {"num_steps": 20})
            until(b"9/20")
            process.stdin.write(b"\x03")
            process.stdin.flush()
            said += process.stdout.read()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert said.index(b"\x1b[?1049h") < said.index(b"7/20")
    assert said.rindex(b"\x1b[?1049l") > said.rindex(b"9/20")
    assert said.rindex(b"\x1b[?25h") > said.rindex(b"\x1b[?25l"), "the cursor is back"
    assert b"Traceback" not in said
