"""Preparing a dataset: the same bytes every time, all problems at once, dataset.json last."""

from __future__ import annotations

import hashlib
import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from roadbed.data.dataset import Dataset
from roadbed.data.encoding import encode_image
from roadbed.data.labels import CAMVID_11, CAMVID_32
from roadbed.data.parallel import Threads
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.data.sources import SampleRef, natural_order
from roadbed.data.sources.painted import PaintedSource
from roadbed.data.verify import verify
from roadbed.errors import ConflictError, DamagedError, DataError
from roadbed.storage import open_store
from support import BlocksSource

COUNTS = {"train": 7, "val": 3}
SIZE_PX = (64, 80)
SMALL = PrepareOptions(samples_per_shard=3)
KILL_TIMEOUT_S = 60.0
GREY = np.full((32, 32, 3), 90, np.uint8)


def painted(counts=COUNTS, **options) -> PaintedSource:
    return PaintedSource(counts, size_px=SIZE_PX, **options)


def files(folder: Path) -> dict[str, bytes]:
    """All objects of a folder, by key."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def the_shard(folder: Path, name: str) -> Path:
    (path,) = folder.glob(f"*/{name}")
    return path


class ListedSource:
    """Grey frames under given keys; `faults` are what `check` and `read` find wrong with a key."""

    kind = "listed"
    label_space = CAMVID_11
    settings = ""

    def __init__(self, keys, *, faults=None, problems=(), mask_id=0, mask_shape=(32, 32), on_read=None):
        self.splits = {split: [SampleRef(key) for key in names] for split, names in keys.items()}
        self.problems = problems
        self._faults = faults or {}
        self._mask = np.full(mask_shape, mask_id, np.uint8)
        self._on_read = on_read
        self.keys_read: list[str] = []

    def digest(self, ref):
        return hashlib.sha256(ref.key.encode()).hexdigest()

    def check(self, ref):
        return self._faults.get(ref.key, [])

    def read(self, ref):
        if self._on_read:
            self._on_read(ref)
        self.keys_read.append(ref.key)
        if ref.key in self._faults:
            raise DataError(self._faults[ref.key][0])
        return np.full((32, 32, 3), 90, np.uint8), self._mask


def test_any_number_of_threads_writes_the_same_bytes(tmp_path):
    for num_threads in (1, 3):
        prepare(painted(), open_store(str(tmp_path / str(num_threads))), options=SMALL, mapper=Threads(num_threads))
    assert files(tmp_path / "1") == files(tmp_path / "3")
    below, above = sorted(files(tmp_path / "1"), key=lambda key: key == "dataset.json"), ["dataset.json"]
    folder = below[0].partition("/")[0]
    names = ["train-000000.tar", "train-000001.tar", "train-000002.tar", "train.index", "val-000000.tar", "val.index"]
    assert sorted(below) == sorted([*(f"{folder}/{name}" for name in names), *above])
    assert len(folder) == 12


def test_every_sample_is_read_once(tmp_path):
    source = ListedSource({"train": [f"f{number}" for number in range(9)], "val": ["v"]})
    prepare(source, open_store(str(tmp_path)), options=SMALL)
    assert sorted(source.keys_read) == sorted([*(f"f{number}" for number in range(9)), "v"])


@pytest.mark.parametrize("source", [painted(), BlocksSource()])
def test_sources_travel(source):
    again = pickle.loads(pickle.dumps(source))
    ref = pickle.loads(pickle.dumps(source.splits["val"][1]))
    assert ref == source.splits["val"][1]
    assert (again.digest(ref), again.settings) == (source.digest(ref), source.settings)
    assert all((ours == theirs).all() for ours, theirs in zip(again.read(ref), source.read(ref), strict=True))


class Weighing(Threads):
    """Threads that note how many bytes each function would be on its way to another process."""

    def __init__(self):
        super().__init__(1)
        self.num_bytes = []

    def map(self, function, items, *, count):
        self.num_bytes.append(len(pickle.dumps(function)))
        return super().map(function, items, count=count)


def test_what_travels_to_every_worker_does_not_grow_with_the_samples(tmp_path):
    weighed = []
    for num_samples in (2, 200):
        mapper = Weighing()
        source = BlocksSource(train=num_samples, val=1, size_px=8)
        prepare(source, open_store(str(tmp_path / "town")), mapper=mapper, replace=True)
        assert len(source.splits["train"]) == num_samples
        weighed.append(mapper.num_bytes)
    assert weighed[0] == weighed[1]
    assert len(weighed[0]) == 2


def fingerprint_of(tmp_path: Path, name: str, source) -> str:
    return prepare(source, open_store(str(tmp_path / name))).manifest.source.fingerprint


def test_the_fingerprint_follows_all_that_determines_the_samples(tmp_path):
    class Resized(ListedSource):
        settings = "resized"

    class Renamed(ListedSource):
        kind = "renamed"

    class Changed(ListedSource):
        def digest(self, ref):
            return hashlib.sha256(b"other bytes").hexdigest()

    keys = {"train": ["ab", "c"], "val": ["d"]}
    first = fingerprint_of(tmp_path, "first", ListedSource(keys))
    assert fingerprint_of(tmp_path, "again", ListedSource({"val": ["d"], "train": ["c", "ab"]})) == first
    others = [made(keys) for made in (Resized, Renamed, Changed)]
    others += [ListedSource({"train": ["a", "bc"], "val": ["d"]}), ListedSource({"train": ["ab", "c", "d"]})]
    others += [painted(label_space=CAMVID_32), painted(), painted(seed=1)]
    prints = {fingerprint_of(tmp_path, str(number), source) for number, source in enumerate(others)}
    assert len({first, *prints}) == 9


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
    keys = {"train": ["a", "b", "c", "d"]}
    first = prepare(ListedSource(keys), open_store(str(tmp_path)), options=SMALL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    calls = []
    source = ListedSource(keys)
    progress = lambda *counts: calls.append(counts)  # noqa: E731
    again = prepare(source, open_store(str(tmp_path)), options=SMALL, progress=progress)
    assert again.digest == first.digest
    assert source.keys_read == []
    assert calls[-1] == (2, 4)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_dataset_that_lost_a_shard_is_made_again(tmp_path):
    first = prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    the_shard(tmp_path, "train-000001.tar").unlink()
    again = prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    assert again.digest == first.digest
    again.split("train").read_shard(1)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (painted(seed=1), SMALL, r"it was made from painted \w{12}..., asked for painted \w{12}..."),
        (ListedSource({"train": ["a"]}), SMALL, r"it was made from painted \w{12}..., asked for listed \w{12}..."),
        (painted(label_space=CAMVID_32), SMALL, "classes are camvid-11, asked for camvid-32"),
        (painted(), PrepareOptions(), "samples_per_shard is 3, asked for 32"),
        (painted(), PrepareOptions(samples_per_shard=3, image_encoding="png"), "image_encoding is jpeg, asked for png"),
        (painted(), PrepareOptions(3, mask_encoding="zstd"), "mask_encoding is png, asked for zstd"),
        (painted(), PrepareOptions(3, jpeg_quality=90), "jpeg_quality is 95, asked for 90"),
    ],
)
def test_another_dataset_is_not_overwritten(tmp_path, source, options, words):
    prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    before = files(tmp_path)
    with pytest.raises(DataError, match=words) as caught:
        prepare(source, open_store(str(tmp_path)), options=options)
    assert "choose another destination, or pass --replace to put the new one in its place" in str(caught.value)
    assert files(tmp_path) == before


def test_replace_leaves_nothing_of_the_old_dataset(tmp_path):
    prepare(painted(), open_store(str(tmp_path / "a")), options=SMALL)
    fresh = painted({"train": 2, "val": 1}, seed=5)
    prepare(fresh, open_store(str(tmp_path / "a")), options=SMALL, replace=True)
    prepare(fresh, open_store(str(tmp_path / "b")), options=SMALL)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_replace_keeps_the_old_dataset_readable_until_the_end(tmp_path):
    old = prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    digests = []

    def look(_ref):
        found = Dataset.open(str(tmp_path))
        digests.append(found.digest)
        found.split("train").read_shard(2)

    prepare(ListedSource({"train": ["a", "b"]}, on_read=look), open_store(str(tmp_path)), replace=True)
    assert digests == [old.digest] * 2


def test_replace_makes_a_damaged_shard_anew(tmp_path):
    first = prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    before = files(tmp_path)
    path = the_shard(tmp_path, "train-000001.tar")
    path.write_bytes(path.read_bytes()[::-1])
    assert prepare(painted(), open_store(str(tmp_path)), options=SMALL, replace=True).digest == first.digest
    assert files(tmp_path) == before


def lose(path: Path) -> None:
    path.unlink()


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize(("spoil", "replace"), [(lose, False), (lose, True), (damage, True)])
@pytest.mark.parametrize(("name", "keys_read"), [("train-000001.tar", ["f3", "f4", "f5"]), ("train.index", [])])
def test_only_what_is_lost_or_damaged_is_made_and_put(tmp_path, spoil, replace, name, keys_read):
    prepare(ListedSource(KEYS), open_store(str(tmp_path)), options=SMALL)
    before = files(tmp_path)
    kept = [path for path in tmp_path.glob("*/train*") if path.name != name]
    written_at = [path.stat().st_mtime_ns for path in kept]
    spoil(the_shard(tmp_path, name))
    source = ListedSource(KEYS)
    calls = []
    progress = lambda *counts: calls.append(counts)  # noqa: E731
    prepare(source, open_store(str(tmp_path)), options=SMALL, replace=replace, progress=progress)
    assert source.keys_read == keys_read
    assert calls[-1] == (9, 9)
    assert files(tmp_path) == before
    assert [path.stat().st_mtime_ns for path in kept] == written_at


@pytest.mark.parametrize("is_told", [True, False])
def test_other_encoders_write_beside_and_never_over(tmp_path, monkeypatch, is_told):
    old = prepare(ListedSource(KEYS), open_store(str(tmp_path)), options=SMALL)
    the_shard(tmp_path, "train-000002.tar").unlink()
    before = files(tmp_path)
    if is_told:
        monkeypatch.setattr("roadbed.data.prepare.ENCODERS", "cv2 of tomorrow")
    monkeypatch.setattr("roadbed.data.packing.encode_image", lambda *_, **__: encode_image(GREY, encoding="png"))

    def look(_ref):
        assert before.items() <= files(tmp_path).items()

    new = prepare(ListedSource(KEYS, on_read=look), open_store(str(tmp_path)), options=SMALL, replace=True)
    assert new.digest != old.digest
    assert verify(open_store(str(tmp_path))).is_whole
    assert not before.keys() & files(tmp_path).keys() - {"dataset.json"}


def test_what_cannot_be_mended_for_its_samples_leaves_all_as_it_was(tmp_path):
    prepare(ListedSource(KEYS), open_store(str(tmp_path)), options=SMALL)
    the_shard(tmp_path, "train-000001.tar").unlink()
    before = files(tmp_path)
    with pytest.raises(DataError, match="listed: 1 problem, nothing was published\nf4: cut short"):
        prepare(ListedSource(KEYS, faults={"f4": ["f4: cut short"]}), open_store(str(tmp_path)), options=SMALL)
    assert files(tmp_path) == before


def test_replace_gets_rid_of_a_damaged_dataset(tmp_path):
    prepare(painted(), open_store(str(tmp_path)))
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DamagedError, match=r"dataset\.json is damaged"):
        prepare(painted(), open_store(str(tmp_path)))
    dataset = prepare(painted(), open_store(str(tmp_path)), replace=True)
    assert dataset.split("train").num_samples == 7


def test_all_problems_are_listed_and_nothing_is_written(tmp_path):
    keys = [f"f{number}" for number in range(30)]
    faults = {key: [f"{key}: cut short", f"{key}: no mask"] for key in keys[4:16]}
    source = ListedSource({"train": keys}, faults=faults, problems=["x.png: no mask for it"])
    with pytest.raises(DataError) as caught:
        prepare(source, open_store(str(tmp_path / "new")), options=SMALL)
    lines = str(caught.value).splitlines()
    assert lines[0] == "listed: 25 problems, nothing was published"
    assert lines[1:4] == ["x.png: no mask for it", "f4: cut short", "f4: no mask"]
    assert lines[-1] == "... and 5 more"
    assert len(lines) == 22
    assert not (tmp_path / "new").exists() or not files(tmp_path / "new")


def test_files_that_change_after_they_were_digested_are_problems(tmp_path):
    class Changing(ListedSource):
        def digest(self, ref):
            is_other = ref.key == "f1" and "f0" in self.keys_read
            return hashlib.sha256(b"other" if is_other else ref.key.encode()).hexdigest()

    with pytest.raises(DataError, match=r"listed: 1 problem, .*\nf1: changed while it was prepared; run it again$"):
        prepare(Changing(KEYS), open_store(str(tmp_path)), options=SMALL, mapper=Threads(1))
    assert files(tmp_path) == {}


def test_a_problem_that_many_samples_share_is_told_once(tmp_path):
    faults = {key: ["street.png: cut short"] for key in ("tile1", "tile5")}
    source = ListedSource({"train": [f"tile{number}" for number in range(6)]}, faults=faults)
    with pytest.raises(DataError, match=r"listed: 1 problem, nothing was published\nstreet.png: cut short$"):
        prepare(source, open_store(str(tmp_path)), options=SMALL)


@pytest.mark.parametrize("replace", [False, True])
def test_problems_of_one_shard_leave_nothing_of_the_others(tmp_path, replace):
    faults = {"f4": ["f4: cut short"]}
    source = ListedSource({"train": [f"f{number}" for number in range(9)]}, faults=faults)
    with pytest.raises(DataError, match="listed: 1 problem, nothing was published\nf4: cut short"):
        prepare(source, open_store(str(tmp_path)), options=SMALL, replace=replace)
    assert files(tmp_path) == {}
    assert len(source.keys_read) == 9


@pytest.mark.parametrize("faults", [{"problems": ["bad file"]}, {"faults": {"b": ["bad file"]}}])
def test_problems_leave_the_dataset_that_is_there(tmp_path, faults):
    prepare(painted(), open_store(str(tmp_path)), options=SMALL)
    before = files(tmp_path)
    source = ListedSource({"train": ["a", "b", "c", "d"]}, **faults)
    with pytest.raises(DataError, match="1 problem, nothing was published\nbad file"):
        prepare(source, open_store(str(tmp_path)), options=SMALL, replace=True)
    assert files(tmp_path) == before


def test_problems_delete_nothing_that_a_damaged_manifest_may_name(tmp_path):
    keys = {"train": ["a", "b", "c", "d"]}
    prepare(ListedSource(keys), open_store(str(tmp_path)), options=SMALL)
    (tmp_path / "dataset.json").write_text("{")
    before = files(tmp_path)
    faulty = ListedSource(keys, faults={"d": ["bad file"]})
    with pytest.raises(DataError, match="1 problem"):
        prepare(faulty, open_store(str(tmp_path)), options=SMALL, replace=True)
    assert before.items() <= files(tmp_path).items()


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


KEYS = {"train": [f"f{number}" for number in range(9)]}
HANG_IN_THE_LAST_SHARD = """
import sys, time
from roadbed.data.parallel import Threads
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.storage import open_store
from unit.test_prepare import KEYS, SMALL, ListedSource

