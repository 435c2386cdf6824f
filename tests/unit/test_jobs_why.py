"""Why jobs wait or fail: situations as schedulers, kubelets, Kueue, KubeRay and runs tell them, and what is said."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from kube_examples import (
    CLUSTER,
    IMAGE,
    NAME,
    NOW,
    RUNNING,
    event,
    facts,
    pod,
    rayjob,
    run_status,
    stamp,
    unschedulable,
    workload,
)
from roadbed.kube.facts import JobFacts
from roadbed.kube.reason import Reason, ranked
from roadbed.kube.why import why
from roadbed.kube.why_run import cause_of, last_error

NO_PREEMPTION = " preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
FAILED = f'Failed to pull image "{IMAGE}": failed to pull and unpack image "{IMAGE}": '
PULL = f'{FAILED}failed to resolve reference "{IMAGE}": '


class Case(NamedTuple):
    """A situation, the kind of its likeliest reason, words of its text, and words of its next step."""

    facts: JobFacts
    kind: str
    says: str
    next_step: str


def image_case(said: str, says: str, next_step: str, state: str = "ErrImagePull") -> Case:
    return Case(facts(rayjob(), pod("head", waiting=(state, said))), "image", says, next_step)


def made(reason: str, message: str, says: str, next_step: str, expected: str, **more: Any) -> Case:
    return Case(facts(rayjob(), events=[event(reason, message, **more)]), expected, says, next_step)


def queued(message: str, kind: str, says: str, next_step: str, reason: str = "Pending") -> Case:
    job = rayjob("Suspended", queue="team-a")
    return Case(facts(job, workload=workload(message, reason=reason)), kind, says, next_step)


def nodes(message: str, says: str, next_step: str, kind: str = "no_node", events: tuple[Any, ...] = ()) -> Case:
    return Case(facts(rayjob(), unschedulable(message), events=events), kind, says, next_step)


def failed(reason: str, message: str, kind: str, says: str, next_step: str, **more: Any) -> Case:
    return Case(facts(rayjob("Failed", reason=reason, message=message, **more)), kind, says, next_step)


def ended(cause: str, reason: str, kind: str, says: str, next_step: str) -> Case:
    job = rayjob("Failed", job="FAILED", reason="AppFailed", message="Job entrypoint command failed with exit code 1")
    end = {"attempt": 1, "cause": cause, "reason": reason, "verdict": "not retried"}
    return Case(facts(job, run_status=run_status("failed", reason=reason), run_end=end), kind, says, next_step)


def evicted_workload(reason: str, message: str) -> JobFacts:
    said = {"type": "Evicted", "status": "True", "reason": reason, "message": message}
    return facts(rayjob("Suspended", queue="team-a"), workload=workload(message, conditions=[said]))


SITUATIONS: dict[str, Case] = {
    # Kueue
    "quota used up": queued(
        "couldn't assign flavors to pod set workers: insufficient unused quota for nvidia.com/gpu in flavor "
        "a100, 4 more "
        "needed",
        "queue_quota",
        "queue team-a is full: 4 more nvidia.com/gpu (flavour a100) are needed",
        "wait for other jobs",
    ),
    "quota too small for ever": queued(
        "couldn't assign flavors to pod set workers: insufficient quota for cpu in flavor default, previously "
        "considered "
        "podsets requests (2) + current podset request (64) > maximum capacity (40)",
        "queue_quota",
        "will never hold it: it asks for more cpu than flavour default has in all (40)",
        "ask for fewer workers",
        "WaitingForQuota",
    ),
    "flavour of other nodes": queued(
        "couldn't assign flavors to pod set workers: flavor spot doesn't match node affinity",
        "queue_flavor",
        "flavor spot doesn't match node affinity",
        "node selector and tolerations",
        "NoMatchingFlavor",
    ),
    "resource that a queue has not": queued(
        "couldn't assign flavors to pod set workers: resource nvidia.com/gpu unavailable in ClusterQueue",
        "queue_flavor",
        "queue team-a hands out no nvidia.com/gpu",
        "another queue",
    ),
    "queue that is not there": queued(
        "LocalQueue team-a doesn't exist",
        "queue_absent",
        "no queue named team-a",
        "kubectl get localqueues",
        "Inadmissible",
    ),
    "cluster queue that is not there": queued(
        "ClusterQueue gpus doesn't exist", "queue_absent", "no ClusterQueue behind it named gpus", "administrator"
    ),
    "queue that is stopped": queued(
        "ClusterQueue gpus is inactive", "queue_stopped", "ClusterQueue gpus is stopped", "administrator", "Suspended"
    ),
    "waiting for others to make room": queued(
        "couldn't assign flavors to pod set workers: insufficient unused quota for cpu in flavor default, 5 "
        "more needed. "
        "Pending the preemption of 1 workload(s)",
        "queue_quota",
        "5 more cpu",
        "wait for other jobs",
    ),
    "what Kueue says in other words": queued("topology has no room", "queue", "waits: topology has no room", "wait"),
    "Kueue is not there": Case(
        facts(rayjob("Suspended", queue="team-a")), "queue_absent", "has made no Workload", "without --queue"
    ),
    "Kueue has not looked yet": Case(
        facts(rayjob("", queue="team-a", age_s=5.0)), "queue", "has not seen the job yet", "wait a moment"
    ),
    "nodes are ordered first": Case(
        facts(
            rayjob("Suspended", queue="team-a"),
            workload=workload(admissionChecks=[{"name": "dws", "state": "Pending", "message": "provisioning"}]),
        ),
        "queue_check",
        "admission check dws is Pending: provisioning",
        "take some minutes",
    ),
    "about to start": Case(
        facts(rayjob("Suspended", queue="team-a"), workload=workload()), "queue", "about to start it", "wait a moment"
    ),
    "preempted by Kueue": Case(
        evicted_workload(
            "Preempted",
            "Preempted to accommodate a workload (UID: 40399c9c, JobUID: juid) due to prioritization in the "
            "ClusterQueue",
        ),
        "preempted",
        "made room for a job that goes before it",
        "goes on from its last checkpoint",
    ),
    "not ready in Kueue's time": Case(
        evicted_workload("PodsReadyTimeout", "Exceeded the PodsReady timeout roadbed/town"),
        "queue_lost",
        "not all ready in time",
        "image, nodes",
    ),
    "taken out of the queue": Case(
        facts(rayjob("Suspended", queue="team-a"), workload=workload("deactivated", active=False)),
        "queue_stopped",
        "was taken out of it",
        "roadbed jobs resume town",
    ),
    # Images
    "image that is not there": image_case(
        PULL + f"{IMAGE}: not found", "is not in its registry", "push it", "ImagePullBackOff"
    ),
    "image whose registry wants credentials": image_case(
        PULL + "unexpected status from HEAD request to https://registry.example.com/v2/roadbed/manifests/0.1.0: 401 "
        "Unauthorized",
        "needs credentials",
        "image_pull_secrets",
    ),
    "image that is there or not": image_case(
        PULL + "pull access denied, repository does not exist or may require authorization: server message: "
        "insufficient_scope: authorization failed",
        "is not there, or needs credentials",
        "image_pull_secrets",
    ),
    "registry out of reach": image_case(
        PULL
        + 'failed to do request: Head "https://registry.example.com/v2/": dial tcp: lookup registry.example.com: no '
        "such host",
        "its registry cannot be reached",
        "certificate",
    ),
    "too many pulls": image_case(
        PULL + "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit",
        "limit on pulls",
        "registry of your own",
    ),
    "image for other processors": image_case(
        PULL + "no match for platform in manifest: not found", "no variant for its node's processor", "build it"
    ),
    "image that must be loaded": image_case(
        f'Container image "{IMAGE}" is not present with pull policy of Never',
        "is not on the node",
        "kind load docker-image",
        "ErrImageNeverPull",
    ),
    "image whose name is none": image_case(
        'Failed to apply default image tag "a b": couldn\'t parse image name "a b": invalid reference format',
        "is no name of an image",
        "REGISTRY/NAME:TAG",
        "InvalidImageName",
    ),
    "image, told by an event alone": Case(
        facts(
            rayjob(),
            pod("head", waiting=("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"')),
            events=[event("Failed", PULL + f"{IMAGE}: not found", kind="Pod", name=f"{CLUSTER}-head-1")],
        ),
        "image",
        "is not in its registry",
        "push it",
    ),
    # Nodes
    "no node with a free GPU": nodes(
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 "
        "Insufficient nvidia.com/gpu." + NO_PREEMPTION,
        f"worker pod {CLUSTER}-worker-1 fits on none of 3 nodes: 1 have a taint that it does not tolerate "
        "{node-role.kubernetes.io/control-plane: }, 2 lack nvidia.com/gpu",
        "the device plugin",
    ),
    "no node with enough memory and CPUs": nodes(
        "0/5 nodes are available: 2 Insufficient cpu, 3 Insufficient memory. no new claims to deallocate,"
        + NO_PREEMPTION,
        "none of 5 nodes: 2 lack cpu, 3 lack memory",
        "less memory",
    ),
    "taints alone": nodes(
        "0/2 nodes are available: 2 node(s) had untolerated taint(s)." + NO_PREEMPTION,
        "2 have a taint that it does not tolerate",
        "tolerations in the profile",
    ),
    "selector that no node has": nodes(
        "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector." + NO_PREEMPTION,
        "4 are not of its node_selector",
        "node_selector in the profile",
    ),
    "nodes that are closed": nodes(
        "0/1 nodes are available: 1 node(s) were unschedulable." + NO_PREEMPTION,
        "are closed (cordoned)",
        "administrator",
    ),
    "claim that is not there": nodes(
        'persistentvolumeclaim "scratch" not found', "needs PersistentVolumeClaim scratch", "make the", "missing"
    ),
    "a cluster without nodes": nodes(
        "no nodes available to schedule pods", "the cluster has none at all", "administrator"
    ),
    "a node is coming": nodes(
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu." + NO_PREEMPTION,
        "a node that is being added",
        "wait some minutes",
        "nodes_coming",
        (
            event(
                "TriggeredScaleUp",
                "pod triggered scale-up: [{gpus 0->1 (max: 4)}]",
                kind="Pod",
                name=f"{CLUSTER}-worker-1",
                source="cluster-autoscaler",
            ),
        ),
    ),
    "no node will come": nodes(
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu." + NO_PREEMPTION,
        "no node is added for it: pod didn't trigger scale-up: 1 max node group size reached",
        "ask for fewer",
        events=(
            event(
                "NotTriggerScaleUp",
                "pod didn't trigger scale-up: 1 max node group size reached",
                kind="Pod",
                name=f"{CLUSTER}-worker-1",
                source="cluster-autoscaler",
            ),
        ),
    ),
    "a pod that no scheduler saw": Case(facts(rayjob(), pod()), "no_node", "has said nothing of it", "administrator"),
    # What pods need
    "secret that is not there": Case(
        facts(rayjob(), pod("head", waiting=("CreateContainerConfigError", 'secret "roadbed-store" not found'))),
        "missing",
        "needs Secret roadbed-store",
        "make it in this namespace",
    ),
    "key that a secret has not": Case(
        facts(
            rayjob(),
            pod(
                waiting=(
                    "CreateContainerConfigError",
                    "couldn't find key AWS_ACCESS_KEY_ID in Secret roadbed/roadbed-store",
                )
            ),
        ),
        "missing",
        "the key AWS_ACCESS_KEY_ID in the Secret roadbed/roadbed-store",
        "add the key",
    ),
    "configmap that is not there": Case(
        facts(
            rayjob(),
            pod(waiting=("ContainerCreating", "")),
            events=[
                event(
                    "FailedMount",
                    'MountVolume.SetUp failed for volume "nccl" : configmap "nccl" not found',
                    kind="Pod",
                    name=f"{CLUSTER}-worker-1",
                    source="kubelet",
                )
            ],
        ),
        "missing",
        "needs ConfigMap nccl",
        "make it",
    ),
    "volume that is not attached": Case(
        facts(
            rayjob(),
            pod(waiting=("ContainerCreating", "")),
            events=[
                event(
                    "FailedAttachVolume",
                    'Multi-Attach error for volume "pvc-1" Volume is already used by 1 pod(s) in different namespaces',
                    kind="Pod",
                    name=f"{CLUSTER}-worker-1",
                )
            ],
        ),
        "volume",
        "Multi-Attach error",
        "volume it names",
    ),
    "no network": Case(
        facts(
            rayjob(),
            pod(waiting=("ContainerCreating", "")),
            events=[
                event(
                    "FailedCreatePodSandBox",
                    'Failed to create pod sandbox: plugin type="calico" failed',
                    kind="Pod",
                    name=f"{CLUSTER}-worker-1",
                )
            ],
        ),
        "network",
        "gets no network",
        "network plugin",
    ),
    "image that runs as root": Case(
        facts(
            rayjob(),
            pod(
                waiting=(
                    "CreateContainerConfigError",
                    f'container has runAsNonRoot and image will run as root (pod: "{CLUSTER}-worker-1", '
                    f"container: ray)",
                )
            ),
        ),
        "start",
        "may not run as root",
        "Dockerfile",
    ),
    "image without the program": Case(
        facts(
            rayjob(),
            pod(
                waiting=(
                    "RunContainerError",
                    'failed to create containerd task: OCI runtime create failed: exec: "ray": executable file '
                    "not found "
                    "in $PATH: unknown",
                )
            ),
        ),
        "start",
        "the image has no ray",
        "correct image",
    ),
    # Pods that ended
    "worker out of memory": Case(
        facts(
            rayjob("Running", job="RUNNING"),
            RUNNING[0],
            pod(phase="Failed", ended={"reason": "OOMKilled", "exitCode": 137}),
            run_status=run_status(),
        ),
        "memory",
        f"worker pod {CLUSTER}-worker-1 was killed for using more memory than it may",
        "worker.memory_gib",
    ),
    "head out of memory": Case(
        facts(rayjob("Retrying"), pod("head", phase="Failed", ended={"reason": "OOMKilled", "exitCode": 137})),
        "memory",
        "head pod",
        "head.memory_gib",
    ),
    "out of memory behind a lost worker": Case(
        facts(
            rayjob("Failed", job="FAILED", reason="AppFailed", message="exit code 1"),
            pod(phase="Failed", ended={"reason": "OOMKilled", "exitCode": 137}),
            run_status=run_status("failed", reason="worker 1 was lost"),
            run_end={"cause": "lost_worker", "reason": "worker 1 was lost"},
        ),
        "memory",
        "was killed for using more memory",
        "worker.memory_gib",
    ),
    "head that broke": Case(
        facts(
            rayjob("Retrying"),
            pod("head", phase="Failed", ended={"reason": "Error", "exitCode": 1, "message": "first\nno port free\n"}),
        ),
        "crashed",
        "exit status 1: no port free",
        "roadbed jobs logs town",
    ),
    "evicted": Case(
        facts(
            rayjob("Running", job="RUNNING"),
            pod(
                phase="Failed",
                reason="Evicted",
                message="The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 2Gi. ",
            ),
            run_status=run_status(),
        ),
        "evicted",
        "low on resource: ephemeral-storage",
        "raise what ran short",
    ),
    "preempted by the scheduler": Case(
        facts(
            rayjob("Running", job="RUNNING"),
            pod(
                phase="Failed",
                conditions=[
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "PreemptionByScheduler",
                        "message": "default-scheduler: preempting to accommodate a higher priority pod",
                    }
                ],
            ),
            run_status=run_status(),
        ),
        "preempted",
        "made room for a more important one",
        "higher priority",
    ),
    "a node that went": Case(
        facts(
            rayjob("Running", job="RUNNING"),
            pod(
                phase="Failed",
                reason="Terminated",
                message="Pod was terminated in response to imminent node shutdown.",
            ),
            run_status=run_status(),
        ),
        "node_lost",
        "imminent node shutdown",
        "last checkpoint",
    ),
    "a pod that is gone": Case(
        facts(
            rayjob("Running", job="RUNNING"),
            *RUNNING,
            events=[
                event("Preempted", "Preempted by pod 7d1 on node gpu-2", kind="Pod", name=f"{CLUSTER}-worker-9"),
            ],
            run_status=run_status(),
        ),
        "preempted",
        f"pod {CLUSTER}-worker-9 is gone",
        "last checkpoint",
    ),
    # What is not let in
    "Pod Security": made(
        "FailedToCreateHeadPod",
        f'Failed to create head Pod roadbed/{CLUSTER}-head, pods "{CLUSTER}-head" is forbidden: violates PodSecurity '
        '"restricted:latest": allowPrivilegeEscalation != false (container "ray-head" must set '
        "securityContext.allowPrivilegeEscalation=false)",
        'the namespace enforces Pod Security "restricted", which the head pod does not pass: allowPrivilegeEscalation',
        "this version of roadbed",
        "pod_security",
    ),
    "namespace quota": made(
        "FailedToCreateWorkerPod",
        f'Failed to create worker Pod for the cluster {CLUSTER}, pods "x" is forbidden: exceeded quota: '
        f"compute, requested: "
        "requests.cpu=4, used: requests.cpu=14, limited: requests.cpu=16",
        "quota compute has no room for the worker pod: it asks for requests.cpu=4, used are requests.cpu=14 of",
        "stop one of yours",
        "namespace_quota",
    ),
    "quota that wants limits": made(
        "FailedCreate",
        'Error creating: pods "town-1" is forbidden: failed quota: compute: must specify limits.cpu for: submitter',
        "wants every pod to state limits.cpu",
        "LimitRange",
        "namespace_quota",
        kind="Job",
        name=NAME,
    ),
    "range of a namespace": made(
        "FailedToCreateWorkerPod",
        'pods "x" is forbidden: maximum memory usage per Container is 8Gi, but limit is 16Gi',
        "maximum memory usage per Container is 8Gi",
        "smaller pods",
        "namespace_quota",
    ),
    "service account": made(
        "FailedToCreateHeadPod",
        'pods "x" is forbidden: error looking up service account roadbed/roadbed-job: serviceaccount '
        '"roadbed-job" not found',
        "ServiceAccount roadbed-job, which is not there",
        "install the chart",
        "missing",
    ),
    "priority class": made(
        "FailedToCreateHeadPod",
        'pods "x" is forbidden: no PriorityClass with name urgent was found',
        "no PriorityClass urgent",
        "kubectl get priorityclasses",
        "missing",
    ),
    "webhook that refuses": made(
        "FailedToCreateRayCluster",
        'Failed to create RayCluster roadbed/town: admission webhook "vraycluster.kb.io" denied the request: '
        "name too long",
        "vraycluster.kb.io (admission) refuses the cluster: name too long",
        "who set the rule up",
        "webhook",
    ),
    "policy that refuses": made(
        "FailedToCreateHeadPod",
        "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'governance' with binding 'all' denied request: The label "
        "'team' is missing",
        "governance (admission) refuses the head: The label 'team' is missing",
        "who set the rule up",
        "webhook",
    ),
    "webhook that is down": made(
        "FailedToCreateRayCluster",
        'Internal error occurred: failed calling webhook "mraycluster.kb.io": failed to call webhook: Post '
        '"https://kueue-webhook-service.kueue-system.svc:443/mutate": no endpoints available for service',
        "mraycluster.kb.io does not answer",
        "pods behind it",
        "webhook",
    ),
    "rights of the operator": made(
        "FailedToCreateHeadPod",
        'pods is forbidden: User "system:serviceaccount:kuberay:op" cannot create resource "pods" in API group ""',
        "the operator may not create pods here",
        "must watch this namespace",
        "operator",
    ),
    "refused for reasons of its own": made(
        "FailedToCreateHeadPod", "etcd is full", "the head cannot be made: etcd is full", "correct", "refused"
    ),
    "told by a condition alone": Case(
        facts(
            rayjob(
                rayClusterStatus={
                    "conditions": [
                        {
                            "type": "ReplicaFailure",
                            "status": "True",
                            "reason": "FailedCreateHeadPod",
                            "message": "exceeded quota: compute, requested: pods=1, used: pods=9, limited: pods=9",
                        }
                    ]
                }
            )
        ),
        "namespace_quota",
        "for the head pod",
        "stop one of yours",
    ),
    # KubeRay
    "no operator": Case(
        facts(rayjob("", age_s=125.0)), "operator", "no operator has looked at it for 2 min", "kuberay-operator"
    ),
    "an operator that has not looked yet": Case(
        facts(rayjob("", age_s=5.0)), "starting", "not looked at it yet", "wait"
    ),
    "bad spec": failed(
        "ValidationFailed",
        "The RayJob spec is invalid: BackoffLimit cannot be used with ClusterSelector",
        "bad_spec",
        "BackoffLimit cannot be used",
        "roadbed lint",
    ),
    "bad spec of an older operator": Case(
        facts(rayjob(""), events=[event("InvalidRayJobSpec", "RayJob name is too long", kind="RayJob", name=NAME)]),
        "bad_spec",
        "name is too long",
        "roadbed lint",
    ),
    "submitter failed": failed(
        "SubmissionFailed",
        "Job submission has failed. Reason: BackoffLimitExceeded. Message: Job has reached the specified backoff limit",
        "submission",
        "could not hand the program",
        "port 8265",
    ),
    "token refused": Case(
        facts(
            rayjob(
                "Failed", reason="SubmissionFailed", message="Job submission has failed. Reason: BackoffLimitExceeded"
            ),
            pod(
                "submitter",
                phase="Failed",
                ended={
                    "reason": "Error",
                    "exitCode": 1,
                    "message": "Traceback\nRuntimeError: Request failed: 401 Unauthorized: Missing "
                    "authentication token",
                },
            ),
        ),
        "auth",
        "refused the submitter's token",
        "Secret of the cluster's token",
    ),
    "deadline": failed(
        "DeadlineExceeded",
        "The RayJob has passed the activeDeadlineSeconds. StartTime: 2026-09-21 12:00:00 +0000 UTC. "
        "ActiveDeadlineSeconds: "
        "3600",
        "deadline",
        "took longer than 1 h 00 min",
        "goes on from its last checkpoint",
        spec={"activeDeadlineSeconds": 3600},
    ),
    "deadline of the start": failed(
        "PreRunningDeadlineExceeded", "too late", "deadline", "did not begin", "allow it more"
    ),
    "head that does not answer": failed(
        "JobStatusCheckTimeoutExceeded", "dial tcp: i/o timeout", "submission", "could not ask Ray's head", "port 8265"
    ),
    "submitter that does not end": failed(
        "JobDeploymentStatusTransitionGracePeriodExceeded",
        "timed out",
        "submission",
        "its submitter did not",
        "roadbed runs show town",
    ),
    "a reason of a newer KubeRay": failed("NewReason", "said so", "failed", "(NewReason): said so", "submit it again"),
    "a failure without words": failed("", "", "failed", "does not say why", "jobs logs"),
    "suspended by hand": Case(facts(rayjob("Suspended")), "suspended", "no queue will wake it", "roadbed jobs resume"),
    "started again": Case(
        facts(rayjob("Retrying", failed=1)), "retrying", "on a new cluster (1 of 3 tries failed)", "nothing"
    ),
    # The run
    "diverged": ended(
        "diverged",
        "worker 0: step 812: the loss is no number (nan)",
        "run_final",
        "the loss is no number",
        "learning_rate",
    ),
    "damaged data": ended("data", "train-00003.tar: sha256 is 9f2c", "run_final", "sha256 is 9f2c", "data verify"),
    "store away": ended("store", "s3://roadbed: no answer for 60 s", "run_final", "no answer for 60 s", "store's log"),
    "run out of memory": ended("memory", "running low on memory", "run", "(memory)", "data.memory_mb"),
    "hang": ended("hang", "worker 1 does not move", "run", "worker 1 does not move", "stalls/"),
    "defect": ended("defect", "worker 0 ended by KeyError: 'x'", "run", "KeyError", "traceback"),
    "error before the first attempt": failed(
        "AppFailed",
        "Job entrypoint command failed with exit code 2, last available logs (truncated to 20,000 chars):\n"
        "starting\n\x1b[31m\x1b[1merror:\x1b[0m s3://roadbed: AccessDenied for the bucket\n",
        "run_final",
        "the run failed (store): s3://roadbed: AccessDenied for the bucket",
        "roadbed jobs logs town",
        job="FAILED",
    ),
    "fenced": failed(
        "AppFailed",
        "error: run town: attempt 2 was replaced by attempt 3; it ends and writes nothing more",
        "fenced",
        "attempt 2 was replaced by attempt 3",
        "roadbed runs show town",
        job="FAILED",
    ),
    "trained by somebody else": failed(
        "AppFailed",
        "error: run town is being trained (attempt 4, step 80); wait until it ends",
        "fenced",
        "is being trained (attempt 4",
        "another name",
        job="FAILED",
    ),
    "first heartbeat": Case(
        facts(rayjob("Running", job="RUNNING", age_s=50.0), *RUNNING), "heartbeat", "is awaited", "wait a moment"
    ),
    "no heartbeat for long": Case(
        facts(rayjob("Running", job="RUNNING", age_s=900.0), *RUNNING),
        "heartbeat",
        "after 15 min 00 s the store holds no heartbeat",
        "--store",
    ),
    "first heartbeat after an hour in a queue": Case(
        facts(rayjob("Running", job="RUNNING", age_s=3600.0, rayJobInfo={"startTime": stamp(NOW - 20)}), *RUNNING),
        "heartbeat",
        "is awaited",
        "wait a moment",
    ),
    "ended in peace, and failed": Case(
        facts(rayjob("Complete", job="SUCCEEDED"), run_status=run_status("failed", reason="the loss is no number")),
        "run_final",
        "the run failed (diverged)",
        "learning_rate",
    ),
    "heartbeat of an earlier job": Case(
        facts(
            rayjob("Running", job="RUNNING", age_s=50.0), *RUNNING, run_status=run_status("failed", heartbeat_age_s=900)
        ),
        "heartbeat",
        "is awaited",
        "wait",
    ),
    "silent": Case(
        facts(
            rayjob("Running", job="RUNNING"),
            *RUNNING,
            run_status=run_status("lost", reason="no heartbeat for 200 s", heartbeat_age_s=200),
        ),
        "silent",
        "no sign of life (no heartbeat for 200 s)",
        "jobs resume",
    ),
    "the run tries again": Case(
        facts(
            rayjob("Running", job="RUNNING"),
            *RUNNING,
            run_status=run_status("retrying", reason="worker 1 was lost; retry 1 of 3 in 10 s"),
        ),
        "retrying",
        "retry 1 of 3",
        "nothing",
    ),
    "pods on their way": Case(
        facts(rayjob(), pod("head", phase="Running"), pod(age_s=5.0)), "starting", "1 of 2 pods are ready", "wait"
    ),
    "handed to Ray, and not begun": Case(
        facts(rayjob("Running", job="PENDING"), *RUNNING), "starting", "3 of 3 pods are ready", "wait"
    ),
    "a store out of reach": Case(
        facts(rayjob("Running", job="RUNNING"), *RUNNING, store_error="s3://roadbed: no credentials"),
        "store",
        "not known here: s3://roadbed: no credentials",
        "AWS_ENDPOINT_URL",
    ),
}


@pytest.mark.parametrize("case", SITUATIONS.values(), ids=SITUATIONS)
def test_the_likeliest_reason_comes_first(case: Case) -> None:
    reasons = why(case.facts)
    assert reasons, "a job that waits or failed has a reason"
    assert (reasons[0].kind, reasons[0].about in reasons[0].text) == (case.kind, True), reasons
    assert case.says in reasons[0].text
    assert case.next_step in reasons[0].next_step


@pytest.mark.parametrize(
    "known",
    [
        facts(rayjob("Running", job="RUNNING"), *RUNNING, run_status=run_status()),
        facts(rayjob("Complete", job="SUCCEEDED"), run_status=run_status("finished")),
        facts(
            rayjob("Running", job="RUNNING", queue="team-a"),
            *RUNNING,
            workload=workload(admitted=True),
            run_status=run_status(),
        ),
    ],
)
def test_a_job_that_does_well_has_no_reason(known: JobFacts) -> None:
    assert why(known) == []


def test_a_refusal_that_was_overcome_is_history() -> None:
    told = event("FailedToCreateHeadPod", "exceeded quota: a, requested: b, used: c, limited: d", age_s=500.0)
    known = facts(rayjob("Running", job="RUNNING"), *RUNNING, events=[told], run_status=run_status())
    assert why(known) == []


@pytest.mark.parametrize(("since_s", "kind"), [(10, "suspended"), (900, "operator")])
def test_a_job_that_is_being_deleted(since_s: int, kind: str) -> None:
    job = rayjob("Running", job="RUNNING")
    job["metadata"]["deletionTimestamp"] = stamp(NOW - since_s)
    assert why(facts(job, *RUNNING, run_status=run_status()))[0].kind == kind


def test_alike_reasons_of_several_pods_are_one() -> None:
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu." + NO_PREEMPTION
    known = facts(rayjob(), *(unschedulable(message, number=number) for number in (1, 2, 3)))
    (reason,) = why(known)
    assert f"worker pod {CLUSTER}-worker-1 (and 2 more) fits on none" in reason.text


def test_the_image_comes_before_nodes_that_are_missing() -> None:
    said = "0/1 nodes are available: 1 Insufficient cpu."
    known = facts(rayjob(), unschedulable(said), pod("head", waiting=("ErrImagePull", PULL + "not found")))
    assert [reason.kind for reason in why(known)] == ["image", "no_node"]


def test_equal_reasons_are_told_once() -> None:
    reason = Reason("volume", "waits", "wait")
    assert ranked([reason, reason]) == [reason]
    assert reason.to_json() == {"kind": "volume", "text": "waits", "next_step": "wait", "about": ""}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("worker 0 ended by DivergedError: the loss is no number", "diverged"),
        ("CUDA out of memory", "memory"),
        ("worker 1 was lost (10.0.0.1, pid 7): gone", "lost_worker"),
        ("KeyError: 3", "defect"),
    ],
)
def test_the_cause_of_a_sentence(text: str, cause: str) -> None:
    assert cause_of(text) == cause


def test_the_last_words_of_a_log_without_an_error() -> None:
    assert last_error("first\n last \n\n") == "last"
    assert last_error("") == ""
