"""Data and store: whether bytes come, how fast, and whether they are what they should be."""

from __future__ import annotations

from dashboards.parts import Dashboard, Panel, Query, Row, Variable, bad_above
from dashboards.shared import UP

_RUN = '{run=~"$run"}'


def _rate(series: str, by: str = "run, place") -> str:
    return f"sum by ({by}) (rate({series}{_RUN}[$__rate_interval]))"


_STORE = Row(
    "The store, as trainings see it",
    (
        Panel("Requests", "Sent each second, all runs together; place dataset is reading, place run checkpoints and "
              "records.", "reqps", (Query(_rate("ray_roadbed_store_requests_total", "place"), "{{place}}"),), lowest=0),
        Panel("Repeated", "Share of requests that had to be sent again. A store that is away comes to 100 %.",
              "percentunit",
              (Query(f"({_rate('ray_roadbed_store_retries_total')} or 0 * {_rate('ray_roadbed_store_requests_total')})"
                     f" / {_rate('ray_roadbed_store_requests_total')}", "{{run}} {{place}}"),), lowest=0, highest=1, thresholds=bad_above(0.02, 0.1), runbook="store-errors"),
        Panel("Given up", "Requests of the last ten minutes that were not answered in the time that they had.", "short",
              (Query(f"sum by (run, place) (increase(ray_roadbed_store_failures_total{_RUN}[10m]))"
                     f" or 0 * sum by (run, place) (ray_roadbed_store_requests_total{_RUN})", "{{run}} {{place}}"),),
              lowest=0, thresholds=((None, "green"), (1, "red")), runbook="store-errors"),
        Panel("Read", "Bytes each second, all runs together.", "Bps",
              (Query(_rate("ray_roadbed_store_read_bytes_total", "place"), "{{place}}"),), lowest=0),
        Panel("Written", "Bytes each second, all runs together.", "Bps",
              (Query(_rate("ray_roadbed_store_written_bytes_total", "place"), "{{place}}"),), lowest=0),
        Panel("p95 of requests", "95 of 100 requests have their whole answer in this time.", "s",
              (Query("histogram_quantile(0.95, sum by (place, le) "
                     f"(rate(ray_roadbed_store_request_seconds_bucket{_RUN}[$__rate_interval])))", "{{place}}"),),
              lowest=0, runbook="store-errors"),
    ),
)  # fmt: skip

_READING = Row(
    "Reading",
    (
        Panel("From the cache", "Share of shards that came from a machine's own disk and not from the store.",
              "percentunit",
              (Query('(sum by (run) (rate(ray_roadbed_data_shards_total{run=~"$run", source="cache"}[10m]))'
                     f" or 0 * sum by (run) (rate(ray_roadbed_data_shards_total{_RUN}[10m])))"
                     f" / sum by (run) (rate(ray_roadbed_data_shards_total{_RUN}[10m]))", "{{run}}"),),
              lowest=0, highest=1),
        Panel("Samples by themselves", "Samples read one by one each second: dear, where shards would have found no room.",
              "suffix:samples/s", (Query(f"{_rate('ray_roadbed_data_ranges_total', 'run')}"
                     f" or 0 * sum by (run) (ray_roadbed_data_shards_total{_RUN})", "{{run}}"),), lowest=0, runbook="data-bound"),
        Panel("Batches ready", "Decoded batches that wait to be trained on: the least of any worker.", "short",
              (Query(f"min by (run) (ray_roadbed_data_prefetched_batches{_RUN})", "{{run}}"),), lowest=0,
              runbook="data-bound"),
        Panel("Wrong bytes", "Reads of the last hour whose checksum was not the one of dataset.json, from the store or the "
              "cache. They are read again before they count as damaged.", "short",
              (Query(f"sum by (run, source) (increase(ray_roadbed_data_checksum_failures_total{_RUN}[1h]))"
                     f" or 0 * sum by (run, source) (ray_roadbed_data_shards_total{_RUN})", "{{run}} {{source}}"),), lowest=0, thresholds=bad_above(1, 10), runbook="store-errors"),
        Panel("Skipped samples", "Damaged samples of the last hour that training went without.", "short",
              (Query(f"sum by (run) (increase(ray_roadbed_data_skipped_samples_total{_RUN}[1h]))"
                     f" or 0 * sum by (run) (ray_roadbed_data_shards_total{_RUN})", "{{run}}"),), lowest=0,
              thresholds=bad_above(1, 100)),
        Panel("Disks", "Share of a node's disk in use; a full one ends the cache.", "percent",
              (Query("max by (ip) (ray_node_disk_utilization_percentage)", "{{ip}}"),), lowest=0, highest=100,
              thresholds=bad_above(85, 95)),
    ),
)  # fmt: skip

_DATASETS = Row(
    "Datasets",
    (
        Panel("Samples", "Of each split of the newest datasets.", "short",
              (Query("max by (dataset, split) (roadbed_dataset_samples)", "{{dataset}} {{split}}"),), kind="bargauge",
              lowest=0),
        Panel("Size", "Bytes of shards and indexes.", "bytes",
              (Query("max by (dataset) (roadbed_dataset_bytes)", "{{dataset}}"),), kind="bargauge", lowest=0),
        Panel("Damaged", "Datasets whose dataset.json cannot be used.", "short",
              (Query("sum(roadbed_dataset_is_damaged)", "datasets"),), kind="stat",
              thresholds=((None, "green"), (1, "red"))),
    ),
)  # fmt: skip

_EXPORTER = Row(
    "The exporter",
    (
        Panel("Up", "1 while Prometheus gets an answer of the exporter.", "short",
              (Query('max(up{job="roadbed-exporter"})', "exporter"),), kind="state-timeline", width=6,
              thresholds=((None, "red"), (1, "green")), mappings=UP, runbook="exporter-down"),
        Panel("Age", "How old what it tells is, at its oldest part, and how long reading took; it reads every 30 s when "
              "asked.", "s",
              (Query("max(roadbed_exporter_cache_age_seconds)", "age"),
               Query("max by (part) (roadbed_exporter_read_seconds)", "{{part}} took")), width=6, lowest=0),
        Panel("Failed readings", "Readings of the last hour that failed, and parts that are stale now.", "short",
              (Query("sum by (part) (increase(roadbed_exporter_errors_total[1h]))", "{{part}}"),
               Query("sum(roadbed_exporter_is_stale)", "stale")), width=6, lowest=0,
              thresholds=bad_above(1, 10), runbook="store-errors"),
        Panel("Left out", "Damaged objects that were passed over, and what is beyond the newest that are told.", "short",
              (Query("max by (part) (roadbed_exporter_damaged_objects)", "{{part}} damaged"),
               Query("max by (part) (roadbed_exporter_left_out)", "{{part}} beyond the newest")), width=6, lowest=0),
    ),
)  # fmt: skip

DATA = Dashboard(
    "data",
    "Data and store",
    "Requests to the store, caches, checksums, datasets, and the exporter's own health.",
    (_STORE, _READING, _DATASETS, _EXPORTER),
    variables=(Variable("run", "run", "ray_roadbed_store_requests_total", "run"),),
)
