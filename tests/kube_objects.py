"""Objects of Kubernetes with which nothing is wrong, and changes of them by path."""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

REMOVED = object()
# Read when the tests are collected: none of them sees the variables of the machine.
CRDS_FOLDER = Path(os.environ.get("ROADBED_CRDS", Path(__file__).parents[2] / "shared" / "k8s" / "crds"))

_GOOD = """
apiVersion: ray.io/v1
kind: RayJob
metadata: {name: train-one, namespace: roadbed, labels: {app.kubernetes.io/name: roadbed}}
spec:
  entrypoint: roadbed train /etc/roadbed/job.yaml
  backoffLimit: 2
  submissionMode: K8sJobMode
  activeDeadlineSeconds: 36000
  preRunningDeadlineSeconds: 3600
  deletionStrategy:
    deletionRules:
      - {policy: DeleteCluster, condition: {jobStatus: SUCCEEDED, ttlSeconds: 60}}
      - {policy: DeleteCluster, condition: {jobStatus: FAILED, ttlSeconds: 3600}}
      - {policy: DeleteSelf, condition: {jobStatus: FAILED, ttlSeconds: 7200}}
  submitterPodTemplate:
    spec:
      restartPolicy: Never
      containers: [&container {
        name: submitter,
        image: "roadbed:0.1.0",
        resources: {requests: {cpu: 100m, memory: 1Gi}, limits: {memory: 1Gi}},
        securityContext: &restricted {
          runAsNonRoot: true, runAsUser: 1000, allowPrivilegeEscalation: false,
          capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}]
  rayClusterSpec: &cluster
    rayVersion: 2.60.0
    enableInTreeAutoscaling: true
    autoscalerOptions: {version: v2, securityContext: *restricted}
    authOptions: {mode: token}
    headGroupSpec:
      rayStartParams: {num-cpus: "0"}
      template:
        metadata: {labels: {roadbed.dev/run: train-one}}
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 60
          containers:
            - name: head
              image: rayproject/ray:2.60.0
              ports:
                - {name: gcs, containerPort: 6379}
                - {name: dashboard, containerPort: 8265}
                - {name: serve, containerPort: 8000}
              lifecycle: {preStop: {exec: {command: [sh, -c, "ray stop; sleep 10"]}}}
              resources: {requests: {cpu: 2, memory: 8Gi}, limits: {cpu: 2, memory: 8Gi}}
              securityContext: *restricted
    workerGroupSpecs:
      - groupName: workers
        replicas: 1
        minReplicas: 1
        maxReplicas: 4
        rayStartParams: {}
        template:
          spec:
            restartPolicy: Never
            containers:
              - name: worker
                image: roadbed:0.1.0
                env:
                  - {name: AWS_ENDPOINT_URL, value: "https://store.example.org"}
                  - {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: store, key: AWS_ACCESS_KEY_ID}}}
                  - {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: store, key: AWS_SECRET_ACCESS_KEY}}}
                resources:
                  requests: {cpu: 8, memory: 32Gi, nvidia.com/gpu: 2}
                  limits: {cpu: 8, memory: 32Gi, nvidia.com/gpu: 2}
                securityContext: {readOnlyRootFilesystem: true, <<: *restricted}
                volumeMounts: [{name: shm, mountPath: /dev/shm}, {name: tmp, mountPath: /tmp}]
            volumes:
              - {name: shm, emptyDir: {medium: Memory, sizeLimit: 8Gi}}
              - {name: tmp, emptyDir: {}}
---
apiVersion: ray.io/v1
kind: RayJob
metadata:
  name: queued
  namespace: roadbed
  labels: {kueue.x-k8s.io/queue-name: training}
  annotations: {kueue.x-k8s.io/elastic-job: "true"}
spec:
  entrypoint: roadbed train /etc/roadbed/job.yaml
  submissionMode: HTTPMode
  suspend: true
  shutdownAfterJobFinishes: true
  ttlSecondsAfterFinished: 600
  rayClusterSpec: *cluster
---
apiVersion: ray.io/v1
kind: RayJob
metadata: {name: selecting, namespace: roadbed}
spec: {entrypoint: python x.py, submissionMode: HTTPMode, clusterSelector: {ray.io/cluster: shared}}
---
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: shared, namespace: roadbed}
spec: *cluster
---
apiVersion: ray.io/v1
kind: RayCronJob
metadata: {name: nightly, namespace: roadbed}
spec:
  schedule: 0 3 * * 1-5
  jobTemplate: {submissionMode: HTTPMode, entrypoint: roadbed train job.yaml, rayClusterSpec: *cluster}
---
apiVersion: ray.io/v1
kind: RayService
metadata: {name: endpoint, namespace: roadbed, annotations: {ray.io/initializing-timeout: 30m}}
spec:
  serveConfigV2: |
    applications:
      - name: segment
        route_prefix: /
        import_path: roadbed.serving.app:build
        deployments: [{name: Segmenter, autoscaling_config: {min_replicas: 1, max_replicas: 4}}]
  rayClusterDeletionDelaySeconds: 60
  upgradeStrategy:
    type: NewClusterWithIncrementalUpgrade
    clusterUpgradeOptions: {maxSurgePercent: 50, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: gke}
  rayClusterConfig: *cluster
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: exporter, namespace: roadbed}
spec:
  selector: {matchLabels: {app: exporter}}
  template:
    metadata: {labels: {app: exporter}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      imagePullSecrets: [{name: registry}]
      containers: [*container]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store, namespace: roadbed}
spec:
  selector: {matchLabels: {app: store}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]
  template:
    metadata: {labels: {app: store}}
    spec:
      containers: [{<<: *container, volumeMounts: [{name: data, mountPath: /data}]}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: retrain, namespace: roadbed}
spec:
  schedule: "@weekly"
  jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [*container]}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: heads, namespace: roadbed}
spec: {minAvailable: 1, selector: {matchLabels: {ray.io/node-type: head}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: exporter, namespace: roadbed}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: exporter}, minReplicas: 1, maxReplicas: 3}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: store-client, namespace: roadbed}
spec:
  podSelector: {matchLabels: {app: exporter}}
  policyTypes: [Egress]
  egress: [{ports: [{port: 443}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: dns, namespace: roadbed}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [exporter, store]}]}
  policyTypes: [Egress]
  egress: [{ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: roadbed}
data: {AWS_REGION: eu-central-1}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: "roadbed:submitter", namespace: roadbed}
rules: [{apiGroups: [ray.io], resources: [rayjobs], verbs: [create, get]}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: training, namespace: roadbed}
spec: {clusterQueue: gpus}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: gpus}
spec:
  resourceGroups:
    - coveredResources: [cpu]
      flavors: [{name: spot, resources: [{name: cpu, nominalQuota: 100}]}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: spot}
spec: {}
"""


