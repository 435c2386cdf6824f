"""Training run: how it learns, what it waits for, what it survived."""

from __future__ import annotations

from dashboards.parts import Annotation, Dashboard, Panel, Query, Row, Variable, bad_above
from dashboards.shared import CLUSTER, FRAMES, PROMOTIONS, hardware

_RUN = '{run=~"$run"}'
_LIVING = '{run=~"$run", state=~"running|retrying|lost"}'
_PHASES = {"forward": "light-green", "backward": "green", "data": "red", "sync": "orange", "checkpoint": "purple",
           "evaluate": "blue", "start": "yellow", "other": "#8e8e8e"}  # fmt: skip


def _share(phases: str) -> str:
    """The time that runs spent with some phases, of all their time: shares of all phases add up to 1."""
    spent = "ray_roadbed_train_phase_seconds_total"
    some = f'increase({spent}{{run=~"$run", phase{phases}}}[$__rate_interval])'
    return f"sum by (phase) ({some}) / on () group_left sum(increase({spent}{_RUN}[$__rate_interval]))"


def _counted(series: str) -> str:
    """What was counted by all attempts, and 0 for runs that had nothing to count."""
    none = f"0 * max by (run) (max_over_time(ray_roadbed_train_step{_RUN}[$__range]))"
    return f"sum by (run) (max_over_time({series}{_RUN}[$__range])) or {none}"


_GLANCE = Row(
    "At a glance",
    (
        Panel("Frames per second", "Frames trained on each second, all workers together.", FRAMES,
              (Query(f"sum by (run) (rate(ray_roadbed_train_images_total{_RUN}[$__rate_interval]))", "{{run}}"),),
              kind="stat", width=4, height=4),
        Panel("Progress", "Steps taken of those planned.", "percentunit",
              (Query(f"max by (run) (roadbed_run_steps{_RUN}) / max by (run) (roadbed_run_planned_steps{_RUN})",
                     "{{run}}"),), kind="stat", width=4, height=4, lowest=0, highest=1),
        Panel("Best mIoU", "The best score so far, from the store: it stays when the run has ended.", "percentunit",
              (Query('max by (run) (roadbed_run_miou_ratio{run=~"$run", which="best"})', "{{run}}"),),
              kind="stat", width=4, height=4),
        Panel("Heartbeat", "How long ago a run that has not ended gave its last sign. It beats every 2 s; after a minute "
              "it counts as lost.", "s",
              (Query(f"time() - max by (run) (roadbed_run_heartbeat_timestamp_seconds{_RUN})"
                     f" and on (run) roadbed_run_info{_LIVING}", "{{run}}", True),),
              kind="stat", width=4, height=4, thresholds=bad_above(60, 90), runbook="run-stalled"),
        Panel("Attempts", "Attempts so far: 1 is a run that never broke.", "short",
              (Query(f"max by (run) (roadbed_run_attempts{_RUN})", "{{run}}"),), kind="stat", width=4, height=4,
              thresholds=bad_above(2, 4), runbook="run-restarts"),
        Panel("State", "What the store says of the run.", "short",
              (Query(f"max by (run, state) (roadbed_run_info{_RUN})"),), kind="table", width=4, height=4,
              hides=("Value",)),
    ),
)  # fmt: skip

