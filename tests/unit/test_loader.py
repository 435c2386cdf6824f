"""The loader: the same batches whatever way the bytes came, float32 on demand, and damaged samples told or skipped."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
from torch.utils.data import DataLoader

from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Dataset
from roadbed.data.iterable import BatchIterable
from roadbed.data.loader import Batch, Loader, Normalization
from roadbed.data.memory import ShardMemory
from roadbed.errors import DamagedError, UsageError
from roadbed.spec import DataSpec
from support import blocks_dataset

NUM_SAMPLES = 29


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """29 samples in 8 shards."""
    return blocks_dataset(str(tmp_path / "blocks"), train=NUM_SAMPLES, val=7)


@pytest.fixture
def spec(dataset: Dataset) -> DataSpec:
    return DataSpec(uri=dataset.uri, crop_px=(48, 64), window_shards=2)


def loader(dataset: Dataset, spec: DataSpec, *, split: str = "train", **settings: Any) -> Loader:
    defaults = {"rank": 0, "num_ranks": 1, "num_threads": 2}
    return Loader(dataset.split(split), digest=dataset.digest, spec=spec, **(defaults | settings))


def batches(dataset: Dataset, spec: DataSpec, *, first_batch: int = 0, epoch: int = 3, **settings: Any) -> list[Batch]:
    augment = Augmenter(training_transforms(spec))
    with loader(dataset, spec, **settings) as loading:
        return list(loading.training_batches(augment, epoch=epoch, first_batch=first_batch, seed=5, global_batch=4))


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert [(batch.number, batch.samples) for batch in found] == [(batch.number, batch.samples) for batch in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.images_BHW3, other.images_BHW3)
        np.testing.assert_array_equal(one.masks_BHW, other.masks_BHW)


def shard_path(dataset: Dataset, sample: int) -> Path:
    split = dataset.split("train")
    return Path(dataset.uri.removeprefix("file://")) / split.shards[split.index.shard_of(sample)].key


def flip_byte(dataset: Dataset, sample: int) -> None:
    path, start = shard_path(dataset, sample), dataset.split("train").range_of(sample)[0]
    data = bytearray(path.read_bytes())
    data[start + 40] ^= 1
    path.write_bytes(data)


def test_an_epoch_holds_every_sample_once_in_batches_of_uint8(dataset: Dataset, spec: DataSpec) -> None:
    found = batches(dataset, spec)
    assert sorted(sample for batch in found for sample in batch.samples) == list(range(NUM_SAMPLES))
    assert [len(batch.samples) for batch in found] == [4] * 7 + [1]
    for batch in found:
        assert batch.images_BHW3.shape == (len(batch.samples), 48, 64, 3)
        assert batch.masks_BHW.shape == (len(batch.samples), 48, 64)
        assert batch.images_BHW3.dtype == batch.masks_BHW.dtype == np.uint8


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("prefetch_batches", [1, 64])
def test_threads_and_prefetch_change_nothing(
    dataset: Dataset, spec: DataSpec, num_threads: int, prefetch_batches: int
) -> None:
    other = spec.model_copy(update={"prefetch_batches": prefetch_batches})
    assert_same(batches(dataset, other, num_threads=num_threads), batches(dataset, spec))


def test_cache_changes_nothing_even_when_it_holds_a_single_shard(
    dataset: Dataset, spec: DataSpec, tmp_path: Path
) -> None:
    expected = batches(dataset, spec)
    largest = max(shard.num_bytes for shard in dataset.split("train").shards)
    for number, max_bytes in enumerate((10**9, largest, 10)):
        cache = ShardCache(tmp_path / f"cache-{number}", max_bytes=max_bytes)
        assert_same(batches(dataset, spec, cache=cache), expected)
        assert cache.used_bytes <= max_bytes


def test_second_epoch_comes_from_the_cache(dataset: Dataset, spec: DataSpec, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "cache", max_bytes=10**9)
    for expected in (8, 0):
        with loader(dataset, spec, cache=cache) as loading:
            augment = Augmenter(training_transforms(spec))
            list(loading.training_batches(augment, epoch=0, first_batch=0, seed=5, global_batch=4))
            assert loading.reader.stats.shards_fetched == expected


def test_every_epoch_counts_as_a_use_of_its_shards(dataset: Dataset, spec: DataSpec, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "cache", max_bytes=10**9)
    names = [shard.sha256 for shard in dataset.split("train").shards]
    with loader(dataset, spec, cache=cache) as loading:
        for epoch in range(2):
            augment = Augmenter(training_transforms(spec))
            list(loading.training_batches(augment, epoch=epoch, first_batch=0, seed=5, global_batch=4))
            assert all((cache.folder / name).stat().st_mtime > 1 for name in names)
            for name in names:
                os.utime(cache.folder / name, (1, 1))


class CountingCache(ShardCache):
    """A cache that counts how often it is told that an object is used."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, max_bytes=10**9)
        self.uses: Counter[str] = Counter()

    def holds(self, name: str) -> bool:
        self.uses[name] += 1
        return super().holds(name)