def hang(ref):
    if ref.key == "f7":
        time.sleep(600)

prepare(ListedSource(KEYS, on_read=hang), open_store(sys.argv[1]), options=SMALL, mapper=Threads(1))
"""


def kill_in_the_last_shard(folder: Path, scratch: Path) -> None:
    """A preparation of KEYS that is killed when two of its three shards are done."""
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", HANG_IN_THE_LAST_SHARD, str(folder)]
    environment = {"PYTHONPATH": tests, "HOME": str(scratch), "TMPDIR": str(scratch)}
    process = subprocess.Popen(command, cwd=tests, env=environment)
    give_up_at = time.monotonic() + KILL_TIMEOUT_S
    while not [*folder.glob("*/parts/train-000001")]:
        assert process.poll() is None
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_preparation_is_no_dataset_and_goes_on_where_it_was(tmp_path):
    kill_in_the_last_shard(tmp_path / "killed", tmp_path)
    assert not (tmp_path / "killed" / "dataset.json").exists()
    source = ListedSource(KEYS)
    calls = []
    progress = lambda *counts: calls.append(counts)  # noqa: E731
    prepare(source, open_store(str(tmp_path / "killed")), options=SMALL, progress=progress)
    assert source.keys_read == ["f6", "f7", "f8"]
    assert calls[-1] == (9, 9)
    prepare(ListedSource(KEYS), open_store(str(tmp_path / "whole")), options=SMALL)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def stop_in_the_last_shard(folder: Path) -> None:
    """As `kill_in_the_last_shard`, in this process and so sooner."""

    def stop(ref):
        if ref.key == "f7":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(ListedSource(KEYS, on_read=stop), open_store(str(folder)), options=SMALL, mapper=Threads(1))


@pytest.mark.parametrize("damaged", ["train-000000.tar", "parts/train-000000"])
@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"?", lambda data: data[:-1], None])
def test_a_shard_that_is_not_whole_is_made_anew(tmp_path, damaged, change):
    stop_in_the_last_shard(tmp_path / "damaged")
    path = the_shard(tmp_path / "damaged", damaged)
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    source = ListedSource(KEYS)
    prepare(source, open_store(str(tmp_path / "damaged")), options=SMALL)
    assert sorted(source.keys_read) == ["f0", "f1", "f2", "f6", "f7", "f8"]
    prepare(ListedSource(KEYS), open_store(str(tmp_path / "whole")), options=SMALL)
    assert files(tmp_path / "damaged") == files(tmp_path / "whole")


def test_shards_of_other_options_or_another_source_are_not_taken(tmp_path):
    stop_in_the_last_shard(tmp_path)
    source = ListedSource(KEYS)
    prepare(source, open_store(str(tmp_path)), options=PrepareOptions(3, jpeg_quality=90))
    assert len(source.keys_read) == 9


def test_whoever_publishes_another_second_is_told(tmp_path):
    store = open_store(str(tmp_path))

    def publish_another(_ref):
        if not (tmp_path / "dataset.json").exists():
            store.put("dataset.json", b"{}")

    with pytest.raises(ConflictError, match="somebody else published or deleted a dataset here in the meantime"):
        prepare(ListedSource({"train": ["a"]}, on_read=publish_another), store)
    assert (tmp_path / "dataset.json").read_bytes() == b"{}"


def test_what_was_deleted_while_it_was_packed_is_not_published(tmp_path):
    stop_in_the_last_shard(tmp_path)

    def delete(_ref):
        the_shard(tmp_path, "train-000000.tar").unlink(missing_ok=True)

    source = ListedSource(KEYS, on_read=lambda ref: delete(ref) if ref.key == "f8" else None)
    with pytest.raises(ConflictError, match=r"deleted 1 of the packed objects .*/train-000000.tar; nothing was publ"):
        prepare(source, open_store(str(tmp_path)), options=SMALL, mapper=Threads(1))
    assert not (tmp_path / "dataset.json").exists()
    source = ListedSource(KEYS)
    prepare(source, open_store(str(tmp_path)), options=SMALL)
    assert source.keys_read == ["f0", "f1", "f2"]


def test_two_that_make_the_same_at_once_both_succeed(tmp_path):
    both_read = threading.Barrier(2)
    digests = []

    def work():
        source = ListedSource({"train": ["a"]}, on_read=lambda _: both_read.wait(KILL_TIMEOUT_S))
        digests.append(prepare(source, open_store(str(tmp_path))).digest)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 2
    assert digests[0] == digests[1]
    assert not [key for key in files(tmp_path) if "parts" in key]


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