def crds_folder() -> Path:
    """The CRDs of KubeRay, Kueue and the Prometheus operator; the test is skipped where there are none."""
    if not any(CRDS_FOLDER.glob("*.yaml")):
        pytest.skip(
            f"no CRDs in {CRDS_FOLDER}: set ROADBED_CRDS to a folder of them (those of KubeRay's release, or "
            "`kubectl get crd -o yaml > crds.yaml`)"
        )
    return CRDS_FOLDER


def good_objects() -> dict[str, dict[str, Any]]:
    """Objects without a fault, each with itself alone, by KIND/NAME."""
    objects = json.loads(_good_json())
    return {f"{obj['kind']}/{obj['metadata']['name']}": obj for obj in objects}


@functools.cache
def _good_json() -> str:
    """As JSON, in which no two places share what an anchor of YAML holds."""
    items = [f"- {textwrap.indent(text, '  ').strip()}" for text in _GOOD.split("---\n")]
    return json.dumps(yaml.safe_load("\n".join(items)))


def changed(obj: Any, path: str, value: Any) -> Any:
    """A copy of the object with `value` at a dotted path (a[0].b.c[x.y/z]), or without it if REMOVED."""
    copied = copy.deepcopy(obj)
    steps = [
        int(item) if item.isdigit() else item or name for item, name in re.findall(r"\[([^\]]+)\]|([^.\[\]]+)", path)
    ]
    place = copied
    for step in steps[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    if value is REMOVED:
        del place[steps[-1]]
    else:
        place[steps[-1]] = value
    return copied
