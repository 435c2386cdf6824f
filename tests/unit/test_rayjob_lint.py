"""What `submit` makes passes `lint`: the operator's rules, the schemas of KubeRay's CRDs and their CEL rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kube_objects import crds_folder
from roadbed.kube.lint import faults
from roadbed.kube.profile import built_in_profiles
from roadbed.kube.rayjob import rayjob
from roadbed.kube.schemas import Schemas
from roadbed.spec import TuneJob, load_job, load_kind

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = sorted(path for path in (ROOT / "tests" / "golden").glob("*.yaml") if path.stem != "profiles")


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas(crds_folder())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_manifests_have_no_fault(path: Path, schemas: Schemas) -> None:
    assert [str(fault) for fault in faults([yaml.safe_load(path.read_text())], schemas=schemas)] == []


def test_manifests_of_the_built_in_profiles_have_no_fault(schemas: Schemas) -> None:
    profiles, jobs = built_in_profiles(), ROOT / "jobs"
    elastic = ("workers.num_workers={min: 1, max: 6}", "cluster.deadline_h=2", "cluster.start_deadline_h=1")
    made = [
        rayjob(load_job(jobs / "cityscapes-r50.yaml"), profiles["gpu"], namespace="roadbed"),
        rayjob(load_job(jobs / "camvid-quick.yaml", elastic), profiles["cpu"], namespace="roadbed"),
        rayjob(load_kind(TuneJob, jobs / "camvid-tune.yaml"), profiles["cpu"], namespace="roadbed"),
    ]
    assert [str(fault) for fault in faults(made, schemas=schemas)] == []
