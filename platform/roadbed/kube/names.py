"""The labels, annotations and ports by which what roadbed makes on a cluster is known. Values, and nothing else.

Sources: KubeRay's and Kueue's documentation of their labels; kubernetes.io, "Recommended labels".
"""

from __future__ import annotations

import hashlib
import re

DOMAIN = "roadbed.dev"
RUN_LABEL = f"{DOMAIN}/run"
KIND_LABEL = f"{DOMAIN}/kind"
SPEC_LABEL = f"{DOMAIN}/spec"
PROFILES_LABEL = f"{DOMAIN}/profiles"
JOB_ANNOTATION = f"{DOMAIN}/job"
SUBMISSION_ANNOTATION = f"{DOMAIN}/submission"

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
QUEUE_PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
ELASTIC_ANNOTATION = "kueue.x-k8s.io/elastic-job"

# What every pod of `roadbed submit` has. No app.kubernetes.io/name: by that one, as "kuberay", the Service
# NAME-head-svc that KubeRay makes for a RayJob finds the head.
OUR_PODS = {
    "app.kubernetes.io/component": "job",
    "app.kubernetes.io/managed-by": "roadbed",
}
# What every RayJob of `roadbed submit` has.
OURS = {"app.kubernetes.io/name": "roadbed", **OUR_PODS}

# Where pods find the job spec, by a downwardAPI volume of JOB_ANNOTATION.
SPEC_FOLDER = "/etc/roadbed"
SPEC_FILE = f"{SPEC_FOLDER}/job.yaml"

NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

# Names of ports have at most 15 letters. As KubeRay calls them where a head names none; it makes its Services of them.
PORTS = {
    "gcs-server": 6379,
    "dashboard": 8265,
    "client": 10001,
    "metrics": 8080,
    "as-metrics": 44217,
    "dash-metrics": 44227,
}


def selector(labels: dict[str, str]) -> str:
    """A label selector that the API server takes: "a=b,c=d"."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def job_labels(run: str, kind: str, spec_text: str) -> dict[str, str]:
    """The labels of a job's pods. The spec's is the start of its sha256: the same spec, the same label."""
    digest = hashlib.sha256(spec_text.encode()).hexdigest()[:16]
    return {**OUR_PODS, RUN_LABEL: run, KIND_LABEL: kind, SPEC_LABEL: digest}
