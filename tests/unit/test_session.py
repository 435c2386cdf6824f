"""What the driver checks before and around Ray, without starting one."""

from __future__ import annotations

import pytest

from roadbed.errors import RoadbedError, UsageError
from roadbed.runtime.session import _check_resources, is_ray_remote, last_line, ray_session, worker_environment
from roadbed.runtime.trainer import HEALTH_CHECK_TIMEOUT, settings_of_ray
from roadbed.spec import WorkersSpec


def test_a_cluster_that_is_too_small_is_refused_with_the_arithmetic() -> None:
    workers = WorkersSpec(num_workers=3, cpus_per_worker=2, gpus_per_worker=1)
    with pytest.raises(UsageError, match=r"3 workers x 1 GPU = 3 GPU, but this Ray cluster has 2"):
        _check_resources(workers, {"CPU": 8.0, "GPU": 2.0})
    _check_resources(workers, {"CPU": 6.0, "GPU": 3.0})


def test_a_range_of_workers_needs_room_for_the_fewest() -> None:
    workers = WorkersSpec(num_workers={"min": 2, "max": 8})
    _check_resources(workers, {"CPU": 2.0})
    with pytest.raises(UsageError, match=r"2 workers x 1 CPU = 2 CPU, but this Ray cluster has 1"):
        _check_resources(workers, {"CPU": 1.0})


def test_an_address_that_nobody_listens_at_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with (
        pytest.raises(RoadbedError, match=r"Ray at 127\.0\.0\.1:9 cannot be reached: .*RAY_ADDRESS"),
        ray_session(WorkersSpec()),
    ):
        pass


def test_the_page_of_advice_is_left_out() -> None:
    assert last_line(RuntimeError("first\n\n  what happened  \n")) == "what happened"
    assert len(last_line(RuntimeError("word " * 400))) <= 200
    assert last_line(RuntimeError()) == "RuntimeError"


def test_a_group_that_finds_no_place_is_planned_anew_sooner_where_nodes_come_and_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
    elastic = WorkersSpec(num_workers={"min": 1, "max": 2}, stall_timeout_s=0)
    assert settings_of_ray(elastic) == {name: "25"}
    assert settings_of_ray(WorkersSpec(num_workers=2, stall_timeout_s=0)) == {}
    assert settings_of_ray(WorkersSpec(num_workers=2, stall_timeout_s=45)) == {HEALTH_CHECK_TIMEOUT: "90.0"}
    monkeypatch.setenv(name, "90")
    assert settings_of_ray(elastic) == {}


@pytest.mark.parametrize(
    ("address", "is_in_pod", "is_remote"),
    [
        (None, False, False),
        (None, True, False),
        ("127.0.0.1:6379", False, False),
        ("10.1.2.3:6379", False, True),
        ("127.0.0.1:6379", True, True),  # KubeRay's, in the pod of a head
    ],
)
def test_workers_in_other_pods_have_an_environment_of_their_own(
    monkeypatch: pytest.MonkeyPatch, address: str | None, is_in_pod: bool, is_remote: bool
) -> None:
    monkeypatch.setenv("AWS_REGION", "here")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    if is_in_pod:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert is_ray_remote() is is_remote
    assert ("AWS_REGION" in worker_environment()) is not is_remote
