"""Overview: everything on one screen, and where to look next."""

from __future__ import annotations

from dashboards.parts import Dashboard, Panel, Query, Row, bad_above, bad_below
from dashboards.shared import CLUSTER, FRAMES, PROMOTIONS, STATUS, hardware

_NOW = Row(
    "Now",
    (
        Panel("Alerts", "Alerts of roadbed that fire now. Their runbooks say what to do.", "short",
              (Query('sum(ALERTS{alertname=~"Roadbed.*", alertstate="firing"}) or vector(0)', "firing"),),
              kind="stat", width=4, height=4, thresholds=bad_above(1, 2)),
        Panel("Trainings", "Runs that train now; trials of sweeps are counted beside.", "short",
              (Query('sum(roadbed_runs{kind="train", state="running"})', "runs"),
               Query('sum(roadbed_runs{kind="trial", state="running"})', "trials")),
              kind="stat", width=4, height=4),
        Panel("Lost or failed", "Runs whose last word is failed, or whose heart stopped without one.", "short",
              (Query('sum(roadbed_runs{kind="train", state=~"failed|lost"})', "runs"),),
              kind="stat", width=4, height=4, thresholds=bad_above(1, 5), runbook="run-stalled"),
        Panel("Sweeps", "Sweeps that run now.", "short",
              (Query('sum(roadbed_sweeps{state="running"})', "sweeps"),), kind="stat", width=4, height=4),
        Panel("Requests", "Segmentations that endpoints are asked for, each second.", "reqps",
              (Query("sum(rate(ray_roadbed_serve_requests_total[$__rate_interval]))", "requests"),),
              kind="stat", width=4, height=4),
        Panel("Store", "1 while the exporter cannot read a part of the store: states on these pages are then old.",
              "short", (Query("max(roadbed_exporter_is_stale)", "stale"),), kind="stat", width=4, height=4,
              thresholds=((None, "green"), (1, "red")), mappings={"0": ("fresh", "green"), "1": ("stale", "red")},
              runbook="store-errors"),
    ),
)  # fmt: skip

_TRAINING = Row(
    "Training",
    (
        Panel("Frames per second", "Frames that each run trains on, all workers together.", FRAMES,
              (Query("sum by (run) (rate(ray_roadbed_train_images_total[$__rate_interval]))", "{{run}}"),)),
        Panel("Waiting for data", "Share of its time in which a run's first worker waits for its own data. Above the "
              "line the run is data-bound.", "percentunit",
              (Query('roadbed:train_phase:share_5m{phase="data"}', "{{run}}"),),
              lowest=0, highest=1, thresholds=bad_above(0.15, 0.3), runbook="data-bound"),
        Panel("mIoU", "Newest score of the newest runs, as the store has it.", "percentunit",
              (Query('max by (run) (roadbed_run_miou_ratio{which="newest"})', "{{run}}"),), lowest=0, highest=1),
        Panel("Progress", "Steps taken of those planned, of runs that live.", "percentunit",
              (Query('max by (run) (roadbed_run_steps) / max by (run) (roadbed_run_planned_steps)'
                     ' and on (run) roadbed_run_info{kind="train", state=~"running|retrying"}', "{{run}}"),),
              kind="bargauge", lowest=0, highest=1),
        Panel("States", "The newest runs and what state each is in; a click opens a run's page.", "short",
              (Query('max by (run, state) (roadbed_run_info{kind="train"})'),),
              kind="table", hides=("Value",), opens_run=True),
        Panel("Why attempts failed", "Runs whose newest attempt failed, by the cause that was found.", "short",
              (Query("sum by (cause) (roadbed_run_failure_info)", "{{cause}}"),), kind="bargauge", lowest=0,
              runbook="run-restarts"),
    ),
)  # fmt: skip

_ENDPOINT = Row(
    "Endpoint",
    (
        Panel("Answers by status", "Answers each second, by their HTTP status.", "reqps",
              (Query("sum by (code) (rate(ray_roadbed_serve_requests_total[$__rate_interval]))", "{{code}}"),),
              is_stacked=True, lowest=0, colors=STATUS),
        Panel("Errors", "Share of requests that ended in 5xx at the proxies; the line is the budget of 0.5 %.",
              "percentunit", (Query("roadbed:serve_errors:ratio_5m", "{{application}}"),),
              lowest=0, thresholds=bad_above(0.005, 0.072), runbook="endpoint-errors"),
        Panel("p95 latency", "95 of 100 answers come within this time once their picture is there.", "s",
              (Query("roadbed:serve_latency:p95_5m", "{{run}}"),), lowest=0, thresholds=bad_above(0.5, 1),
              runbook="endpoint-latency"),
    ),
)  # fmt: skip

_MODELS = Row(
    "Models and machines",
    (
        Panel("Champions", "mIoU of the version that champion names, model by model.", "percentunit",
              (Query("max by (model) (roadbed_champion_miou_ratio)", "{{model}}"),), kind="stat", width=6,
              thresholds=bad_below(0.3, 0.5), runbook="champion-regression"),
        Panel("Drift", "How far the classes of the last hour's answers are from those of the training set: 0 as there, "
              "1 nothing in common.", "percentunit",
              (Query("roadbed:serve_drift:distance_1h", "{{run}}"),), width=6, lowest=0, highest=1,
              thresholds=bad_above(0.15, 0.3), runbook="drift"),
        Panel("Jobs", "RayJobs by the state that KubeRay tells; Initializing and Suspended wait.", "short",
              (Query("sum by (deployment_status) (kuberay_job_deployment_status)", "{{deployment_status}}"),),
              width=6, lowest=0, is_stacked=True, runbook="job-waiting"),
        Panel("Nodes", "Nodes of Ray clusters that are there, and that were asked for and are not there yet.", "short",
              (Query('sum(autoscaler_active_nodes{ray_io_cluster=~"$cluster"})', "there"),
               Query('sum(autoscaler_pending_nodes{ray_io_cluster=~"$cluster"})', "to come")), width=6, lowest=0),
        *hardware(),
    ),
)  # fmt: skip

OVERVIEW = Dashboard(
    "overview",
    "Overview",
    "Trainings, sweeps, endpoint, models and machines on one screen.",
    (_NOW, _TRAINING, _ENDPOINT, _MODELS),
    variables=(CLUSTER,),
    annotations=(PROMOTIONS,),
)
