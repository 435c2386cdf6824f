"""`roadbed data list`: all datasets below a prefix, damaged ones with their reason, by dataset.json alone."""

from __future__ import annotations

import json

import pytest

from roadbed.cli import main
from roadbed.data.catalog import list_datasets
from roadbed.data.prepare import prepare
from roadbed.data.sources.painted import PaintedSource
from roadbed.data.verify import named_objects
from roadbed.storage import open_store


@pytest.fixture
def root(tmp_path):
    """Two datasets, one of them deeper, a damaged one, and folders of something else."""
    folder = tmp_path / "store" / "datasets"
    for name in ("town", "old/town"):
        source = PaintedSource({"train": 3, "val": 1}, size_px=(64, 80))
        dataset = prepare(source, open_store(str(folder / name)))
        for key in named_objects(dataset.manifest):
            (folder / name / key).write_bytes(b"")  # nothing but dataset.json is needed
    (folder / "cut").mkdir()
    (folder / "cut" / "dataset.json").write_bytes((folder / "town" / "dataset.json").read_bytes()[:100])
    (folder / "raw" / "images").mkdir(parents=True)
    (folder / "raw" / "images" / "a.png").write_bytes(b"")
    return folder


def test_datasets_are_found_at_any_depth(root):
    entries = {entry.uri.removeprefix(f"file://{root}/"): entry for entry in list_datasets(open_store(str(root)))}
    assert list(entries) == ["cut", "old/town", "town"]
    town = entries["town"]
    assert (town.source, town.label_space, town.num_classes) == ("painted", "camvid-11", 11)
    assert (town.splits, town.problem) == ({"train": 3, "val": 1}, None)
    assert entries["old/town"].digest == town.digest
    assert entries["cut"].problem is not None
    assert entries["cut"].problem.startswith("not JSON")


def test_a_dataset_at_the_root_is_listed_alone(root):
    assert [entry.uri for entry in list_datasets(open_store(str(root / "town")))] == [f"file://{root}/town"]


def test_the_table_shows_damaged_ones_with_their_reason(root, capsys):
    main(["data", "list", "--store", str(root.parent)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == [
        "dataset",
        *(f"file://{root}/{name}" for name in ("cut", "old/town", "town")),
    ]
    digest = list_datasets(open_store(str(root)))[2].digest
    assert lines[3].split()[1:8] == [digest[:12], "painted", "camvid-11", "(11)", "3", "train,", "1"]
    assert lines[1].split()[1:] == ["damaged"]
    assert lines[4].startswith(f"file://{root}/cut: not JSON")


def test_json_is_for_programs(root, capsys):
    main(["data", "list", str(root), "--json"])
    entries = json.loads(capsys.readouterr().out)
    assert [entry["problem"] is None for entry in entries] == [False, True, True]
    assert entries[1]["splits"] == {"train": 3, "val": 1}
    assert entries[1]["num_bytes"] > 1000


def test_where_nothing_is_the_way_to_something_is_told(tmp_path, capsys):
    main(["data", "list", str(tmp_path)])
    out = capsys.readouterr().out
    assert out == f"no datasets below {tmp_path}; make one with `roadbed data prepare painted {tmp_path}/town`\n"
