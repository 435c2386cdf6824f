"""Variables, annotations and panels that several dashboards have."""

from __future__ import annotations

from dashboards.parts import Annotation, Panel, Query, Variable, bad_above

CLUSTER = Variable("cluster", "cluster", "ray_node_cpu_utilization", "ray_io_cluster")

PROMOTIONS = Annotation(
    "promotion",
    "changes(roadbed_model_alias_version[2m]) > 0",
    "{{model}}: {{alias}} moved",
    "purple",
)

FRAMES = "suffix:frames/s"
STATES = {
    "running": "blue",
    "retrying": "yellow",
    "finished": "green",
    "stopped": "#8e8e8e",
    "lost": "orange",
    "failed": "red",
}
STATUS = {"200": "green", "400": "yellow", "413": "yellow", "415": "yellow", "429": "orange", "499": "#8e8e8e",
          "500": "red", "502": "red", "503": "red", "504": "red"}  # fmt: skip
UP = {"0": ("no", "red"), "1": ("yes", "green")}


def hardware(width: int = 8) -> tuple[Panel, ...]:
    """How busy the machines of `$cluster` are."""
    return (
        Panel(
            "Processors",
            "Share of the CPUs in use, node by node. A training that waits for data at full CPUs needs more of them.",
            "percent",
            (Query('max by (ip) (ray_node_cpu_utilization{ray_io_cluster=~"$cluster"})', "{{ip}}"),),
            width=width, lowest=0, highest=100,
        ),
        Panel(
            "Memory",
            "Share of the memory in use, node by node. Near 100 % Ray ends workers, which shows as cause `memory`.",
            "percentunit",
            (
                Query(
                    'max by (ip) (ray_node_mem_used{ray_io_cluster=~"$cluster"})'
                    ' / max by (ip) (ray_node_mem_total{ray_io_cluster=~"$cluster"})',
                    "{{ip}}",
                ),
            ),
            width=width, lowest=0, highest=1, thresholds=bad_above(0.85, 0.95),
        ),
        Panel(
            "GPUs",
            "How busy each GPU is, as Ray sees it. None are shown where there are none.",
            "percent",
            (
                Query(
                    'max by (ip, GpuIndex) (ray_node_gpus_utilization{ray_io_cluster=~"$cluster"})',
                    "{{ip}} GPU {{GpuIndex}}",
                ),
            ),
            width=width, lowest=0, highest=100,
        ),
    )  # fmt: skip
