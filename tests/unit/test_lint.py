"""`roadbed lint`: what it may be given, what it prints, and how it leaves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from kube_objects import changed, crds_folder, good_objects
from roadbed.errors import UsageError
from roadbed.kube.lint import OTHER_RULES, RULES, refuse_faults
from roadbed.kube.lint.reading import binary, read_text

ROOT = Path(__file__).parents[2]
Command = Callable[..., tuple[int, str, str]]
JOB = "RayJob/train-one"
BROKEN = changed(good_objects()[JOB], "spec.suspend", True)
WARNED = changed(good_objects()[JOB], "spec.rayClusterSpec.headGroupSpec.rayStartParams", {})


def written(path: Path, *objects: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(objects))
    return path


def test_a_good_manifest_is_clean_and_what_was_not_checked_is_said(roadbed: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "good.yaml", *good_objects().values())
    status, out, err = roadbed("lint", path)
    assert (status, out) == (0, f"objects: {len(good_objects())}, errors: 0, warnings: 0\n")
    assert err == "not checked against schemas: name a folder of CRDs by --crds or ROADBED_CRDS\n"


def test_faults_stand_under_their_file_and_object(roadbed: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "job.yaml", BROKEN)
    status, out, _ = roadbed("lint", path)
    assert status == 1
    assert out == (
        f"{path}  {JOB}\n"
        "  error [job-suspend] spec.shutdownAfterJobFinishes: a suspended RayJob must shut down its cluster\n"
        "    write shutdownAfterJobFinishes: true\n"
        "objects: 1, errors: 1, warnings: 0\n"
    )


def test_warnings_are_errors_only_with_strict(roadbed: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "job.yaml", WARNED)
    assert roadbed("lint", path)[0] == 0
    status, out, _ = roadbed("lint", path, "--strict")
    assert status == 1
    assert "warning [head-works]" in out


def test_rules_can_be_left_out(roadbed: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "job.yaml", BROKEN)
    assert roadbed("lint", path, "--skip", "job-suspend")[0] == 0
    assert roadbed("lint", path, "--skip", "pss-*")[0] == 1
    status, _, err = roadbed("lint", path, "--skip", "job-suspended")
    assert status == 2
    assert "--skip job-suspended: no rule of this name; did you mean job-suspend?" in err


def test_json_holds_the_same(roadbed: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "job.yaml", WARNED, BROKEN)
    status, out, _ = roadbed("lint", path, "--json")
    said = json.loads(out)
    assert status == 1
    assert (said["objects"], said["errors"], said["warnings"], said["crds"]) == (2, 2, 1, None)
    by_rule = {fault["rule"]: fault for fault in said["faults"]}
    assert set(by_rule) == {"head-works", "job-suspend", "twice"}
    assert by_rule["job-suspend"]["object"] == JOB
    assert by_rule["job-suspend"]["path"] == "spec.shutdownAfterJobFinishes"
    assert by_rule["job-suspend"]["source"] == str(path)
    assert by_rule["job-suspend"]["number"] == 1


def test_stdin_folders_and_lists_are_read(roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(good_objects().values())})
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert roadbed("lint", "-")[:2] == (0, f"objects: {len(good_objects())}, errors: 0, warnings: 0\n")
    written(tmp_path / "jobs" / "a.yaml", good_objects()[JOB])
    written(tmp_path / "jobs" / "more" / "b.yml", BROKEN)
    written(tmp_path / "jobs" / "more" / "kustomization.yaml", {"kind": "Component"})  # no object
    status, out, _ = roadbed("lint", tmp_path / "jobs")
    assert status == 1
    assert "error [twice]" in out  # Over files.
    assert str(tmp_path / "jobs" / "more" / "b.yml") in out


def test_keys_that_stand_twice_are_told(roadbed: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: a, x: b}}\nkind: ConfigMap\n")
    status, out, _ = roadbed("lint", path)
    assert status == 1
    assert "error [duplicate-key] metadata.labels.x" in out
    assert "error [duplicate-key] kind" in out


def test_schemas_are_checked_where_a_folder_is_named(
    roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    road = {"apiVersion": "example.org/v1", "kind": "Road", "metadata": {"name": "a"}}
    path = written(tmp_path / "job.yaml", changed(good_objects()[JOB], "spec.entrypiont", "x"), road)
    status, out, err = roadbed("lint", path, "--crds", crds_folder())
    assert status == 1
    assert "error [schema] spec.entrypiont: spec has no field entrypiont\n    did you mean entrypoint?" in out
    assert err == "not checked, no schema in --crds: example.org/Road\n"
    monkeypatch.setenv("ROADBED_CRDS", str(crds_folder()))
    assert roadbed("lint", path)[:2] == (status, out)
    monkeypatch.setattr("roadbed.kube.schemas.has_cel", lambda: False)
    assert "rules in CEL were not evaluated" in roadbed("lint", path)[2]


def test_secrets_that_there_are_can_be_named(roadbed: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "job.yaml", good_objects()[JOB])
    assert roadbed("lint", path, "--secret", "store")[0] == 0
    status, out, _ = roadbed("lint", path, "--secret", "registry")
    assert status == 1
    assert "error [secret-missing]" in out


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart of one Deployment, whose image is a value."""
    folder = tmp_path / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 0.1.0\n")
    (folder / "values.yaml").write_text("version: 0.1.0\n")
    exporter = changed(good_objects()["Deployment/exporter"], "metadata.namespace", "{{ .Release.Namespace }}")
    exporter = changed(
        exporter, "spec.template.spec.containers[0].image", 'roadbed:{{ required "a version" .Values.version }}'
    )
    (folder / "templates" / "exporter.yaml").write_text(yaml.safe_dump(exporter))
    return folder


