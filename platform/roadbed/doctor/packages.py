"""Python, and whether the packages beside roadbed are those that it asks for."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from roadbed.doctor.check import Finding

_OURS = "roadbed"
# A pair that was not built for each other breaks at the first operator of torchvision.
_PAIRS = (("torchvision", "torch"),)


def look_at_python(_store: str) -> Iterator[Finding]:
    """Its version against what roadbed asks for."""
    version = platform.python_version()
    try:
        wanted = metadata.metadata(_OURS)["Requires-Python"]
    except metadata.PackageNotFoundError:
        wanted = ">=3.11"
    if version in SpecifierSet(wanted, prereleases=True):
        yield Finding("ok", f"{version} ({sys.executable})")
    else:
        yield Finding("problem", f"{version}, roadbed needs {wanted}", "make a virtual environment of such a Python")


def look_at_packages(_store: str) -> Iterator[Finding]:
    """What roadbed's own metadata asks for, and pairs of packages that must fit each other."""
    try:
        wrong = unmet(metadata.requires(_OURS) or [])
    except metadata.PackageNotFoundError:
        yield Finding(
            "note", "roadbed is run without being installed, so versions are not known", "pip install roadbed"
        )
        return
    for package, other in _PAIRS:
        try:
            wanted = [text for text in metadata.requires(package) or [] if Requirement(text).name == other]
        except metadata.PackageNotFoundError:
            continue
        wrong += [f"{package} was built for another: {text}" for text in unmet(wanted)]
    if wrong:
        yield Finding("problem", "; ".join(wrong), f"pip install --upgrade {_OURS}, or `uv pip sync requirements.lock`")
    else:
        pairs = ", ".join(f"{name} {metadata.version(name)}" for name in ("ray", "torch", "torchvision"))
        yield Finding("ok", f"{pairs}; all packages are as roadbed {metadata.version(_OURS)} asks")


def unmet(requirements: list[str]) -> list[str]:
    """What is not there, or in another version, in words; extras are left out."""
    found = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found.append(f"{requirement.name} is not installed ({requirement})")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    return found
