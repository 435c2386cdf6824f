"""Why an image cannot be had: what the kubelet and the registry say, sorted. Pure.

Sources: kubernetes/pkg/kubelet/images/types.go for the states; containerd and registries for the messages.
"""

from __future__ import annotations

import re

from roadbed.kube.facts import JobFacts, Object, pod_name
from roadbed.kube.reason import Reason

IMAGE_STATES = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError", "SignatureValidationFailed",
}  # fmt: skip

_SORTED = (
    (
        re.compile(r"no match for platform"),
        "has no variant for its node's processor",
        "build it for that platform, or select other nodes in the profile",
    ),
    (
        re.compile(r"toomanyrequests|429|rate limit", re.IGNORECASE),
        "is not handed out for now: the registry's limit on pulls is reached",
        "wait, log in to the registry (image_pull_secrets in the profile), or copy the image to a registry of your own",
    ),
    (
        re.compile(r"does not exist or may require authorization"),
        "is not there, or needs credentials that the pod has not",
        "correct image in the profile, or name a Secret of the registry in image_pull_secrets",
    ),
    (
        re.compile(r"40[13]|unauthorized|forbidden|denied|no basic auth|insufficient_scope", re.IGNORECASE),
        "needs credentials that the pod has not",
        "make a Secret with `kubectl create secret docker-registry` and name it in image_pull_secrets of the profile",
    ),
    (
        re.compile(r"not found|manifest unknown|name unknown|NotFound"),
        "is not in its registry",
        "push it (see docs/cluster.md), or correct image in the profile",
    ),
    (
        re.compile(
            r"no such host|i/o timeout|connection refused|connection reset|x509|TLS handshake|network is unreachable"
        ),
        "cannot be fetched: its registry cannot be reached from the node",
        "look at the registry's name, its certificate, and the nodes' way out to it",
    ),
    (
        re.compile(r"no space left on device"),
        "does not fit on the node's disk",
        "ask the administrator for room on the nodes' disks",
    ),
    (
        re.compile(r"couldn't parse image|invalid reference format|InvalidImageName"),
        "is no name of an image",
        "correct image in the profile: REGISTRY/NAME:TAG",
    ),
    (
        re.compile(r"pull policy of Never|ErrImageNeverPull"),
        "is not on the node, and may not be pulled",
        "load it (`kind load docker-image`), or set image_pull_policy to IfNotPresent",
    ),
)


def why_image(facts: JobFacts, pod: Object, container: Object) -> Reason:
    """The reason of a container that waits for its image."""
    waiting = container["state"]["waiting"]
    told = [str(event.get("message") or "") for event in facts.pod_events(pod, "Failed", "InspectFailed")]
    # "Back-off pulling image" alone says nothing; the event before it does.
    said = next((text for text in (str(waiting.get("message") or ""), *told) if _find(text)), "")
    said = said or str(waiting.get("message") or waiting["reason"])
    what, next_step = _find(f"{waiting['reason']} {said}") or ("cannot be pulled", "look at the registry's answer")
    text = f"image {container.get('image', '')} of {pod_name(pod)} {what}: {said}"
    return Reason("image", text, next_step, pod["metadata"]["name"])


def _find(said: str) -> tuple[str, str] | None:
    # The name of an image may hold any of the words.
    bare = re.sub(r'"[^"]*"', "", said)
    return next(((what, step) for pattern, what, step in _SORTED if pattern.search(bare)), None)
