"""Rules on what pods may do: the Pod Security Standard "restricted", which the namespace of roadbed enforces, secrets
in plain text, and rights without bounds.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from roadbed.kube.lint.fields import Field
from roadbed.kube.lint.rule import Cluster, Everything, Finding, Pod, Rule, clusters, of_kind, pods, rayjobs

_VOLUMES = "configMap csi downwardAPI emptyDir ephemeral persistentVolumeClaim projected secret".split()  # noqa: SIM905
_SECRET_NAME = re.compile(r"(SECRET|PASSWORD|PASSWD|TOKEN|ACCESS_KEY|API_KEY|CREDENTIAL)(_ID|S)?$")
_LEVEL = "pod-security.kubernetes.io/enforce"


def _restricted(everything: Everything) -> Callable[[Field], bool]:
    """Whether an object's pods must be restricted: not in namespaces declared here with another level."""
    spaces = everything.of_kind("Namespace")
    levels = {space["metadata"]["name"].text: space["metadata"]["labels"][_LEVEL].text for space in spaces}
    return lambda obj: levels.get(obj["metadata"]["namespace"].text, "restricted") == "restricted"


def restricted_pods(everything: Everything) -> list[Pod]:
    """The pods that must be restricted."""
    is_restricted = _restricted(everything)
    return [pod for pod in pods(everything) if is_restricted(pod.obj)]


def restricted_clusters(everything: Everything) -> list[Cluster]:
    """The Ray clusters whose pods must be restricted."""
    is_restricted = _restricted(everything)
    return [cluster for cluster in clusters(everything) if is_restricted(cluster.obj)]


def restricted_jobs(everything: Everything) -> list[tuple[Field, Field]]:
    """The RayJobs whose pods must be restricted, with their specs."""
    is_restricted = _restricted(everything)
    return [(job, spec) for job, spec in rayjobs(everything) if is_restricted(job)]


def _root(pod: Pod) -> Iterator[Finding]:
    of_pod = pod.spec["securityContext"]
    for container in pod.containers:
        own = container["securityContext"]
        setting = own["runAsNonRoot"] if own["runAsNonRoot"].is_set else of_pod["runAsNonRoot"]
        if setting.value is not True:
            yield Finding(setting, f"{container['name'].text or 'a container'} may run as root", "write true")
        user = own["runAsUser"] if own["runAsUser"].is_set else of_pod["runAsUser"]
        if user.whole == 0:
            yield Finding(user, "user 0 is root", "write 1000, the user of roadbed's image")


def _escalation(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        context = container["securityContext"]
        if context["allowPrivilegeEscalation"].value is not False:
            yield Finding(context["allowPrivilegeEscalation"], "processes may gain rights", "write false")
        if context["privileged"].value is True:
            yield Finding(context["privileged"], "the container has the rights of the node", "take it out")


def _capabilities(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        capabilities = container["securityContext"]["capabilities"]
        if "ALL" not in [drop.text for drop in capabilities["drop"].items()]:
            yield Finding(capabilities["drop"], "capabilities are kept", 'write ["ALL"]')
        for added in capabilities["add"].items():
            if added.text != "NET_BIND_SERVICE":
                yield Finding(added, f"adds the capability {added.value}", "take it out")


def _seccomp(pod: Pod) -> Iterator[Finding]:
    of_pod = pod.spec["securityContext"]["seccompProfile"]["type"]
    for container in pod.containers:
        own = container["securityContext"]["seccompProfile"]["type"]
        setting = own if own.is_set else of_pod
        if setting.text not in ("RuntimeDefault", "Localhost"):
            yield Finding(setting, "system calls are not filtered", "write RuntimeDefault")


def _host(pod: Pod) -> Iterator[Finding]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec[name].value is True:
            yield Finding(pod.spec[name], "shares the node's", "take it out")
    for container in pod.containers:
        for port in container["ports"].items():
            if port["hostPort"]:
                yield Finding(port["hostPort"], f"takes port {port['hostPort'].value} of the node", "take it out")


def _volumes(pod: Pod) -> Iterator[Finding]:
    for volume in pod.spec["volumes"].items():
        for kind, field in volume.fields().items():
            if kind != "name" and kind not in _VOLUMES and field.is_set:
                yield Finding(field, f"a volume of type {kind} is not allowed", f"take one of {', '.join(_VOLUMES)}")


def _autoscaler(cluster: Cluster) -> Iterator[Finding]:
    """The operator adds a container for the autoscaler to the head's pod, with these settings and no other."""
    context = cluster.spec["autoscalerOptions"]["securityContext"]
    drops = [drop.text for drop in context["capabilities"]["drop"].items()]
    if cluster.autoscales and (context["allowPrivilegeEscalation"].value is not False or "ALL" not in drops):
        fix = "write the securityContext of the head's container there too"
        yield Finding(context, "the autoscaler's container is not restricted, and the head's pod is refused", fix)


def _submitter(job: tuple[Field, Field]) -> Iterator[Finding]:
    """The operator's own template for the pod that submits has no security context."""
    template, mode = job[1]["submitterPodTemplate"], job[1]["submissionMode"].text
    if not template and mode in ("", "K8sJobMode"):
        text = "the operator's own submitter is not restricted, its pod is refused, and the job never starts"
        yield Finding(template, text, "give a template with a securityContext, or write submissionMode: HTTPMode")


def _plain_secrets(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        for env in container["env"].items():
            if _SECRET_NAME.search(env["name"].text) and env["value"]:
                fix = "put it into a Secret and write valueFrom.secretKeyRef"
                yield Finding(env["value"], f"{env['name'].text} stands in plain text", fix)


def _secrets_in_config(config: Field) -> Iterator[Finding]:
    for name, value in config["data"].fields().items():
        if _SECRET_NAME.search(name.upper().replace("-", "_")) and value:
            yield Finding(value, f"{name} stands in plain text in a ConfigMap", "put it into a Secret")


def _boundless_rights(role: Field) -> Iterator[Finding]:
    for rule in role["rules"].items():
        for name in ("verbs", "resources", "apiGroups"):
            for item in rule[name].items():
                if item.text == "*":
                    yield Finding(item, f"allows all {name}", f"list the {name} that are needed")


RULES = (
    Rule("pss-root", "error", "pods", "containers that may run as root", restricted_pods, _root),
    Rule(
        "pss-escalation", "error", "pods", "privileged containers, privilege escalation", restricted_pods, _escalation
    ),
    Rule("pss-capabilities", "error", "pods", "capabilities that are not dropped", restricted_pods, _capabilities),
    Rule("pss-seccomp", "error", "pods", "no seccomp profile", restricted_pods, _seccomp),
    Rule("pss-host", "error", "pods", "the node's network, processes, memory or ports", restricted_pods, _host),
    Rule("pss-volumes", "error", "pods", "volumes of the node (hostPath) and of old kinds", restricted_pods, _volumes),
    Rule("pss-autoscaler", "error", "Ray clusters", "an autoscaler that may do more", restricted_clusters, _autoscaler),
    Rule(
        "pss-submitter",
        "error",
        "RayJob",
        "the operator's own submitter, which may do more",
        restricted_jobs,
        _submitter,
    ),
    Rule("secret-plain", "error", "pods", "secrets in plain text in env", pods, _plain_secrets),
    Rule("secret-config", "error", "ConfigMap", "secrets in ConfigMaps", of_kind("ConfigMap"), _secrets_in_config),
    Rule("rbac-all", "warning", "Role", "rights to everything (*)", of_kind("Role", "ClusterRole"), _boundless_rights),
)
