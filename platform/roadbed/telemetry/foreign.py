"""Series that others tell and our dashboards and alerts name, each with where it is documented.

Names are as Prometheus has them. A test holds this table to be exactly what dashboards, alerts and recording rules use.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Foreign:
    """A series of another exporter: its labels that we use, and where its documentation or source stands."""

    name: str
    exporter: str
    description: str
    source: str
    labels: tuple[str, ...] = ()


_PROMETHEUS = "https://prometheus.io/docs/concepts/jobs_instances/"
_ALERTS = "https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/"
_REPORTER = "ray 2.60, ray/dashboard/modules/reporter/reporter_agent.py"
_AUTOSCALER = "ray 2.60, ray/autoscaler/_private/prom_metrics.py"
_INGRESS = "ray 2.60, ray/serve/_private/request_ingress_metrics.py"
_DEPLOYMENTS = "ray 2.60, ray/serve/_private/deployment_state.py"
_KUBERAY = "https://docs.ray.io/en/latest/cluster/kubernetes/k8s-ecosystem/metrics-references.html"
_CRONJOBS = "https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/cronjob-metrics.md"
_JOBS = "https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/job-metrics.md"
_DCGM = "https://docs.nvidia.com/datacenter/dcgm/latest/reference/dcgm-exporter-metrics.html"

FOREIGN_METRICS: dict[str, Foreign] = {
    foreign.name: foreign
    for foreign in (
        Foreign("up", "Prometheus", "1 for a target that was scraped", _PROMETHEUS, ("job", "instance")),
        Foreign("ALERTS", "Prometheus", "1 for an alert that is pending or fires", _ALERTS,
                ("alertname", "alertstate")),
        Foreign("ray_node_cpu_utilization", "Ray", "CPU in use on a node, percent", _REPORTER, ("ip",)),
        Foreign("ray_node_mem_used", "Ray", "memory in use on a node, bytes", _REPORTER, ("ip",)),
        Foreign("ray_node_mem_total", "Ray", "memory of a node, bytes", _REPORTER, ("ip",)),
        Foreign("ray_node_gpus_utilization", "Ray", "use of each GPU, percent", _REPORTER, ("ip", "GpuIndex")),
        Foreign("ray_node_gram_used", "Ray", "memory in use on each GPU, MB", _REPORTER, ("ip", "GpuIndex")),
        Foreign("ray_node_disk_utilization_percentage", "Ray", "disk in use on a node, percent", _REPORTER, ("ip",)),
        Foreign("autoscaler_active_nodes", "Ray's autoscaler", "nodes of a cluster", _AUTOSCALER, ("NodeType",)),
        Foreign("autoscaler_pending_nodes", "Ray's autoscaler", "nodes asked for and not there yet", _AUTOSCALER,
                ("NodeType",)),
        Foreign("ray_serve_num_http_requests_total", "Ray Serve", "requests answered by proxies", _INGRESS,
                ("route", "method", "application", "status_code")),
        Foreign("ray_serve_deployment_replica_healthy", "Ray Serve", "replicas that are well", _DEPLOYMENTS,
                ("deployment", "application")),
        Foreign("ray_serve_autoscaling_target_replicas", "Ray Serve", "replicas that there shall be", _DEPLOYMENTS,
                ("deployment", "application")),
        Foreign("kuberay_job_deployment_status", "KubeRay", "1 for a RayJob, with its state", _KUBERAY,
                ("name", "namespace", "deployment_status")),
        Foreign("kuberay_service_condition_ready", "KubeRay", "1 for a RayService, with whether it is ready", _KUBERAY,
                ("name", "namespace", "condition")),
        Foreign("kube_cronjob_next_schedule_time", "kube-state-metrics", "when a CronJob is due, unix seconds",
                _CRONJOBS, ("namespace", "cronjob")),
        Foreign("kube_cronjob_status_last_schedule_time", "kube-state-metrics", "when a CronJob last began, in unix s",
                _CRONJOBS, ("namespace", "cronjob")),
        Foreign("kube_cronjob_spec_suspend", "kube-state-metrics", "1 for a CronJob that is suspended", _CRONJOBS,
                ("namespace", "cronjob")),
        Foreign("kube_job_status_failed", "kube-state-metrics", "pods of a Job that failed, with the reason", _JOBS,
                ("namespace", "job_name", "reason")),
        Foreign("kube_job_owner", "kube-state-metrics", "1 for a Job, with who made it", _JOBS,
                ("namespace", "job_name", "owner_kind", "owner_name")),
        Foreign("DCGM_FI_DEV_GPU_UTIL", "DCGM exporter", "use of a GPU, percent", _DCGM, ("gpu", "Hostname")),
        Foreign("DCGM_FI_DEV_FB_USED", "DCGM exporter", "memory in use on a GPU, MiB", _DCGM, ("gpu", "Hostname")),
        Foreign("DCGM_FI_DEV_XID_ERRORS", "DCGM exporter", "number of the last error of a GPU", _DCGM,
                ("gpu", "Hostname")),
    )
}  # fmt: skip
