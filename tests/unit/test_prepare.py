"""Preparing a dataset: the same bytes every time, all problems at once, dataset.json last."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from roadbed.data.dataset import Dataset
from roadbed.data.labels import CAMVID_11, CAMVID_32
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources import SampleRef, natural_order
from roadbed.data.sources.painted import PaintedSource
from roadbed.errors import ConflictError, DataError
from roadbed.storage import open_store

COUNTS = {"train": 7, "val": 3}
SIZE_PX = (64, 80)
SMALL = PrepareOptions(samples_per_shard=3)


def painted(counts=COUNTS, **options) -> PaintedSource:
    return PaintedSource(counts, size_px=SIZE_PX, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


class ListedSource:
    """Grey frames under given keys; `faults` are what `check` and `read` find wrong with a key."""

    kind = "listed"
    label_space = CAMVID_11

    def __init__(self, keys, *, faults=None, problems=(), mask_id=0, mask_shape=(32, 32), on_read=None):
        self.splits = {split: [SampleRef(key) for key in names] for split, names in keys.items()}
        self.problems = problems
        self._faults = faults or {}
        self._mask = np.full(mask_shape, mask_id, np.uint8)
        self._on_read = on_read

    def check(self, ref):
        return self._faults.get(ref.key, [])

    def read(self, ref):
        if self._on_read:
            self._on_read(ref)
        return np.full((32, 32, 3), 90, np.uint8), self._mask

    def fingerprint(self):
        return "0" * 64


def test_any_number_of_threads_writes_the_same_bytes(tmp_path):
    for name, num_threads in (("one", 1), ("four", 4)):
        prepare(painted(), open_store(str(tmp_path / name)), options=SMALL, num_threads=num_threads)
    assert files(tmp_path / "one") == files(tmp_path / "four")
    expected = ["dataset.json", "train-000000.tar", "train-000001.tar", "train-000002.tar", "train.index"]
    assert sorted(files(tmp_path / "one")) == [*expected, "val-000000.tar", "val.index"]


def test_every_sum_is_that_of_its_file(tmp_path):
    prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    values = json.loads((tmp_path / "dataset.json").read_text())
    for split in values["splits"].values():
        for info in (*split["shards"], split["index"]):
            data = (tmp_path / info["key"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (info["num_bytes"], info["sha256"])
    assert [shard["num_samples"] for shard in values["splits"]["train"]["shards"]] == [3, 3, 1]


def test_keys_are_numbered_in_natural_order(tmp_path):
    dataset = prepare(ListedSource({"train": ["f10", "f2", "f1.5", "f1"]}), open_store(str(tmp_path)))
    assert [dataset.split("train").key(sample) for sample in range(4)] == ["f1", "f1.5", "f2", "f10"]
    assert sorted(["a1b", "a10", "a2", "a01", "1", "b"], key=natural_order) == ["1", "a01", "a1b", "a2", "a10", "b"]


def test_a_split_may_be_empty_but_train(tmp_path):
    dataset = prepare(painted({"train": 2, "val": 0}), open_store(str(tmp_path)))
    assert (dataset.split("val").num_samples, dataset.split("val").index.num_samples) == (0, 0)
    with pytest.raises(DataError, match=r"split train has no samples.*splits found: val \(1\)"):
        prepare(ListedSource({"val": ["a"]}), open_store(str(tmp_path / "other")))


def test_the_same_again_is_reused_and_nothing_is_read(tmp_path):
    first = prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    calls = []
    progress = lambda *counts: calls.append(counts)  # noqa: E731
    again = prepare(painted(), open_store(str(tmp_path)), options=SMALL, progress=progress)
    assert again.digest == first.digest
    assert not calls
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_dataset_that_lost_a_shard_is_made_again(tmp_path):
    first = prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    (tmp_path / "train-000001.tar").unlink()
    again = prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    assert again.digest == first.digest
    again.split("train").read_shard(1)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (painted(seed=1), SMALL, r"it was made from painted \w{12}..., asked for painted \w{12}..."),
        (ListedSource({"train": ["a"]}), SMALL, "asked for listed 000000000000..."),
        (painted(label_space=CAMVID_32), SMALL, "classes are camvid-11, asked for camvid-32"),
        (painted(), PrepareOptions(), "samples_per_shard is 3, asked for 32"),
        (painted(), PrepareOptions(samples_per_shard=3, image_encoding="png"), "image_encoding is jpeg, asked for png"),
    ],
)
def test_another_dataset_is_not_overwritten(tmp_path, source, options, words):
    prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    before = files(tmp_path)
    with pytest.raises(DataError, match=words) as caught:
        prepare(source, open_store(str(tmp_path)), options=options)
    assert "choose another destination, or pass --replace to delete this one" in str(caught.value)
    assert files(tmp_path) == before


def test_replace_leaves_nothing_of_the_old_dataset(tmp_path):
    prepare(painted(), open_store(str(tmp_path / "a")), options=SMALL)
    fresh = painted({"train": 2, "val": 1}, seed=5)
    prepare(fresh, open_store(str(tmp_path / "a")), options=SMALL, replace=True)
    prepare(fresh, open_store(str(tmp_path / "b")), options=SMALL)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_replace_gets_rid_of_a_damaged_dataset(tmp_path):
    prepare(painted(), open_store(str(tmp_path)))
    (tmp_path / "dataset.json").write_text("{")
    dataset = prepare(painted(), open_store(str(tmp_path)), replace=True)
    assert dataset.split("train").num_samples == 7


def test_all_problems_are_listed_and_nothing_is_written(tmp_path):
    keys = [f"f{number}" for number in range(30)]
    faults = {key: [f"{key}: cut short", f"{key}: no mask"] for key in keys[4:16]}
    source = ListedSource({"train": keys}, faults=faults, problems=["x.png: no mask for it"])
    with pytest.raises(DataError) as caught:
        prepare(source, open_store(str(tmp_path / "new")), options=SMALL)
    lines = str(caught.value).splitlines()
    assert lines[0] == "listed: 25 problems, nothing was written"
    assert lines[1:4] == ["x.png: no mask for it", "f4: cut short", "f4: no mask"]
    assert lines[-1] == "... and 5 more"
    assert len(lines) == 22
    assert not (tmp_path / "new").exists() or not files(tmp_path / "new")


def test_problems_leave_the_dataset_that_is_there(tmp_path):
    prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    before = files(tmp_path)
    with pytest.raises(DataError, match="1 problem, nothing was written\nbad file"):
        prepare(ListedSource({"train": ["a"]}, problems=["bad file"]), open_store(str(tmp_path)), replace=True)
    assert files(tmp_path) == before


def test_doubled_and_impossible_keys_are_problems(tmp_path):
    source = ListedSource({"train": ["a", "b", "a", "k" * 99]})
    with pytest.raises(
        DataError, match="split train: keys that occur more than once: 1, the first a; rename"
    ) as caught:
        prepare(source, open_store(str(tmp_path)))
    assert "99 characters in a tar, at most 91 fit" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask_id": 11}, r"mask ids \[11\] are no classes of camvid-11 \(0..10\)"),
        ({"mask_shape": (32, 30)}, r"frame \(32, 32, 3\) and mask \(32, 30\) must have the same height and width"),
    ],
)
def test_what_a_source_must_not_give_is_refused(tmp_path, options, words):
    with pytest.raises(DataError, match=words):
        prepare(ListedSource({"train": ["a"]}, **options), open_store(str(tmp_path)))
    assert "dataset.json" not in files(tmp_path)


def test_an_interrupted_preparation_is_no_dataset_and_runs_again(tmp_path):
    def stop_at_the_last(ref):
        if ref.key == "f8":
            raise KeyboardInterrupt

    keys = {"train": [f"f{number}" for number in range(9)]}
    with pytest.raises(KeyboardInterrupt):
        prepare(ListedSource(keys, on_read=stop_at_the_last), open_store(str(tmp_path)), options=SMALL, num_threads=1)
    assert "train-000000.tar" in files(tmp_path)
    assert "dataset.json" not in files(tmp_path)
    dataset = prepare(ListedSource(keys), open_store(str(tmp_path)), options=SMALL)
    assert dataset.split("train").num_samples == 9


def test_whoever_publishes_second_is_told(tmp_path):
    store = open_store(str(tmp_path))

    def publish_another(_ref):
        if not (tmp_path / "dataset.json").exists():
            store.put("dataset.json", b"{}")

    with pytest.raises(ConflictError, match="somebody else published another dataset here in the meantime"):
        prepare(ListedSource({"train": ["a"]}, on_read=publish_another), store)


def test_progress_ends_with_all_samples(tmp_path):
    calls = []
    prepare(painted(), open_store(str(tmp_path)), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (10, 10)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_png_frames_are_stored_without_loss(tmp_path):
    dataset = prepare(painted(), open_store(str(tmp_path)), options=PrepareOptions(image_encoding="png"))
    image_HW3, _ = Dataset.open(str(tmp_path)).split("val").read_sample(2)
    assert (image_HW3 == painted().read(painted().splits["val"][2])[0]).all()
    assert dataset.manifest.options.image_encoding == "png"