@pytest.mark.parametrize("memory_bytes", [1, 10**9])
def test_the_cache_is_told_of_a_shard_once_in_an_epoch(
    dataset: Dataset, spec: DataSpec, tmp_path: Path, memory_bytes: int
) -> None:
    cache = CountingCache(tmp_path / "cache")
    augment = Augmenter(training_transforms(spec))
    with loader(dataset, spec, cache=cache, memory=ShardMemory(memory_bytes)) as loading:
        for epoch in range(3):
            list(loading.training_batches(augment, epoch=epoch, first_batch=0, seed=5, global_batch=4))
            assert cache.uses == Counter({shard.sha256: epoch + 1 for shard in dataset.split("train").shards})


def test_cache_that_is_removed_under_the_loader_is_done_without(
    dataset: Dataset, spec: DataSpec, tmp_path: Path
) -> None:
    expected = batches(dataset, spec)
    cache = ShardCache(tmp_path / "cache", max_bytes=10**9)
    shutil.rmtree(cache.folder)
    assert_same(batches(dataset, spec, cache=cache), expected)
    cache = ShardCache(tmp_path / "cache", max_bytes=10**9)
    with loader(dataset, spec, cache=cache) as loading:
        augment = Augmenter(training_transforms(spec))
        found = loading.training_batches(augment, epoch=3, first_batch=0, seed=5, global_batch=4)
        head = [next(found), next(found)]
        shutil.rmtree(cache.folder, ignore_errors=True)  # the loader may be writing into it
        assert_same([*head, *found], expected)


