"""What every test gets: a HOME of its own, no settings of the machine; and real parts for those that ask for them."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from kube_server import KubeServer
from roadbed.cli import main
from roadbed.runtime import local

CAMVID_FOLDER = Path(__file__).parents[2] / "shared" / "data" / "camvid"


class OneStartsRay(LoadScopeScheduling):
    """How two processes share the tests (`make test`): one has all that start Ray; of the others files stay whole."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "ray" if path.startswith(("tests/integration/", "tests/soak/")) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStartsRay:
    return OneStartsRay(config, log)


@pytest.fixture(scope="session")
def session_patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session", autouse=True)
def own_surroundings(session_patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's files, reaches the user's stores, or listens beyond loopback."""
    foreign = [name for name in os.environ if name.startswith(("AWS_", "RAY_", "ROADBED_", "KUBE"))]
    for name in foreign:
        session_patch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    session_patch.setenv("HOME", str(home))
    session_patch.setenv("ROADBED_LOCAL_DIR", str(home / "local"))
    session_patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    token_path = home / "ray-token"
    token_path.write_text(secrets.token_hex(32))
    session_patch.setenv("RAY_AUTH_MODE", "token")
    session_patch.setenv("RAY_AUTH_TOKEN_PATH", str(token_path))
    session_patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


@pytest.fixture(scope="session")
def s3_server(
    own_surroundings: None, session_patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[local.LocalState]:
    """A real SeaweedFS with the bucket `roadbed`; AWS_* variables lead to it from now on to the end of the session."""
    folder = tmp_path_factory.mktemp("s3") / "local"
    state = local.up(folder, with_ray=False)
    try:
        for name, value in local.environment(state).items():
            session_patch.setenv(name, value)
        yield state
    finally:
        local.down(folder)


@pytest.fixture(scope="session")
def ray_head(s3_server: local.LocalState, session_patch: pytest.MonkeyPatch) -> local.LocalState:
    """A real Ray head beside the S3 server, for all tests that need one; RAY_* variables lead to it from now on."""
    shutil.copy(os.environ["RAY_AUTH_TOKEN_PATH"], s3_server.folder / "ray-token")
    state = local.up(s3_server.folder, num_cpus=2)
    for name, value in local.environment(state).items():
        session_patch.setenv(name, value)
    return state


@pytest.fixture
def kube_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeServer]:
    """An API server of ours with no object in it; KUBECONFIG leads to it, namespace roadbed."""
    with KubeServer().running() as server:
        path = str(server.write_kubeconfig(tmp_path / "kubeconfig"))
        monkeypatch.setenv("KUBECONFIG", path)
        # The official client reads the variable when it is imported, which another test may have done.
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", path)
        yield server


@pytest.fixture(scope="session")
def camvid_dir() -> Path:
    """Real CamVid frames: the folder in the variable CAMVID, or the one that may lie beside the checkout."""
    folder = Path(os.environ.get("CAMVID", CAMVID_FOLDER))
    if not (folder / "train").is_dir():
        pytest.skip(
            f"no CamVid in {folder}: set CAMVID to the folder that holds train/, trainannot/, val/ and valannot/ "
            "(`roadbed quickstart --camvid download` fetches one)"
        )
    return folder


@pytest.fixture
def roadbed(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line: exit status, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as error:
            status = int(error.code or 0)
        return status, *capsys.readouterr()

    return run
