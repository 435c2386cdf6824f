"""What a rule is: a name, what it looks at, what it refuses, and a pure function that finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from roadbed.kube.lint.fields import Field

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """What a rule found: where, what is wrong with it, and what to write instead."""

    field: Field
    problem: str
    fix: str


@dataclass(frozen=True)
class Cluster:
    """The spec of a Ray cluster, alone or within a RayJob, RayService or RayCronJob (`obj`)."""

    obj: Field
    spec: Field

    @property
    def head(self) -> Field:
        """The head's group."""
        return self.spec["headGroupSpec"]

    @property
    def groups(self) -> list[Field]:
        """The groups of workers."""
        return self.spec["workerGroupSpecs"].items()

    @property
    def autoscales(self) -> bool:
        """Whether Ray's autoscaler runs beside the head."""
        return self.spec["enableInTreeAutoscaling"].value is True

    def head_env(self, name: str) -> Field | None:
        """The environment variable of the head's Ray container (the first); None if it has none of this name."""
        containers = self.head["template"]["spec"]["containers"].items()
        variables = containers[0]["env"].items() if containers else []
        return next((env for env in variables if env["name"].text == name), None)


Role = Literal["head", "worker", "submitter", ""]


@dataclass(frozen=True)
class Pod:
    """The pod or pod template of an object, and the role that it has in a Ray cluster."""

    obj: Field
    template: Field
    role: Role = ""
    cluster: Cluster | None = None

    @property
    def spec(self) -> Field:
        """The spec of the pod."""
        return self.template["spec"]

    @property
    def containers(self) -> list[Field]:
        """All containers, those for the start first."""
        return self.spec["initContainers"].items() + self.spec["containers"].items()

    @property
    def gpus(self) -> float:
        """How many GPUs the containers ask for, at most."""
        kinds = [container["resources"][kind] for container in self.containers for kind in ("limits", "requests")]
        amounts = [amount for kind in kinds for name, amount in kind.fields().items() if is_gpu(name)]
        return max((amount.quantity or 0.0 for amount in amounts), default=0.0)


@dataclass(frozen=True)
class Everything:
    """All objects at once, for what is between them. `secrets` are the names of those that are there, if known."""

    objects: list[Field]
    secrets: frozenset[str] | None = None

    def of_kind(self, *kinds: str) -> list[Field]:
        """The objects of these kinds."""
        return [obj for obj in self.objects if obj["kind"].text in kinds]


@dataclass(frozen=True)
class Rule:
    """`subjects` gives what is looked at, each of which `check` gets; `refuses` is for the table of rules."""

    id: str
    severity: Severity
    looks_at: str
    refuses: str
    subjects: Callable[[Everything], Iterable[Any]]
    check: Callable[[Any], Iterator[Finding]]


RAY_KINDS = ("RayCluster", "RayJob", "RayService", "RayCronJob")
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")


def is_gpu(resource: str) -> bool:
    """Whether a resource is one of GPUs: nvidia.com/gpu, nvidia.com/mig-1g.5gb, amd.com/gpu."""
    return resource.endswith(("/gpu", ".gpu")) or resource.startswith(("nvidia.com/", "amd.com/", "gpu.intel.com/"))


def everything(everything: Everything) -> list[Everything]:
    """For rules on what is between objects."""
    return [everything]


def objects(everything: Everything) -> list[Field]:
    """For rules on any object."""
    return everything.objects


def of_kind(*kinds: str) -> Callable[[Everything], list[Field]]:
    """For rules on objects of these kinds."""
    return lambda everything: everything.of_kind(*kinds)


def rayjobs(everything: Everything) -> list[tuple[Field, Field]]:
    """(object, spec) of every RayJob, those of RayCronJobs among them."""
    jobs = [(job, job["spec"]) for job in everything.of_kind("RayJob")]
    return jobs + [(cron, cron["spec"]["jobTemplate"]) for cron in everything.of_kind("RayCronJob")]


def clusters(everything: Everything) -> list[Cluster]:
    """Every Ray cluster, wherever it is written."""
    found = [Cluster(obj, obj["spec"]) for obj in everything.of_kind("RayCluster")]
    found += [Cluster(obj, spec["rayClusterSpec"]) for obj, spec in rayjobs(everything) if spec["rayClusterSpec"]]
    return found + [Cluster(obj, obj["spec"]["rayClusterConfig"]) for obj in everything.of_kind("RayService")]


def pods(everything: Everything) -> list[Pod]:
    """Every pod and pod template, wherever it is written."""
    found = [Pod(obj, obj) for obj in everything.of_kind("Pod")]
    found += [Pod(obj, obj["spec"]["template"]) for obj in everything.of_kind(*_WORKLOADS)]
    for cron in everything.of_kind("CronJob"):
        found.append(Pod(cron, cron["spec"]["jobTemplate"]["spec"]["template"]))
    for cluster in clusters(everything):
        found.append(Pod(cluster.obj, cluster.head["template"], "head", cluster))
        found += [Pod(cluster.obj, group["template"], "worker", cluster) for group in cluster.groups]
    for job, spec in rayjobs(everything):
        if spec["submitterPodTemplate"]:
            found.append(Pod(job, spec["submitterPodTemplate"], "submitter"))
    return found
