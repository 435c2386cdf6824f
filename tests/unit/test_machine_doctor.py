"""`roadbed doctor`: what each check says of a machine that lacks something, and that one check stops no other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kube_server import KubeServer
from roadbed.doctor.check import Check, Finding, examine, import_trouble
from roadbed.doctor.cluster import look_at_cluster
from roadbed.doctor.compute import judged
from roadbed.doctor.machine import cgroup_cpus, free_memory_gb, look_at_disk
from roadbed.doctor.packages import look_at_packages, look_at_python, unmet
from roadbed.doctor.ray import look_at_ray
from roadbed.doctor.store import _skew, _written, look_at_store
from roadbed.errors import UsageError
from roadbed.runtime import local
from roadbed.runtime.local.processes import free_ports
from roadbed.storage import open_store
from roadbed.storage.files import FileStore

Roadbed = Callable[..., tuple[int, str, str]]


def states(found: Iterator[Finding]) -> dict[str, str]:
    """What was found, by its state; several of a state in lines."""
    told: dict[str, str] = {}
    for one in found:
        assert one.fix or one.state != "problem", one
        told[one.state] = f"{told[one.state]}\n{one.what}" if one.state in told else one.what
    return told


def fine(_store: str) -> Iterator[Finding]:
    yield Finding("ok", "fine")


def test_a_check_that_hangs_or_fails_is_a_problem_and_the_others_go_on() -> None:
    never = threading.Event()

    def hang(_store: str) -> Iterator[Finding]:
        yield Finding("ok", "came so far")
        never.wait(30)

    def break_down(_store: str) -> Iterator[Finding]:
        raise ValueError("odd")
        yield

    def refuse(store: str) -> Iterator[Finding]:
        raise UsageError(f"{store}: is no store; name one")
        yield

    checks = [Check("hang", hang, within_s=0.1), Check("break", break_down), Check("no", refuse), Check("fine", fine)]
    found = list(examine(checks, "s3://x"))
    never.set()
    assert [(one.check, one.state) for one in found] == [
        ("hang", "ok"),
        ("hang", "problem"),
        ("break", "problem"),
        ("no", "problem"),
        ("fine", "ok"),
    ]
    assert found[1].what == "no answer within 0.1 s"
    assert found[2].what == "this check failed: ValueError: odd"
    assert (found[3].what, found[3].fix) == ("s3://x: is no store", "name one")


def test_packages_that_are_absent_or_of_another_version_are_named() -> None:
    assert unmet(["numpy>=1", "nothing-like-it; extra == 'local'"]) == []
    old, absent = unmet(["numpy<1", "nothing-like-it>=2"])
    assert old.startswith("numpy is ")
    assert old.endswith(", not <1")
    assert absent == "nothing-like-it is not installed (nothing-like-it>=2)"
    assert set(states(look_at_python(""))) == {"ok"}
    assert "as roadbed" in states(look_at_packages(""))["ok"]


def test_a_package_that_does_not_load_is_named() -> None:
    assert import_trouble("json") is None
    told = "no_such_package cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"
    assert import_trouble("json", "no_such_package") == told


def test_limits_of_a_container_are_read(tmp_path: Path) -> None:
    assert cgroup_cpus(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cgroup_cpus(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cgroup_cpus(tmp_path) is None
    (tmp_path / "memory.max").write_text("2000000\n")
    (tmp_path / "memory.current").write_text("500000\n")
    assert free_memory_gb(tmp_path) == pytest.approx(0.0015)


def test_a_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADBED_CACHE_DIR", "/proc/nobody/writes/here")
    found = [one for one in look_at_disk("") if one.state == "problem"]
    assert "cache of shards /proc/nobody/writes/here" in found[0].what
    assert "ROADBED_CACHE_DIR" in found[0].fix


@pytest.mark.parametrize(
    ("names", "machine", "state", "told"),
    [
        (["A100", "A100"], {"has_driver": True, "cuda": "13.0"}, "ok", "2 x A100, CUDA 13.0; precision auto: bf16"),
        ([], {"has_driver": True, "cuda": None}, "problem", "built for CPUs alone"),
        ([], {"has_driver": True, "cuda": "13.0"}, "problem", "sees no GPU"),
        ([], {"has_mps": True}, "note", "Apple's GPU is not used"),
        ([], {}, "ok", "none"),
    ],
)
def test_an_accelerator_that_torch_does_not_see_is_a_problem(
    names: list[str], machine: dict[str, Any], state: str, told: str
) -> None:
    settings: dict[str, Any] = {"has_driver": False, "cuda": None, "has_mps": False, "precision": "bf16"}
    found = judged(names, **settings | machine)
    assert found.state == state
    assert told in found.what
    assert found.fix or state != "problem"


def test_a_ray_that_does_not_answer_and_a_token_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    assert "nobody answers (Connection refused)" in states(look_at_ray(""))["problem"]
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert "is no HOST:PORT" in states(look_at_ray(""))["note"]
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/no/such/token")
    found = states(look_at_ray(""))
    assert found["problem"] == "RAY_AUTH_TOKEN_PATH=/no/such/token: there is no such file"
    assert "each command starts its own" in found["ok"]
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    assert states(look_at_ray(""))["problem"] == "RAY_AUTH_MODE=token, and there is no token"


def test_a_token_that_ray_left_is_told_where_a_cluster_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("left")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    assert "auth_token is there" in states(look_at_ray(""))["note"]


def test_a_folder_is_a_store_and_none_is_made(tmp_path: Path) -> None:
    assert "a folder that you may write" in states(look_at_store(f"file://{tmp_path}/new"))["ok"]
    assert list(tmp_path.iterdir()) == []
    assert "you may not write" in states(look_at_store("file:///proc/new"))["problem"]


def test_without_a_store_each_command_starts_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROADBED_LOCAL_DIR", str(tmp_path / "none"))
    assert "each command starts one" in states(look_at_store("s3://roadbed"))["ok"]
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    assert "the program weed is neither" in states(look_at_store("s3://roadbed"))["problem"]


@pytest.mark.s3
def test_a_store_is_written_and_nothing_is_left(s3_server: local.LocalState, monkeypatch: pytest.MonkeyPatch) -> None:
    assert s3_server.store is not None
    found = states(look_at_store("s3://roadbed/doctor"))
    assert set(found) == {"ok"}
    assert f"s3://roadbed/doctor at {s3_server.store.endpoint}: answers" in found["ok"]
    assert "keeps conditions of writes" in found["ok"]
    assert list(open_store("s3://roadbed/doctor").list()) == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "refuses these credentials" in states(examine([Check("store", look_at_store)], "s3://roadbed"))["problem"]


def test_a_store_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    found = states(examine([Check("store", look_at_store, within_s=30)], "s3://roadbed"))
    assert "does not answer" in found["problem"]


class Forgetful(FileStore):
    """Takes every write, whatever its condition."""

    def put_if(self, key: str, data: bytes, *, etag: str | None) -> str:
        return self.put(key, data)


def test_a_store_that_ignores_conditions_is_a_problem(tmp_path: Path) -> None:
    assert "conditions of writes (If-None-Match, If-Match) are ignored" in states(
        _written(Forgetful(tmp_path), "probe")
    ).get("problem", "")


def test_a_clock_that_is_off_is_told() -> None:
    assert list(_skew(5.0, 1.0)) == []
    assert states(_skew(30.0, 1.0)) == {"note": "this clock is 30 s behind the store's"}
    assert states(_skew(-300.0, 1.0))["problem"].startswith("this clock is 300 s ahead of the store's")


def test_no_kubeconfig_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/no/such/file")
    assert set(states(look_at_cluster(""))) == {"note"}


def operator(image: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "kuberay-operator"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kuberay-operator", "namespace": "kuberay-system", "labels": labels},
        "spec": {"template": {"spec": {"containers": [{"name": "operator", "image": image}]}}},
    }


def test_a_cluster_with_kuberay_is_fine_and_an_old_one_is_not(kube_server: KubeServer) -> None:
    kube_server.put(operator("registry:5000/kuberay/operator:v1.7.0"))
    found = states(look_at_cluster(""))
    assert set(found) == {"ok"}
    assert "Kubernetes v1.36.0" in found["ok"]
    assert "KubeRay 1.7.0; 0 RayJobs in roadbed" in found["ok"]
    kube_server.put(operator("kuberay/operator:v1.4.2"))
    assert "KubeRay 1.4.2 is too old" in states(look_at_cluster(""))["problem"]
    kube_server.forbidden.add(("list", "deployments"))
    assert "whose version is not told here" in states(look_at_cluster(""))["ok"]


def test_a_cluster_without_operators_is_told(kube_server: KubeServer) -> None:
    kube_server.absent_groups.add("kueue.x-k8s.io")
    assert "no Kueue" in states(look_at_cluster(""))["ok"]
    kube_server.absent_groups.add("ray.io")
    assert states(look_at_cluster(""))["problem"] == "the cluster has no RayJobs"


def test_the_command_tells_everything_and_has_a_status(
    roadbed: Roadbed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    status, out, err = roadbed("doctor", "--store", f"file://{tmp_path}", "--json")
    document = json.loads(out)
    assert status == 1
    assert err == ""
    assert document["counts"]["problem"] == 1
    assert {one["check"] for one in document["checks"]} >= {"python", "torch", "accelerator", "ray", "store", "cluster"}
    monkeypatch.setattr("roadbed.doctor.CHECKS", (Check("fine", fine),))
    assert roadbed("doctor") == (0, "ok       fine         fine\nok: 1, notes: 0, problems: 0\n", "")