_TIME = Row(
    "What it waits for",
    (
        Panel("Where the time goes", "What the first worker of a run spends its time with. Green learns; all above it is "
              "waiting: data for its own data, sync for other workers, checkpoint for saving, start for the first step. "
              "Gradients travel within backward. A gap is a time without a run.", "percentunit",
              (Query(_share('=~"forward|backward"'), "{{phase}}"), Query(_share('!~"forward|backward"'), "{{phase}}")),
              width=16, height=8, is_stacked=True, lowest=0, highest=1, runbook="data-bound", colors=_PHASES),
        Panel("In all", "The same, of all attempts that were seen in the time that is shown.", "percentunit",
              (Query(f"sort_desc(sum by (phase) (max_over_time(ray_roadbed_train_phase_seconds_total{_RUN}[$__range]))"
                     f" / on () group_left sum(max_over_time(ray_roadbed_train_phase_seconds_total{_RUN}[$__range])))",
                     "{{phase}}"),),
              kind="bargauge", width=8, height=8, lowest=0, highest=1, colors=_PHASES),
        Panel("Frames per second", "All workers together, over time.", FRAMES,
              (Query(f"sum by (run) (rate(ray_roadbed_train_images_total{_RUN}[$__rate_interval]))", "{{run}}"),),
              width=6, lowest=0),
        Panel("Batches ready", "Decoded batches that wait to be trained on, at the worker with the fewest and the one with "
              "the most. 0 for long means that reading or decoding is too slow.", "short",
              (Query(f"min by (run) (ray_roadbed_data_prefetched_batches{_RUN})", "{{run}} fewest"),
               Query(f"max by (run) (ray_roadbed_data_prefetched_batches{_RUN})", "{{run}} most")),
              width=6, lowest=0, runbook="data-bound"),
        Panel("Steps", "Optimiser steps taken. A line that goes back is a run that was resumed.", "short",
              (Query(f"max by (run) (ray_roadbed_train_step{_RUN})", "{{run}}"),), width=6, lowest=0),
        Panel("Epoch", "Of the last step, from 0.", "short",
              (Query(f"max by (run) (ray_roadbed_train_epoch{_RUN})", "{{run}}"),), width=6, lowest=0),
    ),
)  # fmt: skip

_LEARNING = Row(
    "Learning",
    (
        Panel("Loss", "Training loss of the last step, mean over labelled pixels.", "short",
              (Query(f"max by (run) (ray_roadbed_train_loss{_RUN})", "{{run}}"),), is_log=True, runbook="run-diverged"),
        Panel("mIoU", "Of each evaluation as the run told it, and the newest and best that the store has.",
              "percentunit",
              (Query(f"max by (run) (ray_roadbed_eval_miou{_RUN})", "{{run}} live"),
               Query(f"max by (run, which) (roadbed_run_miou_ratio{_RUN})", "{{run}} {{which}}")), lowest=0, highest=1),
        Panel("Pixel accuracy", "Share of labelled pixels that are right, live and from the store.", "percentunit",
              (Query(f"max by (run) (ray_roadbed_eval_pixel_accuracy{_RUN})", "{{run}} live"),
               Query(f"max by (run) (roadbed_run_pixel_accuracy_ratio{_RUN})", "{{run}}")), lowest=0, highest=1),
        Panel("IoU per class", "Intersection over union, class by class, at the last evaluation; the best of the chosen runs.", "percentunit",
              (Query(f"max by (class) (ray_roadbed_eval_class_iou{_RUN})", "{{class}}"),), lowest=0, highest=1),
        Panel("Learning rate", "Of the head; backbones may have a part of it.", "sci",
              (Query(f"max by (run) (ray_roadbed_train_learning_rate{_RUN})", "{{run}}"),)),
        Panel("Gradient norm", "Before clipping; of every 20th step where gradients are not clipped. It rises before "
              "a loss explodes.", "short",
              (Query(f"max by (run) (ray_roadbed_train_gradient_norm{_RUN})", "{{run}}"),), is_log=True,
              runbook="run-diverged"),
    ),
)  # fmt: skip

