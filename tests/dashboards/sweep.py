"""Sweep: what was tried, what it cost, what came of it."""

from __future__ import annotations

from dashboards.parts import Dashboard, Panel, Query, Row, Variable
from dashboards.shared import FRAMES, STATES

_SWEEP = '{sweep=~"$sweep"}'

_GLANCE = Row(
    "At a glance",
    (
        Panel("State", "What the store says of the sweep.", "short",
              (Query(f"max by (sweep, state) (roadbed_sweep_info{_SWEEP})"),), kind="table", width=6, height=5,
              hides=("Value",)),
        Panel("Best score", "The best score of any trial, in the sweep's own metric.", "percentunit",
              (Query(f"max by (sweep) (roadbed_sweep_best_score{_SWEEP})", "{{sweep}}"),), kind="stat", width=6, height=5),
        Panel("Trials begun", "Of those that the sweep asks for.", "percentunit",
              (Query(f"sum by (sweep) (roadbed_sweep_trials{_SWEEP})"
                     f" / max by (sweep) (roadbed_sweep_planned_trials{_SWEEP})", "{{sweep}}"),),
              kind="stat", width=6, height=5, lowest=0, highest=1),
        Panel("GPU time", "What all trials have had, GPUs added up.", "s",
              (Query(f"max by (sweep) (roadbed_sweep_gpu_seconds{_SWEEP})", "{{sweep}}"),), kind="stat", width=6, height=5),
    ),
)  # fmt: skip

_TRIALS = Row(
    "Trials",
    (
        Panel("By state", "How trials ended, or that they run. Many stopped early is what a scheduler is for.", "short",
              (Query(f"sum by (state) (roadbed_sweep_trials{_SWEEP})", "{{state}}"),), width=12, is_stacked=True, lowest=0,
              colors=STATES),
        Panel("Best score", "How the best score grew.", "percentunit",
              (Query(f"max by (sweep) (roadbed_sweep_best_score{_SWEEP})", "{{sweep}}"),), width=12),
        Panel("Score of each trial", "The best mIoU of each of the newest trials; a click opens the page of its run.", "percentunit",
              (Query('sort_desc(max by (run) (roadbed_run_miou_ratio{run=~"($sweep)-.*", which="best"}))', "{{run}}"),),
              kind="bargauge", width=12, height=10, lowest=0, highest=1, opens_run=True),
        Panel("mIoU of running trials", "At each evaluation, while they run.", "percentunit",
              (Query('max by (run) (ray_roadbed_eval_miou{run=~"($sweep)-.*"})', "{{run}}"),), width=12, height=10,
              lowest=0, highest=1),
        Panel("Loss of running trials", "Training loss of the last step.", "short",
              (Query('max by (run) (ray_roadbed_train_loss{run=~"($sweep)-.*"})', "{{run}}"),), width=12, is_log=True),
        Panel("Frames per second", "What each running trial trains on.", FRAMES,
              (Query('sum by (run) (rate(ray_roadbed_train_images_total{run=~"($sweep)-.*"}[$__rate_interval]))',
                     "{{run}}"),), width=12, is_stacked=True, lowest=0),
    ),
)  # fmt: skip

SWEEP = Dashboard(
    "sweep",
    "Sweep",
    "Trials of a sweep by state, their scores, and what they cost.",
    (_GLANCE, _TRIALS),
    variables=(Variable("sweep", "sweep", "roadbed_sweep_info", "sweep"),),
    since="now-24h",
)
