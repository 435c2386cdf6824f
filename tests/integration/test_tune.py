"""Sweeps on a real Ray over a real S3 server: killed and started again, with trials that end, break, and change."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from roadbed.data.dataset import Dataset
from roadbed.errors import UsageError
from roadbed.registry import Registry
from roadbed.runs import Run
from roadbed.runtime.tune import num_concurrent
from roadbed.spec import WorkersSpec
from roadbed.storage import open_store
from roadbed.tuning.sweep import BASELINE, Sweep, read_result
from support import SMALL_MODEL, blocks_dataset, blocks_job

pytestmark = [pytest.mark.s3, pytest.mark.ray]

ROOT_URI = "s3://roadbed/tuning"
EPOCHS = 4
PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def dataset(s3_server: object, ray_head: object) -> Dataset:
    return blocks_dataset(f"{ROOT_URI}/blocks", train=31, val=5)


def spec_file(folder: Path, name: str, tune: dict[str, Any], **output: Any) -> Path:
    base = blocks_job(ROOT_URI, f"train.epochs={EPOCHS}", SMALL_MODEL, name=name)
    spec = base.model_dump(mode="json") | {"kind": "tune", "tune": tune}
    spec["output"] |= output
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "roadbed", *(str(word) for word in words)]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def until(process: subprocess.Popen[str], is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert process.poll() is None, f"ended before {what}: {process.communicate()}"
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.2)


def test_a_killed_sweep_goes_on_and_what_ended_is_not_done_again(dataset: Dataset, tmp_path: Path) -> None:
    """One trial explodes; the driver is killed once a trial is over."""
    tune = {"space": {"train.learning_rate": {"choice": [1e6, 0.02]}}, "trials": 2, "searcher": "grid"}
    check_killed(tmp_path, "killed", tune | {"baseline": False})


@pytest.mark.soak
def test_a_larger_sweep_too(dataset: Dataset, tmp_path: Path) -> None:
    scheduler = {"kind": "asha", "grace_epochs": 1, "reduction_factor": 2}
    rates = {"choice": [1e6, 0.02, 1e-7, 0.003]}
    tune = {"space": {"train.learning_rate": rates}, "trials": 4, "searcher": "grid", "scheduler": scheduler}
    check_killed(tmp_path, "larger", tune)


def check_killed(folder: Path, name: str, tune: dict[str, Any]) -> None:
    spec = spec_file(folder, name, tune, register_as=name)
    sweep = Sweep(open_store(ROOT_URI), name)

    def over() -> dict[int, Any]:
        return {number: trial for number, trial in sweep.trials().items() if trial.is_over}

    with start("tune", spec) as first:
        try:
            until(first, lambda: bool(over()), "the first trial's end")
        finally:
            first.send_signal(signal.SIGKILL)
    ended = over()
    attempts = {number: sweep.run_of(trial).attempts() for number, trial in ended.items()}
    page = folder / "page.html"
    with start("tune", spec, "--page", page, "--json") as second:
        out, err = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, err

    trials = sweep.trials()
    assert set(trials) == {*range(tune["trials"]), *([BASELINE] if tune.get("baseline", True) else [])}
    for number, trial in ended.items():
        assert trials[number] == trial
        assert sweep.run_of(trial).attempts() == attempts[number]
    rates = tune["space"]["train.learning_rate"]["choice"]
    assert [trials[number].values["train.learning_rate"] for number in range(tune["trials"])] == rates
    assert (trials[0].state, trials[0].curve) == ("failed", ())
    assert "at learning rate" in trials[0].reason
    for trial in trials.values():
        assert trial.is_over
        if trial.state == "finished":
            assert [epoch for epoch, _ in trial.curve] == list(range(1, EPOCHS + 1))
        if trial.state == "stopped":
            assert trial.curve[-1][0] < EPOCHS

    result = read_result(sweep)
    assert result.winner is not None
    registry = Registry(open_store(ROOT_URI))
    (number,) = registry.versions(name)
    card = registry.resolve(f"{name}:{number}").card()
    scores = [value for trial in trials.values() for _, value in trial.curve if trial.state == "finished"]
    assert card["scores"]["miou"] == pytest.approx(max(scores))
    assert card["sweep"]["name"] == name
    assert result.registered == f"{name}:{number}"
    told = json.loads(out)
    assert told["version"] == f"{name}:{number}"
    assert len(told["trials"]) == len(trials)
    assert page.read_text().startswith("<!doctype html>")
    assert told["trials"][0]["number"] == result.winner.number
    with start("sweeps", "show", name, "--store", ROOT_URI) as shown:
        table = shown.communicate(timeout=60)[0]
    assert all(f"{name}-{number:04d}" in table for number in range(tune["trials"]))


@pytest.mark.soak
def test_a_population_takes_weights_from_its_better_half(dataset: Dataset, tmp_path: Path) -> None:
    spec = spec_file(
        tmp_path,
        "population",
        {
            "space": {"train.learning_rate": {"loguniform": [1e-8, 0.03]}},
            "trials": 2,
            "seed": 2,
            "searcher": "random",
            "baseline": False,
            "scheduler": {"kind": "pbt", "perturb_every_epochs": 1, "exploit_share": 0.5},
        },
    )
    with start("tune", spec) as process:
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    root = open_store(ROOT_URI)
    trials = Sweep(root, "population").trials()
    changed = [trial for trial in trials.values() if trial.changes]
    assert changed, trials
    for trial in changed:
        donor = trials[trial.changes[-1].donor]
        assert donor.number != trial.number
        run = Run(root, trial.run_name("population"))
        first = run.attempts()[0][1]
        assert first["resumed_step"] > 0
        assert trial.values_now["train.learning_rate"] != trial.values["train.learning_rate"]
        assert 1e-8 <= trial.values_now["train.learning_rate"] <= 0.03
        assert f"learning_rate: {trial.values_now['train.learning_rate']}" in (run.spec() or "")
        assert trial.curve[-1][0] == EPOCHS


@pytest.mark.soak
def test_a_batch_that_does_not_fit_into_memory_is_named_and_the_rest_goes_on(dataset: Dataset, tmp_path: Path) -> None:
    """On a Ray of the sweep's own, whose processes may have little more memory than they need to live."""
    sizes = {"choice": [[3072, 3072], [64, 64]]}
    tune = {"space": {"data.crop_px": sizes}, "trials": 2, "searcher": "grid", "baseline": False, "max_concurrent": 1}
    spec = spec_file(tmp_path, "memory", tune)
    changed = yaml.safe_load(spec.read_text())
    changed["train"] |= {"global_batch": 31, "micro_batch": 31}
    changed["workers"]["retries"] = {"memory": 0}
    spec.write_text(yaml.safe_dump(changed))
    # Ray maps its shared memory into every process: three tenths of the machine's, or what /dev/shm has room for.
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    most = int(10e9 + min(0.3 * memory, shutil.disk_usage("/dev/shm").free))
    environment = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "roadbed", "tune", str(spec)]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONWARNINGS": "ignore"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    ) as process:
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    trials = Sweep(open_store(ROOT_URI), "memory").trials()
    assert [trials[number].state for number in range(2)] == ["failed", "finished"]
    assert "allocate memory" in trials[0].reason
    assert trials[0].values == {"data.crop_px": [3072, 3072]}


