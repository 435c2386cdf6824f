"""Models: versions, what champion was and is, and how good each class is."""

from __future__ import annotations

from dashboards.parts import Dashboard, Panel, Query, Row, Variable, bad_below
from dashboards.shared import PROMOTIONS

_MODEL = '{model=~"$model"}'

_CHAMPION = Row(
    "Champion",
    (
        Panel("mIoU", "Of the version that champion names.", "percentunit",
              (Query(f"max by (model) (roadbed_champion_miou_ratio{_MODEL})", "{{model}}"),), kind="stat", width=6, height=5,
              thresholds=bad_below(0.3, 0.5), runbook="champion-regression"),
        Panel("Pixel accuracy", "Of the same version.", "percentunit",
              (Query(f"max by (model) (roadbed_champion_pixel_accuracy_ratio{_MODEL})", "{{model}}"),), kind="stat",
              width=6, height=5),
        Panel("Since", "How long ago champion moved last.", "s",
              (Query('time() - max by (model) (roadbed_model_promotion_timestamp_seconds{model=~"$model", '
                     'alias="champion"})', "{{model}}"),), kind="stat", width=6, height=5),
        Panel("Versions", "Whole versions in the registry.", "short",
              (Query(f"max by (model) (roadbed_model_versions{_MODEL})", "{{model}}"),), kind="stat", width=6, height=5),
        Panel("History", "mIoU of the champion over time; each step is a promotion.", "percentunit",
              (Query(f"max by (model) (roadbed_champion_miou_ratio{_MODEL})", "{{model}}"),), width=12, lowest=0, highest=1,
              runbook="champion-regression"),
        Panel("Which version", "The number that each alias names.", "short",
              (Query(f"max by (model, alias) (roadbed_model_alias_version{_MODEL})", "{{model}}@{{alias}}"),), width=12,
              lowest=0),
    ),
)  # fmt: skip

_SCORES = Row(
    "Scores",
    (
        Panel("Classes of the champion", "Intersection over union, class by class.", "percentunit",
              (Query(f"sort_desc(max by (model, class) (roadbed_champion_class_iou_ratio{_MODEL}))", "{{model}} {{class}}"),),
              kind="bargauge", width=12, height=10, lowest=0, highest=1, thresholds=bad_below(0.3, 0.5)),
        Panel("Versions", "mIoU of the newest versions.", "percentunit",
              (Query(f"sort_desc(max by (model, version) (roadbed_model_version_miou_ratio{_MODEL}))",
                     "{{model}}:{{version}}"),), kind="bargauge", width=12, height=10, lowest=0, highest=1),
    ),
)  # fmt: skip

_RETRAINING = Row(
    "Promotions and retraining",
    (
        Panel("Promotions", "Moves of an alias within a day.", "short",
              (Query(f"sum by (model, alias) (increase(roadbed_model_promotions_total{_MODEL}[1d]))",
                     "{{model}}@{{alias}}"),), lowest=0),
        Panel("Retraining is due in", "Time to the next scheduled training; below 0 it is late.", "s",
              (Query('min by (namespace, cronjob) (kube_cronjob_next_schedule_time{cronjob=~"roadbed-.*"}) - time()',
                     "{{cronjob}}"),), kind="stat", thresholds=((None, "red"), (0, "green")), runbook="retraining-missed"),
        Panel("Last retraining", "How long ago a scheduled training was last submitted.", "s",
              (Query('time() - max by (namespace, cronjob) (kube_cronjob_status_last_schedule_time{cronjob=~"roadbed-.*"})',
                     "{{cronjob}}"),), kind="stat", runbook="retraining-missed"),
    ),
)  # fmt: skip

MODELS = Dashboard(
    "models",
    "Models",
    "Versions, promotions, the champion's history and its score class by class.",
    (_CHAMPION, _SCORES, _RETRAINING),
    variables=(Variable("model", "model", "roadbed_model_versions", "model"),),
    annotations=(PROMOTIONS,),
    since="now-30d",
)