_SURVIVING = Row(
    "Surviving",
    (
        Panel("Checkpoint time", "Half and 95 of 100 checkpoints were written in this time, beside the training.", "s",
              (Query("histogram_quantile(0.5, sum by (run, le) "
                     f"(rate(ray_roadbed_checkpoint_write_seconds_bucket{_RUN}[1h])))", "{{run}} p50"),
               Query("histogram_quantile(0.95, sum by (run, le) "
                     f"(rate(ray_roadbed_checkpoint_write_seconds_bucket{_RUN}[1h])))", "{{run}} p95")), lowest=0),
        Panel("Checkpoint bytes", "Bytes of checkpoints written each second, over ten minutes.", "Bps",
              (Query(f"sum by (run) (rate(ray_roadbed_checkpoint_bytes_total{_RUN}[10m]))", "{{run}}"),), lowest=0),
        Panel("Not written", "Checkpoints of the last hour that could not be written.", "short",
              (Query(f"sum by (run) (increase(ray_roadbed_checkpoint_failures_total{_RUN}[1h]))"
                     f" or 0 * max by (run) (ray_roadbed_train_step{_RUN})", "{{run}}"),), lowest=0, thresholds=bad_above(1, 3), runbook="store-errors"),
        Panel("Resumes", "Attempts that went on from a checkpoint, in the time that is shown.", "short",
              (Query(_counted("ray_roadbed_train_resumes_total"), "{{run}}", True),),
              kind="stat", width=6, height=4),
        Panel("Failures", "Attempts that failed, by cause, in the time that is shown; preemption and diverged among "
              "them.", "short",
              (Query(f"sum by (cause) (max_over_time(ray_roadbed_train_failures_total{_RUN}[$__range]))", "{{cause}}",
                     True),), kind="bargauge", width=6, height=4, lowest=0, runbook="run-restarts"),
        Panel("Preemption notices", "Notices that a node was about to be taken away, in the time that is shown.", "short",
              (Query(_counted("ray_roadbed_train_notices_total"), "{{run}}", True),),
              kind="stat", width=4, height=4),
        Panel("Steps taken twice", "Steps that an attempt had taken and the next one took again.", "short",
              (Query(_counted("ray_roadbed_train_lost_steps_total"), "{{run}}", True),), kind="stat", width=4, height=4),
        Panel("Damaged samples", "Samples that training went without, for their bytes were damaged.", "short",
              (Query(_counted("ray_roadbed_data_skipped_samples_total"), "{{run}}", True),), kind="stat", width=4, height=4, thresholds=bad_above(1, 100)),
    ),
)  # fmt: skip

_MACHINES = Row(
    "Machines",
    (
        *hardware(),
        Panel("GPU work", "How busy GPUs are, as NVIDIA's exporter sees them on all nodes.", "percent",
              (Query("max by (Hostname, gpu) (DCGM_FI_DEV_GPU_UTIL)", "{{Hostname}} {{gpu}}"),), lowest=0, highest=100),
        Panel("GPU memory", "Memory in use on GPUs: as NVIDIA's exporter tells it, and as Ray does.", "decmbytes",
              (Query("max by (Hostname, gpu) (DCGM_FI_DEV_FB_USED) * 1.048576", "{{Hostname}} {{gpu}}"),
               Query('max by (ip, GpuIndex) (ray_node_gram_used{ray_io_cluster=~"$cluster"}) * 1.048576',
                     "{{ip}} {{GpuIndex}} (Ray)")), lowest=0),
        Panel("GPU errors", "Number of the last error (XID) of each GPU; 0 is none. NVIDIA's list says what it means.",
              "short", (Query("max by (Hostname, gpu) (DCGM_FI_DEV_XID_ERRORS)", "{{Hostname}} {{gpu}}"),),
              lowest=0, thresholds=((None, "green"), (1, "red"))),
    ),
)  # fmt: skip

TRAINING = Dashboard(
    "training",
    "Training run",
    "How a run learns, what it waits for, and what it survived.",
    (_GLANCE, _TIME, _LEARNING, _SURVIVING, _MACHINES),
    variables=(Variable("run", "run", "roadbed_run_info", "run"), CLUSTER),
    annotations=(
        PROMOTIONS,
        Annotation(
            "restart", f"changes(roadbed_run_attempts{_RUN}[2m]) > 0", "{{run}} began another attempt", "orange"
        ),
        Annotation(
            "preemption", f"increase(ray_roadbed_train_notices_total{_RUN}[2m]) > 0", "{{run}}: a node goes", "red"
        ),
    ),
)