def test_damaged_file_of_the_cache_is_noticed_and_fetched_anew(
    dataset: Dataset, spec: DataSpec, tmp_path: Path
) -> None:
    expected = batches(dataset, spec)
    cache = ShardCache(tmp_path / "cache", max_bytes=10**9)
    batches(dataset, spec, cache=cache)
    sample = 9
    split = dataset.split("train")
    cached = cache.folder / split.shards[split.index.shard_of(sample)].sha256
    data = bytearray(cached.read_bytes())
    data[split.range_of(sample)[0] + 40] ^= 1
    cached.write_bytes(data)
    assert_same(batches(dataset, spec, cache=cache), expected)
    assert cached.read_bytes() == shard_path(dataset, sample).read_bytes(), "mended for all others"


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_ranks_share_the_same_global_batches(dataset: Dataset, spec: DataSpec, num_ranks: int) -> None:
    whole = batches(dataset, spec)
    shares = [batches(dataset, spec, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    for number, batch in enumerate(whole):
        assert sum((share[number].samples for share in shares), ()) == batch.samples
        together = np.concatenate([share[number].images_BHW3 for share in shares])
        np.testing.assert_array_equal(together, batch.images_BHW3)


def test_resumed_epoch_goes_on_where_it_stopped(dataset: Dataset, spec: DataSpec) -> None:
    assert_same(batches(dataset, spec, first_batch=3), batches(dataset, spec)[3:])
    assert batches(dataset, spec, first_batch=8) == []


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_number_of_dataloader_workers_changes_nothing(dataset: Dataset, spec: DataSpec, num_workers: int) -> None:
    own = BatchIterable(spec, epoch=3, seed=5, global_batch=4, first_batch=2)
    context = "spawn" if num_workers else None
    torch_loader = DataLoader(own, batch_size=None, num_workers=num_workers, multiprocessing_context=context)
    assert_same([*torch_loader], batches(dataset, spec, first_batch=2))


def test_float32_batches_are_the_uint8_ones_normalised(dataset: Dataset, spec: DataSpec) -> None:
    normalization = Normalization(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    plain, floats = batches(dataset, spec), batches(dataset, spec, normalization=normalization)
    normalize = albumentations.Normalize(normalization.mean, normalization.std)
    for one, other in zip(plain, floats, strict=True):
        assert other.images_BHW3.dtype == np.float32
        np.testing.assert_array_equal(one.masks_BHW, other.masks_BHW)
        for image_HW3, floats_HW3 in zip(one.images_BHW3, other.images_BHW3, strict=True):
            np.testing.assert_allclose(floats_HW3, normalize(image=image_HW3)["image"], atol=2e-6)


def test_a_pipeline_of_ones_own(dataset: Dataset, spec: DataSpec) -> None:
    own = albumentations.Compose([albumentations.Resize(48, 64), albumentations.GaussianBlur(p=1)])
    with loader(dataset, spec) as loading:
        found = list(loading.training_batches(Augmenter(own), epoch=0, first_batch=0, seed=1, global_batch=4))
    assert sum(len(batch.samples) for batch in found) == NUM_SAMPLES
    with loader(dataset, spec) as loading:
        small = Augmenter(albumentations.Compose([albumentations.Resize(32, 32)]))
        found_small = loading.training_batches(small, epoch=0, first_batch=0, seed=1, global_batch=4)
        with pytest.raises(UsageError, match=r"data\.crop_px"):
            next(found_small)


def test_evaluation_batches_are_whole_frames_in_order(dataset: Dataset, spec: DataSpec) -> None:
    with loader(dataset, spec, split="val") as loading:
        found = list(loading.evaluation_batches(3))
    assert [batch.samples for batch in found] == [(0, 1, 2), (3, 4, 5), (6,)]
    image_HW3, mask_HW = dataset.split("val").read_sample(4)
    np.testing.assert_array_equal(found[1].images_BHW3[1], image_HW3)
    np.testing.assert_array_equal(found[1].masks_BHW[1], mask_HW)


Damage = Callable[[Dataset, int], None]


def remove_shard(dataset: Dataset, sample: int) -> None:
    shard_path(dataset, sample).unlink()


def cut_shard(dataset: Dataset, sample: int) -> None:
    """The sample and what comes behind it in its shard are gone."""
    path = shard_path(dataset, sample)
    path.write_bytes(path.read_bytes()[: dataset.split("train").range_of(sample)[0] + 10])


DAMAGES: dict[str, tuple[Damage, set[int]]] = {
    "flipped byte": (flip_byte, {9}),
    "shard cut short": (cut_shard, {9, 10, 11}),
    "shard gone": (remove_shard, {8, 9, 10, 11}),
}


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_ends_the_epoch_with_the_name_of_the_object(
    dataset: Dataset, spec: DataSpec, kind: str, is_cached: bool, tmp_path: Path
) -> None:
    DAMAGES[kind][0](dataset, 9)
    cache = ShardCache(tmp_path / "cache", max_bytes=10**9) if is_cached else None
    with pytest.raises(DamagedError, match=shard_path(dataset, 9).name):
        batches(dataset, spec, cache=cache)


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("kind", DAMAGES)
def test_skipped_samples_leave_all_others_as_they_were(
    dataset: Dataset, spec: DataSpec, kind: str, is_cached: bool, tmp_path: Path
) -> None:
    whole = batches(dataset, spec)
    damage, lost = DAMAGES[kind]
    damage(dataset, 9)
    spec = spec.model_copy(update={"on_damaged": "skip"})
    cache = ShardCache(tmp_path / "cache", max_bytes=10**9) if is_cached else None
    found = batches(dataset, spec, cache=cache)
    assert {key for batch in found for key in batch.skipped} == {dataset.split("train").key(n) for n in lost}
    for batch, before in zip(found, whole, strict=True):
        kept = [place for place, sample in enumerate(before.samples) if sample not in lost]
        assert batch.samples == tuple(before.samples[place] for place in kept)
        np.testing.assert_array_equal(batch.images_BHW3, before.images_BHW3[kept])
        np.testing.assert_array_equal(batch.masks_BHW, before.masks_BHW[kept])


def test_evaluation_names_what_it_skips(dataset: Dataset, spec: DataSpec) -> None:
    flip_byte(dataset, 9)
    spec = spec.model_copy(update={"on_damaged": "skip"})
    with loader(dataset, spec) as loading:
        found = list(loading.evaluation_batches(4))
    assert [key for batch in found for key in batch.skipped] == [dataset.split("train").key(9)]
    assert sorted(sample for batch in found for sample in batch.samples) == [n for n in range(NUM_SAMPLES) if n != 9]
