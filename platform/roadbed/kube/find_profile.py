"""Which profiles there are: those of a file, else those of the cluster's namespace, else the built-in ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from roadbed.errors import ClusterError, UsageError
from roadbed.kube.client import Cluster
from roadbed.kube.names import PROFILES_LABEL
from roadbed.kube.profile import Profile, built_in_profiles, parse_profile
from roadbed.kube.sizes import ClusterJob

SUFFIX = ".yaml"


def profile_name(job: ClusterJob, asked: str | None) -> str:
    """The profile that a job is for: what was asked for, else what its spec says, else by its workers' GPUs."""
    return asked or job.cluster.profile or ("gpu" if job.workers.gpus_per_worker else "cpu")


def choose(profiles: Mapping[str, Profile], name: str, *, origin: str) -> Profile:
    """The profile of a name. Raises UsageError that lists those there are."""
    if name in profiles:
        return profiles[name]
    near = difflib.get_close_matches(name, profiles, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(profiles)) or 'none'}"
    raise UsageError(f"{origin}: no profile {name}; {hint}")


def known_profiles(
    path: Path | None, connect: Callable[[], Cluster], *, notify: Callable[[str], None], may_be_offline: bool
) -> tuple[dict[str, Profile], str]:
    """The profiles that there are, and what they are of: the file at `path`, the cluster, or roadbed itself.

    With `may_be_offline` a cluster that cannot be asked is told, and done without.
    """
    if path is not None:
        return profiles_of_file(path), str(path)
    try:
        cluster = connect()
        found = profiles_of_cluster(cluster)
    except ClusterError as error:
        if not may_be_offline:
            raise
        notify(f"no cluster was asked, the built-in profiles are taken: {error}")
        return built_in_profiles(), "built-in profiles"
    if found:
        return found, f"namespace {cluster.namespace}"
    notify(
        f"namespace {cluster.namespace} has no profiles: the built-in ones are taken, which know neither your image "
        "nor your store. The chart installs profiles; name its namespace by --namespace"
    )
    return built_in_profiles(), "built-in profiles"


def profiles_of_file(path: Path) -> dict[str, Profile]:
    """The profiles of a YAML file: NAME: {image: ...}, ..., or the ConfigMap in which a cluster keeps them."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file of profiles") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path}: expected profiles by name, as `cpu: {{image: ...}}`")
    if document.get("kind") == "ConfigMap":
        return _of_config_map(document, origin=str(path))
    return {str(name): Profile.parse(values, origin=f"{path}: {name}") for name, values in document.items()}


def profiles_of_cluster(cluster: Cluster) -> dict[str, Profile]:
    """The profiles that the chart keeps in the namespace; none where it is not installed.

    Raises UsageError if two ConfigMaps have profiles of one name.
    """
    found: dict[str, Profile] = {}
    for document in cluster.list("configmaps", labels=f"{PROFILES_LABEL}=true"):
        origin = f"ConfigMap {document['metadata']['name']}"
        for name, profile in _of_config_map(document, origin=origin).items():
            if name in found:
                raise UsageError(f"{origin}: profile {name} stands in another ConfigMap too; name a file by --profiles")
            found[name] = profile
    return found


def _of_config_map(document: Mapping[str, Any], *, origin: str) -> dict[str, Profile]:
    data: Mapping[str, str] = document.get("data") or {}
    return {
        key.removesuffix(SUFFIX): parse_profile(text, origin=f"{origin}: {key}")
        for key, text in data.items()
        if key.endswith(SUFFIX)
    }
