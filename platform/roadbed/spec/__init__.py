"""The job spec: one YAML file, validated once at the door, frozen afterwards."""

from roadbed.spec.cluster import ClusterSpec
from roadbed.spec.data import DataSpec
from roadbed.spec.dimension import Dimension
from roadbed.spec.job import ServeJob, TrainJob, TuneJob
from roadbed.spec.load import dump_job, explain, load_any, load_job, load_kind, parse_any, parse_job, parse_kind
from roadbed.spec.loss import LossSpec
from roadbed.spec.model import ModelSpec
from roadbed.spec.output import OutputSpec
from roadbed.spec.serve import ServeSpec
from roadbed.spec.train import TrainSpec
from roadbed.spec.tune import SchedulerSpec, TuneSpec
from roadbed.spec.workers import RetriesSpec, WorkersSpec

__all__ = [
    "ClusterSpec",
    "DataSpec",
    "Dimension",
    "LossSpec",
    "ModelSpec",
    "OutputSpec",
    "RetriesSpec",
    "SchedulerSpec",
    "ServeJob",
    "ServeSpec",
    "TrainJob",
    "TrainSpec",
    "TuneJob",
    "TuneSpec",
    "WorkersSpec",
    "dump_job",
    "explain",
    "load_any",
    "load_job",
    "load_kind",
    "parse_any",
    "parse_job",
    "parse_kind",
]
