"""Endpoint: whether it answers, how fast, with which version, and whether the world still looks like the training set."""

from __future__ import annotations

from dashboards.parts import Annotation, Dashboard, Panel, Query, Row, Variable, bad_above
from dashboards.shared import PROMOTIONS, STATUS, UP

_RUN = '{run=~"$endpoint"}'
_NONE = f"0 * max by (run) (ray_roadbed_serve_model_version{_RUN})"


def _quantile(share: float, series: str, by: str, selector: str = _RUN) -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({series}_bucket{selector}[$__rate_interval])))"


_REQUESTS = Row(
    "Requests",
    (
        Panel("Answers by status", "Each second, as replicas gave them. 429: refused for too many waited; 499: the client "
              "went away.", "reqps",
              (Query(f"sum by (code) (rate(ray_roadbed_serve_requests_total{_RUN}[$__rate_interval]))", "{{code}}"),),
              is_stacked=True, lowest=0, runbook="endpoint-saturated", colors=STATUS),
        Panel("Answers of the proxies", "Each second, with what never came to a replica or came back without its answer.",
              "reqps",
              (Query('sum by (status_code) (rate(ray_serve_num_http_requests_total{application!=""}[$__rate_interval]))',
                     "{{status_code}}"),), is_stacked=True, lowest=0, runbook="endpoint-errors", colors=STATUS),
        Panel("Errors", "Share of requests that ended in 5xx, over four windows. Above 0.5 % for long the month's budget is "
              "spent too early.", "percentunit",
              (Query("max(roadbed:serve_errors:ratio_5m)", "5 min"), Query("max(roadbed:serve_errors:ratio_30m)", "30 min"),
               Query("max(roadbed:serve_errors:ratio_1h)", "1 h"), Query("max(roadbed:serve_errors:ratio_6h)", "6 h")),
              lowest=0, thresholds=bad_above(0.005, 0.072), runbook="endpoint-errors"),
        Panel("Latency", "Of answers, from the whole picture to the last stage; the network is not in it.", "s",
              (Query(_quantile(0.5, "ray_roadbed_serve_request_seconds", "run"), "{{run}} p50"),
               Query("roadbed:serve_latency:p95_5m" + _RUN, "{{run}} p95"),
               Query(_quantile(0.99, "ray_roadbed_serve_request_seconds", "run"), "{{run}} p99")),
              lowest=0, thresholds=bad_above(0.5, 1), runbook="endpoint-latency"),
        Panel("p95 by stage", "queue waits for the engine, decode reads the picture, infer is the network, encode makes the "
              "answer.", "s",
              (Query(_quantile(0.95, "ray_roadbed_serve_stage_seconds", "stage"), "{{stage}}"),), lowest=0,
              runbook="endpoint-latency"),
        Panel("Pixels per request", "How large the pictures are that come.", "short",
              (Query(f"sum by (run) (rate(ray_roadbed_serve_pixels_total{_RUN}[$__rate_interval]))"
                     f' / sum by (run) (rate(ray_roadbed_serve_requests_total{{run=~"$endpoint", code="200"}}'
                     "[$__rate_interval]))", "{{run}}"),), lowest=0),
    ),
)  # fmt: skip

_REPLICAS = Row(
    "Replicas",
    (
        Panel("Replicas", "That there shall be, that are well, and that there may be at most.", "short",
              (Query("max(ray_serve_autoscaling_target_replicas)", "wanted"),
               Query("sum(ray_serve_deployment_replica_healthy)", "well"),
               Query(f"max(ray_roadbed_serve_max_replicas{_RUN})", "at most")), lowest=0,
              runbook="endpoint-saturated"),
        Panel("Waiting", "Requests that replicas hold, those at work among them.", "short",
              (Query(f"sum by (run) (ray_roadbed_serve_waiting{_RUN})", "{{run}} all"),
               Query(f"max by (run) (ray_roadbed_serve_waiting{_RUN})", "{{run}} the fullest")), lowest=0,
              runbook="endpoint-saturated"),
        Panel("Ready", "1 while KubeRay finds the endpoint ready.", "short",
              (Query('max by (namespace, name) (kuberay_service_condition_ready{condition="true", name=~".*-endpoint"})',
                     "{{namespace}}/{{name}}"),), kind="state-timeline",
              thresholds=((None, "red"), (1, "green")), mappings=UP, runbook="endpoint-not-ready"),
    ),
)  # fmt: skip