def test_a_chart_is_rendered_with_its_values(roadbed: Command, chart: Path, tmp_path: Path) -> None:
    assert roadbed("lint", chart)[0] == 0
    values = tmp_path / "values.yaml"
    values.write_text("version: latest\n")
    status, out, _ = roadbed("lint", chart, values, "--strict")
    assert status == 1
    assert out.startswith("small/templates/exporter.yaml  Deployment/exporter\n  warning [image-latest]")


def test_what_helm_refuses_is_told_in_its_words(roadbed: Command, chart: Path, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("version:\n")
    status, _, err = roadbed("lint", chart, values)
    assert status == 1
    assert "helm refuses it: " in err
    assert "a version" in err
    assert roadbed("lint", chart, tmp_path / "missing.yaml")[0] == 2


def test_a_kustomize_folder_is_built(roadbed: Command, tmp_path: Path) -> None:
    written(tmp_path / "budget.yaml", good_objects()["PodDisruptionBudget/heads"])
    patch = [{"op": "replace", "path": "/spec/minAvailable", "value": "50%"}]
    kustomization = {
        "resources": ["budget.yaml"],
        "patches": [{"target": {"kind": "PodDisruptionBudget"}, "patch": yaml.safe_dump(patch)}],
    }
    written(tmp_path / "kustomization.yaml", kustomization)
    status, out, _ = roadbed("lint", tmp_path)
    assert status == 1
    assert f"{tmp_path}  PodDisruptionBudget/heads\n  error [budget] spec.minAvailable: 50%" in out
    assert "objects: 1," in out


def test_a_tool_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(UsageError, match="helm is not on PATH; install it"):
        binary("helm")


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_job_of_ours_becomes_a_rayjob_without_a_fault(roadbed: Command, path: Path) -> None:
    status, out, _ = roadbed("lint", path, "--crds", crds_folder(), "--strict")
    assert status == 0, out
    number = 0 if yaml.safe_load(path.read_text())["kind"] == "serve" else 1
    assert out == f"objects: {number}, errors: 0, warnings: 0\n"


def test_a_job_spec_that_is_not_valid_has_faults_of_its_own(roadbed: Command, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("kind: train\nname: a\ndata: {uri: 's3://b/c', crop: [1, 1]}\ntrain: {epochs: none}\n")
    status, out, _ = roadbed("lint", path)
    assert status == 1
    assert out.startswith(f"{path}  train/a\n  error [spec] ")
    assert "unknown key data.crop\n    did you mean data.crop_px?" in out
    assert "error [spec] train.epochs: " in out
    assert "objects: 0, errors: 2" in out


def test_a_job_spec_that_does_not_fit_its_profile_is_told(roadbed: Command, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("kind: train\nname: 1-a\ndata: {uri: 's3://b/c'}\nworkers: {num_workers: 1}\n")
    status, out, _ = roadbed("lint", job)
    assert status == 1
    assert "error [spec] name: 1-a cannot name a RayJob" in out
    profiles = tmp_path / "profiles.yaml"
    profiles.write_text("small: {image: 'roadbed:latest', worker: {cpus: 1, memory_gib: 4, shm_gib: 1}}\n")
    job.write_text("kind: train\nname: a\ndata: {uri: 's3://b/c'}\nworkers: {num_workers: 1, cpus_per_worker: 1}\n")
    status, out, _ = roadbed("lint", job, "--profile", "small", "--profiles", profiles)
    assert status == 0
    assert "warning [image-latest]" in out
    status, _, err = roadbed("lint", job, "--profile", "smal", "--profiles", profiles)
    assert status == 2
    assert "did you mean small?" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a job spec, a manifest, a folder or a chart"),
        (["missing.yaml"], "no such file or folder"),
        (["empty"], "no YAML file is in this folder"),
        ([str(ROOT / "helm")], f"holds the chart {ROOT / 'helm' / 'roadbed'}; name that by itself"),
        (["binary.yaml"], "is no text"),
        (["broken.yaml"], "not YAML of Kubernetes objects"),
        (["circle.yaml"], "not YAML of Kubernetes objects"),
        (["good.yaml", "--crds", "empty"], "no CRD schemas"),
    ],
)
def test_what_cannot_be_meant_leaves_with_2(
    roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "circle.yaml").write_text("a: &a [*a]")
    written(tmp_path / "good.yaml", good_objects()[JOB])
    status, _, err = roadbed("lint", *words)
    assert status == 2
    assert said in err


def test_objects_are_read_as_the_api_server_gets_them() -> None:
    (one,) = read_text("apiVersion: v1\nmetadata: {annotations: {since: 2026-01-01, 1: yes}}\n---\n", origin="x")
    assert one.obj["metadata"]["annotations"] == {"since": "2026-01-01", "1": True}


def test_the_table_of_rules_can_be_printed(roadbed: Command) -> None:
    status, out, _ = roadbed("lint", "--rules")
    assert status == 0
    for name in [rule.id for rule in RULES] + list(OTHER_RULES):
        assert any(line.startswith(name) for line in out.splitlines()), name


def examples(pattern: str) -> list[Path]:
    return sorted(ROOT.glob(pattern))


@pytest.mark.parametrize("values", examples("helm/roadbed/examples/*.yaml"), ids=lambda path: path.stem)
def test_the_chart_has_no_fault_with_any_example(roadbed: Command, values: Path) -> None:
    status, out, _ = roadbed("lint", ROOT / "helm" / "roadbed", values, "--crds", crds_folder())
    assert status == 0, out


@pytest.mark.parametrize("path", examples("k8s/**/kustomization.yaml"), ids=lambda path: path.parent.name)
def test_the_folders_of_k8s_have_no_fault(roadbed: Command, path: Path) -> None:
    status, out, _ = roadbed("lint", path.parent, "--crds", crds_folder())
    assert status == 0, out


def test_nothing_with_an_error_is_sent_and_warnings_are_told() -> None:
    told: list[str] = []
    refuse_faults([good_objects()[JOB]], notify=told.append)
    assert told == []
    refuse_faults([WARNED], notify=told.append)
    assert len(told) == 1
    assert told[0].startswith(
        f"warning: {JOB}: spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus: the head works"
    )
    with pytest.raises(UsageError, match=r"RayJob/train-one: spec\.shutdownAfterJobFinishes: .*job-suspend"):
        refuse_faults([BROKEN], notify=told.append)


def test_the_page_of_rules_is_that_of_the_program() -> None:
    """docs/lint.md holds the table of `roadbed lint --rules`, a row a rule."""
    page = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    rows = [f"| `{rule.id}` | {rule.severity} | {rule.looks_at} | {rule.refuses} |" for rule in RULES]
    rows += [f"| `{name}` | error |  | {refuses} |" for name, refuses in OTHER_RULES.items()]
    written = [line for line in page.splitlines() if line.startswith("| `")]
    assert written == rows
