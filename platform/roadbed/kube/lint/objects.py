"""Rules on any object, and on what is between objects: names, labels, versions of the API, disruption budgets, scalers,
secrets that are referred to and not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from roadbed.kube.lint.fields import Field
from roadbed.kube.lint.pods import secret_references
from roadbed.kube.lint.rule import (
    RAY_KINDS,
    Cluster,
    Everything,
    Finding,
    Rule,
    clusters,
    everything,
    objects,
    of_kind,
    pods,
)
from roadbed.kube.names import NAMESPACE

_DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_DNS_1123 = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_LABEL = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")
_MOST_CHARACTERS = {"RayCluster": 53, "RayJob": 47, "RayService": 47, "RayCronJob": 36, "CronJob": 52, "Service": 63}
# Kinds whose names may hold other characters.
_FREE_NAMES = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
_GONE = {
    "extensions/v1beta1": "apps/v1 or networking.k8s.io/v1",
    "apps/v1beta1": "apps/v1",
    "apps/v1beta2": "apps/v1",
    "batch/v1beta1": "batch/v1",
    "policy/v1beta1": "policy/v1",
    "autoscaling/v2beta1": "autoscaling/v2",
    "autoscaling/v2beta2": "autoscaling/v2",
    "networking.k8s.io/v1beta1": "networking.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1": "rbac.authorization.k8s.io/v1",
    "ray.io/v1alpha1": "ray.io/v1",
    "kueue.x-k8s.io/v1alpha1": "kueue.x-k8s.io/v1beta2",
}


def _identity(obj: Field) -> Iterator[Finding]:
    for name in ("apiVersion", "kind"):
        if not obj[name].text:
            yield Finding(
                obj[name],
                "is missing",
                "write the kind of object that this is; a chart's values are named after the chart",
            )
    version = obj["apiVersion"]
    if version.text in _GONE:
        yield Finding(version, f"{version.text} is served no more", f"write {_GONE[version.text]}")


def _names(obj: Field) -> Iterator[Finding]:
    yield from _namespace(obj)
    kind, metadata = obj["kind"].text, obj["metadata"]
    name = metadata["name"]
    if not name.is_set and metadata["generateName"]:
        return
    most = _MOST_CHARACTERS.get(kind, 253)
    if not name.text:
        yield Finding(name, "the object has no name" if not name.is_set else f"{name.value!r} is no text", "name it")
    elif len(name.text) > most:
        text = f"{name.text} has {len(name.text)} characters; a {kind} takes {most}"
        yield Finding(name, text, f"take {len(name.text) - most} or more out")
    elif kind in (*RAY_KINDS, "Service") and not re.fullmatch(_DNS_1035, name.text):
        fix = "lower-case letters, digits and dashes, a letter first"
        yield Finding(name, f"{name.text!r} is no name of a {kind} (DNS-1035)", fix)
    elif kind not in _FREE_NAMES and not re.fullmatch(_DNS_1123, name.text):
        fix = "lower-case letters, digits, dashes and dots"
        yield Finding(name, f"{name.text!r} is no name of a {kind} (DNS-1123)", fix)


def _namespace(obj: Field) -> Iterator[Finding]:
    namespace = obj["metadata"]["namespace"]
    if namespace and not NAMESPACE.fullmatch(namespace.text):
        fix = "at most 63 lower-case letters, digits and dashes"
        yield Finding(namespace, f"{namespace.value!r} is no name of a namespace", fix)


def _metadata(obj: Field) -> Iterator[Finding]:
    yield from _labels(obj["metadata"])


def _labels(metadata: Field) -> Iterator[Finding]:
    for name, value in metadata["labels"].fields().items():
        if not _LABEL_KEY.fullmatch(name):
            yield Finding(value, f"{name!r} is no name of a label", "write PREFIX/NAME of letters, digits, - _ .")
        if not isinstance(value.value, str):
            yield Finding(value, f"{value.value!r} is no text", "write it in quotes")
        elif not _LABEL.fullmatch(value.text):
            fix = "at most 63 letters, digits, - _ and ., a letter or digit at both ends; or make it an annotation"
            yield Finding(value, f"{value.text!r} is no value of a label", fix)
    for value in metadata["annotations"].fields().values():
        if not isinstance(value.value, str):
            yield Finding(value, f"{value.value!r} is no text", "write it in quotes")


def _pod_labels(everything: Everything) -> Iterator[Finding]:
    for pod in pods(everything):
        if pod.template != pod.obj:
            yield from _labels(pod.template["metadata"])


def _twice(everything: Everything) -> Iterator[Finding]:
    seen: set[tuple[str, ...]] = set()
    for obj in everything.objects:
        group, metadata = obj["apiVersion"].text.rpartition("/")[0], obj["metadata"]
        key = (group, obj["kind"].text, metadata["namespace"].text, metadata["name"].text)
        if key in seen and metadata["name"].text:
            text = f"{obj['kind'].text} {metadata['name'].text} is there twice: the last one wins"
            yield Finding(metadata["name"], text, "one object has one owner: take one out, or name it otherwise")
        seen.add(key)


def _selector(obj: Field) -> Iterator[Finding]:
    wanted = obj["spec"]["selector"]["matchLabels"]
    labels = obj["spec"]["template"]["metadata"]["labels"].labels
    for name, value in wanted.fields().items():
        if labels.get(name) != value.value:
            yield Finding(value, "the pods do not have this label", f"give the template the label {name}")


def _scaler(scaler: Field) -> Iterator[Finding]:
    target, spec = scaler["spec"]["scaleTargetRef"], scaler["spec"]
    if target["kind"].text in RAY_KINDS:
        text = f"a {target['kind'].text} cannot be scaled so: it has no scale subresource"
        yield Finding(target["kind"], text, "take the HPA out; Ray's autoscaler adds pods, Serve's adds replicas")
    least, most = spec["minReplicas"], spec["maxReplicas"]
    if least.whole is not None and most.whole is not None and least.whole > most.whole:
        yield Finding(least, f"minReplicas {least.whole} > maxReplicas {most.whole}", "write min <= max")


def _budgets(everything: Everything) -> Iterator[Finding]:
    ray = [
        {**pod.template["metadata"]["labels"].labels, "ray.io/node-type": pod.role}
        for pod in pods(everything)
        if pod.role in ("head", "worker")
    ]
    for budget in everything.of_kind("PodDisruptionBudget"):
        spec = budget["spec"]
        least, most = spec["minAvailable"], spec["maxUnavailable"]
        if least.is_set == most.is_set:
            text = "has both minAvailable and maxUnavailable" if least.is_set else "limits nothing"
            yield Finding(spec, text, "write one of minAvailable and maxUnavailable")
        elif _is_of_ray(spec["selector"], ray) and (most.is_set or "%" in str(least.value)):
            field = most if most.is_set else least
            text = f"{field.value} cannot be counted for pods of Ray: their owner has no scale subresource"
            yield Finding(field, text, "write minAvailable with a whole number")
        elif str(most.value) in ("0", "0%") or str(least.value) == "100%":
            field = most if most.is_set else least
            yield Finding(field, f"{field.value} lets no pod go: nodes cannot be drained", "let one go")


def _is_of_ray(selector: Field, ray: list[dict[str, str]]) -> bool:
    wanted = selector["matchLabels"].labels
    keys = [*wanted, *(expression["key"].text for expression in selector["matchExpressions"].items())]
    if any(key.startswith("ray.io/") for key in keys):
        return True
    return bool(wanted) and any(wanted.items() <= labels.items() for labels in ray)


def _missing_secrets(everything: Everything) -> Iterator[Finding]:
    """Where it is known which secrets there are; those among the objects are there too."""
    if everything.secrets is None:
        return
    there = everything.secrets | {secret["metadata"]["name"].text for secret in everything.of_kind("Secret")}
    for pod in pods(everything):
        for field, name, is_optional in secret_references(pod):
            if name and name not in there and not is_optional:
                text = f"no secret {name} is in the namespace: the pod would wait for it"
                yield Finding(field, text, f"make it, or name one of: {', '.join(sorted(there)) or 'none'}")


def _head_name(cluster: Cluster) -> Iterator[Finding]:
    """The Service that the operator makes for a RayJob or RayService looks for its own name, whatever the pod's is."""
    label = cluster.head["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    if cluster.obj["kind"].text != "RayCluster" and label.is_set and label.text != "kuberay":
        yield Finding(label, "the Service NAME-head-svc finds no head: it looks for kuberay", "take it out")


RULES = (
    Rule(
        "identity", "error", "any object", "no apiVersion or kind, versions that are served no more", objects, _identity
    ),
    Rule("name", "error", "any object", "names that are none or too long for what is made of them", objects, _names),
    Rule("labels", "error", "any object", "labels and annotations that are none", objects, _metadata),
    Rule("pod-labels", "error", "pods", "labels and annotations of templates that are none", everything, _pod_labels),
    Rule("head-name", "warning", "RayJob, RayService", "heads that their Service does not find", clusters, _head_name),
    Rule("twice", "error", "everything", "two objects of one name", everything, _twice),
    Rule(
        "selector",
        "error",
        "Deployment, ...",
        "selectors that the template does not meet",
        of_kind("Deployment", "StatefulSet", "DaemonSet"),
        _selector,
    ),
    Rule(
        "scaler",
        "error",
        "HorizontalPodAutoscaler",
        "targets of Ray, minReplicas > maxReplicas",
        of_kind("HorizontalPodAutoscaler"),
        _scaler,
    ),
    Rule(
        "budget",
        "error",
        "PodDisruptionBudget",
        "percentages and maxUnavailable for pods of Ray, none or both, no drain",
        everything,
        _budgets,
    ),
    Rule(
        "secret-missing",
        "error",
        "everything",
        "secrets that are not there (where --secret says which are)",
        everything,
        _missing_secrets,
    ),
)
