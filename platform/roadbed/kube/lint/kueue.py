"""Rules on Kueue: which jobs it refuses, its labels, and queues and flavours that are not there.

Source: Kueue 0.19's pages on running RayJobs and RayClusters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from roadbed.kube.lint.fields import Field
from roadbed.kube.lint.rule import Everything, Finding, Rule, everything, of_kind, rayjobs

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_EXEC_TIME_LABEL = "kueue.x-k8s.io/max-exec-time-seconds"
_ELASTIC = "kueue.x-k8s.io/elastic-job"
_MOST_QUEUED_GROUPS = 17
_RAY = of_kind("RayJob", "RayCluster", "RayService")


def _queue(job: tuple[Field, Field]) -> Iterator[Finding]:
    obj, spec = job
    if not obj["metadata"]["labels"][QUEUE_LABEL]:
        return
    if spec["clusterSelector"]:
        yield Finding(spec["clusterSelector"], "is refused by Kueue", "give the job a rayClusterSpec of its own")
    if spec["shutdownAfterJobFinishes"].value is not True:
        text = "Kueue refuses a job that keeps its cluster"
        yield Finding(spec["shutdownAfterJobFinishes"], text, "write true, and take deletionRules out")
    groups = spec["rayClusterSpec"]["workerGroupSpecs"]
    if len(groups.items()) > _MOST_QUEUED_GROUPS:
        text = f"{len(groups.items())} groups of workers; Kueue takes at most {_MOST_QUEUED_GROUPS}"
        yield Finding(groups, text, "put groups together")


def _elastic(job: tuple[Field, Field]) -> Iterator[Finding]:
    obj, scaling = job[0], job[1]["rayClusterSpec"]["enableInTreeAutoscaling"]
    elastic = obj["metadata"]["annotations"][_ELASTIC]
    if obj["metadata"]["labels"][QUEUE_LABEL] and scaling.value is True and elastic.text != "true":
        yield Finding(elastic, "Kueue refuses an autoscaler in a job that is not elastic", f'write {_ELASTIC}: "true"')
    if elastic.text == "true" and scaling.value is not True:
        text = "an elastic job scales by Ray's autoscaler, which is off"
        yield Finding(scaling, text, "write enableInTreeAutoscaling: true, or take the annotation out")


def _queue_labels(obj: Field) -> Iterator[Finding]:
    metadata = obj["metadata"]
    time_s = metadata["labels"][_EXEC_TIME_LABEL]
    if time_s.is_set and not re.fullmatch("[1-9][0-9]*", time_s.text):
        yield Finding(time_s, f"{time_s.value!r} is no number of seconds", 'write such as "3600", in quotes')
    for name in (QUEUE_LABEL, "kueue.x-k8s.io/priority-class"):
        if metadata["annotations"][name].is_set:
            yield Finding(metadata["annotations"][name], "Kueue reads labels alone", "write it under metadata.labels")
    for group in [obj["spec"]["rayClusterSpec"][name] for name in ("headGroupSpec", "workerGroupSpecs")]:
        for part in group.items() or [group]:
            label = part["template"]["metadata"]["labels"][QUEUE_LABEL]
            if label.is_set:
                yield Finding(
                    label, "would queue the pods by themselves", f"write it as a label of the {obj['kind'].text}"
                )


def _missing_queues(everything: Everything) -> Iterator[Finding]:
    """References to queues and flavours that are not among the objects, where others of their kind are."""
    queues = [(q["metadata"]["namespace"].text, q["metadata"]["name"].text) for q in everything.of_kind("LocalQueue")]
    for obj in everything.objects:
        label, space = obj["metadata"]["labels"][QUEUE_LABEL], obj["metadata"]["namespace"].text
        if label and queues and (space, label.text) not in queues:
            known = ", ".join(sorted(name for of, name in queues if of == space)) or "none in this namespace"
            yield Finding(label, f"no LocalQueue {label.value}", f"there are: {known}")
    whole = [queue["metadata"]["name"].text for queue in everything.of_kind("ClusterQueue")]
    for queue in everything.of_kind("LocalQueue"):
        if whole and queue["spec"]["clusterQueue"].text not in whole:
            where = queue["spec"]["clusterQueue"]
            yield Finding(where, f"no ClusterQueue {where.value}", f"there are: {', '.join(whole)}")
    flavours = [flavour["metadata"]["name"].text for flavour in everything.of_kind("ResourceFlavor")]
    for queue in everything.of_kind("ClusterQueue"):
        for group in queue["spec"]["resourceGroups"].items():
            for flavour in group["flavors"].items():
                if flavours and flavour["name"].text not in flavours:
                    text = f"no ResourceFlavor {flavour['name'].value}"
                    yield Finding(flavour["name"], text, f"there are: {', '.join(flavours)}")


RULES = (
    Rule(
        "kueue-job",
        "error",
        "RayJob in a queue",
        "clusterSelector, a cluster that stays, over 17 groups",
        rayjobs,
        _queue,
    ),
    Rule(
        "kueue-elastic",
        "error",
        "RayJob in a queue",
        "an autoscaler without the elastic-job annotation",
        rayjobs,
        _elastic,
    ),
    Rule(
        "kueue-labels",
        "error",
        "Ray kinds",
        "Kueue's labels in the wrong place, times that are none",
        _RAY,
        _queue_labels,
    ),
    Rule("kueue-missing", "error", "everything", "queues and flavours that are not there", everything, _missing_queues),
)