_VERSIONS = Row(
    "Versions",
    (
        Panel("Version in use", "The oldest and the newest version that a replica answers with. They differ while one is "
              "taken up.", "short",
              (Query(f"min by (run) (ray_roadbed_serve_model_version{_RUN})", "{{run}} oldest"),
               Query(f"max by (run) (ray_roadbed_serve_model_version{_RUN})", "{{run}} newest"))),
        Panel("Swaps", "Versions that replicas took up in the last hour.", "short",
              (Query(f"sum by (run) (increase(ray_roadbed_serve_swaps_total{_RUN}[1h])) or {_NONE}", "{{run}}"),), lowest=0),
        Panel("Failed swaps", "Attempts of the last hour that left the old version serving; each replica tries every "
              "minute.", "short",
              (Query(f"sum by (run) (increase(ray_roadbed_serve_swap_failures_total{_RUN}[1h])) or {_NONE}", "{{run}}"),),
              lowest=0,              thresholds=((None, "green"), (1, "red")), runbook="swap-failed"),
    ),
)  # fmt: skip

_DRIFT = Row(
    "Drift",
    (
        Panel("Classes of the answers", "Each class's share of the pixels answered in the last hour.", "percentunit",
              (Query(f"avg by (class) (roadbed:serve_class_share:ratio_1h{_RUN})", "{{class}}"),), width=12,
              is_stacked=True, lowest=0, highest=1),
        Panel("Less or more than learnt from", "A class's share of the answers less its share of the training set: above 0 "
              "there is more of it than there was to learn from.", "percentunit",
              (Query(f"avg by (class) (roadbed:serve_class_share:ratio_1h{_RUN})"
                     f" - avg by (class) (ray_roadbed_serve_training_share{_RUN})", "{{class}}"),), width=12,
              runbook="drift"),
        Panel("Distance", "Half the sum of these differences: 0 as in the training set, 1 nothing in common.",
              "percentunit", (Query(f"roadbed:serve_drift:distance_1h{_RUN}", "{{run}}"),), width=12, lowest=0, highest=1,
              thresholds=bad_above(0.15, 0.3), runbook="drift"),
        Panel("Confidence", "How sure the network is, as a mean of some frames a minute; and a week ago.", "percentunit",
              (Query(f"sum by (run) (rate(ray_roadbed_serve_judged_confidence_total{_RUN}[1h]))"
                     f" / sum by (run) (rate(ray_roadbed_serve_judged_frames_total{_RUN}[1h]))", "{{run}}"),
               Query(f"sum by (run) (rate(ray_roadbed_serve_judged_confidence_total{_RUN}[1h] offset 7d))"
                     f" / sum by (run) (rate(ray_roadbed_serve_judged_frames_total{_RUN}[1h] offset 7d))",
                     "{{run}} a week ago")), width=12, lowest=0, highest=1, runbook="drift"),
    ),
)  # fmt: skip

ENDPOINT = Dashboard(
    "endpoint",
    "Endpoint",
    "Requests, latency, replicas, versions and drift of the endpoint.",
    (_REQUESTS, _REPLICAS, _VERSIONS, _DRIFT),
    variables=(Variable("endpoint", "endpoint", "ray_roadbed_serve_model_version", "run"),),
    annotations=(
        PROMOTIONS,
        Annotation(
            "swap", f"increase(ray_roadbed_serve_swaps_total{_RUN}[2m]) > 0", "{{run}} took up a version", "blue"
        ),
    ),
)
