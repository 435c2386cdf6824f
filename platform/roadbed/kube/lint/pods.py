"""Rules on pods: images, resources, shared memory, ports, volumes, lifecycles, references to secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from roadbed.kube.lint.fields import Field
from roadbed.kube.lint.rule import Finding, Pod, Rule, is_gpu, pods

_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_SLEEP = re.compile(r"\bsleep[ ,'\"]+(\d{1,9})")
_DEFAULT_GRACE_S = 30


def _images(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        image, tag = container["image"], container["image"].text.rpartition("/")[2].partition(":")[2]
        if "@" not in image.text and tag in ("", "latest") and image.text:
            fix = "write a version: IMAGE:VERSION or IMAGE@sha256:DIGEST"
            yield Finding(image, f"{image.text} is another image on every pull", fix)


def _image_missing(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        if not container["image"].text.strip():
            yield Finding(container["image"], "the container has no image", "name one, such as roadbed:0.1.0")


def _quantities(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        for kind in ("limits", "requests"):
            for field in container["resources"][kind].fields().values():
                if field.quantity is None:
                    fix = 'write a number with a unit: "500m", 4, 16Gi'
                    yield Finding(field, f"{field.value!r} is no quantity", fix)


def _requests_over_limits(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        limits = container["resources"]["limits"]
        for name, request in container["resources"]["requests"].fields().items():
            most, least = limits[name].quantity, request.quantity
            if most is not None and least is not None and least > most and not is_gpu(name):
                text = f"requests {request.value} and is limited to {limits[name].value}"
                yield Finding(request, text, "request no more than the limit")


def _gpus(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        for name in sorted({*limits.fields(), *requests.fields()}):
            limit, request = limits[name], requests[name]
            if not is_gpu(name):
                continue
            if limit.quantity is None or request.quantity is None or limit.quantity != request.quantity:
                where = limit if not limit.is_set else request
                text = f"limits {_or_none(limit)}, requests {_or_none(request)}"
                fix = "write the same in both: quotas and schedulers read requests, Ray reads limits"
                yield Finding(where, text, fix)
            elif limit.quantity % 1:
                yield Finding(limit, f"{limit.value} is no whole number of GPUs", "write a whole number")


def _or_none(field: Field) -> str:
    return str(field.value) if field.is_set else "none"


def _unbounded(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        resources = container["resources"]
        for name in ("cpu", "memory"):
            if not resources["requests"][name].is_set and not resources["limits"][name].is_set:
                where = resources["requests"][name]
                yield Finding(where, f"{container['name'].text} asks for no {name}", "write a request, and a limit")


def _shm_of_gpus(pod: Pod) -> Iterator[Finding]:
    is_idle = pod.role == "submitter" or (pod.role == "head" and pod.cluster and pod.cluster.groups)
    if pod.gpus and not is_idle:
        yield from _shm(pod, "of a pod with GPUs")


def _shm_of_workers(pod: Pod) -> Iterator[Finding]:
    if pod.role == "worker" and not pod.gpus:
        yield from _shm(pod, "of a worker")


def _shm(pod: Pod, whose: str) -> Iterator[Finding]:
    """Without one of its own, a pod's /dev/shm has 64 MiB: too little for Ray's store and for loaders."""
    containers = pod.spec["containers"].items()
    if not containers:
        return
    mounts = containers[0]["volumeMounts"]
    names = [mount["name"].text for mount in mounts.items() if mount["mountPath"].text.rstrip("/") == "/dev/shm"]
    if not names:
        fix = "mount an emptyDir with medium: Memory there"
        yield Finding(mounts, f"/dev/shm {whose} has the 64 MiB of the container runtime", fix)
    for volume in pod.spec["volumes"].items():
        if volume["name"].text not in names:
            continue
        medium, limit = volume["emptyDir"]["medium"], volume["emptyDir"]["sizeLimit"].quantity
        memory = containers[0]["resources"]["limits"]["memory"].quantity
        if medium.text != "Memory":
            yield Finding(medium, f"/dev/shm {whose} lies on disk", "write Memory")
        if limit and memory and limit >= memory:
            text = f"may fill {volume['emptyDir']['sizeLimit'].value}, all of the container's memory"
            yield Finding(volume["emptyDir"]["sizeLimit"], text, "leave memory to the process: at most a half")


def _ports(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        ports = container["ports"]
        for port in ports.items():
            name, number = port["name"], port["containerPort"].whole
            if name.text and (len(name.text) > 15 or not _PORT_NAME.fullmatch(name.text)):
                fix = "at most 15 lower-case letters, digits and single dashes"
                yield Finding(name, f"{name.text!r} ({len(name.text)} characters) is no name of a port", fix)
            if number is None or not 0 < number < 65536:
                yield Finding(port["containerPort"], f"{number} is no port", "write 1 to 65535")
        yield from _twice(ports.items(), "name", "port")


def _names(pod: Pod) -> Iterator[Finding]:
    yield from _twice(pod.containers, "name", "container")
    yield from _twice(pod.spec["volumes"].items(), "name", "volume")
    for container in pod.containers:
        yield from _twice(container["env"].items(), "name", "variable")
        yield from _twice(container["volumeMounts"].items(), "mountPath", "mount")
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", container["name"].text):
            fix = "lower-case letters, digits and dashes, at most 63"
            yield Finding(container["name"], f"{container['name'].value!r} is no name of a container", fix)


def _twice(items: Iterable[Field], key: str, what: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for item in items:
        name = item[key].text
        if name and name in seen:
            yield Finding(item[key], f"there are two of the {what} {name}", "take one out, or give it another name")
        seen.add(name)


def _mounts(pod: Pod) -> Iterator[Finding]:
    volumes = [volume["name"].text for volume in pod.spec["volumes"].items()]
    # Those that a StatefulSet makes for its pods.
    volumes += [claim["metadata"]["name"].text for claim in pod.obj["spec"]["volumeClaimTemplates"].items()]
    for container in pod.containers:
        for mount in container["volumeMounts"].items():
            if mount["name"].text not in volumes:
                text = f"mounts the volume {mount['name'].value}, which the pod does not have"
                yield Finding(mount["name"], text, f"add it to volumes; there are: {', '.join(volumes) or 'none'}")


def _pre_stop(pod: Pod) -> Iterator[Finding]:
    grace = pod.spec["terminationGracePeriodSeconds"]
    grace_s = grace.whole if grace.whole is not None else _DEFAULT_GRACE_S
    for container in pod.spec["containers"].items():
        hook = container["lifecycle"]["preStop"]
        command = " ".join(str(part.value) for part in hook["exec"]["command"].items())
        waits_s = [int(found) for found in _SLEEP.findall(command)] + [hook["sleep"]["seconds"].whole or 0]
        if max(waits_s) >= grace_s:
            text = f"preStop waits {max(waits_s)} s, and the pod is killed after {grace_s} s"
            yield Finding(grace, text, f"write {max(waits_s) + 30}, or wait less")


def _restart_policy(pod: Pod) -> Iterator[Finding]:
    kind, policy = pod.obj["kind"].text, pod.spec["restartPolicy"]
    if pod.role == "submitter" or kind in ("Job", "CronJob"):
        allowed: tuple[str, ...] = ("Never", "OnFailure")
    elif kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        allowed = ("Always", "")
    else:
        allowed = ("Always", "OnFailure", "Never", "")
    # KubeRay sets Never where the template of its submitter leaves it open.
    if policy.text not in allowed and not (pod.role == "submitter" and not policy):
        text = f"{policy.value or 'Always'} is refused for pods of a {'job' if allowed[0] == 'Never' else kind}"
        yield Finding(policy, text, f"write {allowed[0]}")


def _secret_references(pod: Pod) -> Iterator[Finding]:
    for where, name, _ in secret_references(pod):
        if not name:
            yield Finding(where, "refers to a secret without a name", "name the secret, or take the reference out")


def secret_references(pod: Pod) -> Iterator[tuple[Field, str, bool]]:
    """(field, name, whether it may be missing) of every Secret that a pod needs to start."""
    for container in pod.containers:
        for env in container["env"].items():
            reference = env["valueFrom"]["secretKeyRef"]
            if reference.is_set:
                yield reference["name"], reference["name"].text, bool(reference["optional"])
        for source in container["envFrom"].items():
            if source["secretRef"].is_set:
                reference = source["secretRef"]
                yield reference["name"], reference["name"].text, bool(reference["optional"])
    for volume in pod.spec["volumes"].items():
        if volume["secret"].is_set:
            name = volume["secret"]["secretName"]
            yield name, name.text, bool(volume["secret"]["optional"])
    for pull in pod.spec["imagePullSecrets"].items():
        yield pull["name"], pull["name"].text, False


def _store_credentials(pod: Pod) -> Iterator[Finding]:
    for container in pod.containers:
        names = {env["name"].text: env for env in container["env"].items()}
        has_other = bool(container["envFrom"].items()) or "AWS_SHARED_CREDENTIALS_FILE" in names
        halves = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if name in names]
        if len(halves) == 1 and not has_other:
            text = f"{halves[0]} stands without the other half of the key"
            yield Finding(names[halves[0]]["name"], text, "give both keys by secretKeyRef of one secret")
        if "AWS_ENDPOINT_URL" in names and not halves and not has_other:
            endpoint = names["AWS_ENDPOINT_URL"]
            text = f"a store at {endpoint['value'].text} is asked without keys"
            yield Finding(container["env"], text, "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY by secretKeyRef")


def _read_only_root(pod: Pod) -> Iterator[Finding]:
    if pod.role not in ("head", "worker"):
        return
    for container in pod.spec["containers"].items()[:1]:
        setting = container["securityContext"]["readOnlyRootFilesystem"]
        mounts = [mount["mountPath"].text.rstrip("/") for mount in container["volumeMounts"].items()]
        if setting.value is True and not {"/tmp", "/tmp/ray"} & set(mounts):
            yield Finding(setting, "Ray writes to /tmp/ray, which is read-only", "mount an emptyDir at /tmp")


def _pods(
    name: str, refuses: str, check: Callable[[Pod], Iterator[Finding]], *, warns: bool = False, looks_at: str = "pods"
) -> Rule:
    return Rule(name, "warning" if warns else "error", looks_at, refuses, pods, check)


RULES = (
    _pods("image-missing", "containers without an image", _image_missing),
    _pods("image-latest", "images without a version, or :latest", _images, warns=True),
    _pods("quantity", "resources that are no quantities", _quantities),
    _pods("request-over-limit", "requests greater than the limit", _requests_over_limits),
    _pods("gpu-requests", "GPUs in limits and requests that are not alike; parts of GPUs", _gpus),
    _pods("resources-missing", "containers that ask for no CPU or memory", _unbounded, warns=True),
    _pods("shm-gpu", "pods with GPUs without a /dev/shm in memory", _shm_of_gpus),
    _pods("shm-worker", "workers without a /dev/shm in memory", _shm_of_workers, warns=True, looks_at="Ray workers"),
    _pods("port-name", "names of ports over 15 characters, numbers that are none, duplicates", _ports),
    _pods("pod-names", "two containers, volumes, mounts or variables of one name; names that are none", _names),
    _pods("mount-volume", "mounts of volumes that the pod does not have", _mounts),
    _pods("prestop-grace", "preStop hooks as long as the grace period or longer", _pre_stop),
    _pods("restart-policy", "restartPolicy that the kind refuses", _restart_policy),
    _pods("secret-unnamed", "references to secrets without a name", _secret_references),
    _pods("store-credentials", "a store of one's own without keys, half a key", _store_credentials),
    _pods("read-only-tmp", "a read-only root without a place for /tmp/ray", _read_only_root, looks_at="Ray pods"),
)