@pytest.mark.soak
def test_a_budget_ends_a_sweep_which_goes_on_with_a_larger_one(dataset: Dataset, tmp_path: Path) -> None:
    tune = {"space": {"train.learning_rate": {"uniform": [0.001, 0.1]}}, "trials": 1, "baseline": False}
    spec = spec_file(tmp_path, "budget", tune | {"hours": 0.015, "scheduler": {"kind": "none"}})
    changed = yaml.safe_load(spec.read_text())
    changed["train"]["epochs"] = 5000
    spec.write_text(yaml.safe_dump(changed))
    sweep = Sweep(open_store(ROOT_URI), "budget")
    steps = []
    for hours in (0.015, 0.03):
        with start("tune", spec, "--set", f"tune.hours={hours}") as process:
            _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert f"the sweep has taken its {hours:g} hours (tune.hours); raise it and start the sweep again" in err
        (trial,) = sweep.trials().values()
        assert not trial.is_over
        latest = sweep.run_of(trial).pointer().latest
        assert latest is not None
        steps.append(latest.step)
    assert sweep.run_of(trial).attempts()[1][1]["resumed_step"] == steps[0] < steps[1]


@pytest.mark.soak
def test_the_benchmark_trains_the_same_trials_three_times(dataset: Dataset, tmp_path: Path) -> None:
    rates = {"uniform": [0.001, 0.1]}
    tune = {"space": {"train.learning_rate": rates}, "trials": 2, "scheduler": {"kind": "asha", "reduction_factor": 2}}
    path = tmp_path / "figures.json"
    with start("bench", "tune", spec_file(tmp_path, "benched", tune), "--json", path) as process:
        out, err = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == 0, err
    figures = json.loads(path.read_text())
    scheduled, whole, bare = figures["passes"]
    assert scheduled["epochs"] <= whole["epochs"] == bare["epochs"] == 2 * EPOCHS
    assert whole["best"] == pytest.approx(bare["best"], abs=1e-9), "on Ray or not, the same trials"
    assert f"over those without: {figures['epoch_share']:.2f}" in out
    assert not list(open_store(ROOT_URI).list("bench/")), "the runs of a benchmark are nobody's afterwards"


def test_a_trial_that_never_fits_is_refused_with_the_arithmetic() -> None:
    workers = WorkersSpec.parse({"num_workers": 2, "cpus_per_worker": 3}, origin="test")
    assert num_concurrent(workers, {"CPU": 12.0}) == 2
    with pytest.raises(UsageError, match=r"a trial never fits: 2 workers x 3 CPU = 6 of 4; lower workers.num_workers"):
        num_concurrent(workers, {"CPU": 4.0})
