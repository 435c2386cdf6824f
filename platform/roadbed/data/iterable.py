"""The loader for those who bring a training loop of their own: a torch IterableDataset.

    batches = BatchIterable(DataSpec(uri="s3://roadbed/datasets/camvid"), epoch=0, seed=1, global_batch=8)
    for batch in torch.utils.data.DataLoader(batches, batch_size=None, num_workers=2):
        ...

Every process opens the dataset for itself and makes every n-th batch; the DataLoader takes them in turn, so the order
is that of one process. roadbed's own training needs none of it: threads in the worker's process do the same for less.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import IterableDataset, get_worker_info

from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.cache import node_cache
from roadbed.data.dataset import Dataset
from roadbed.data.loader import Batch, Loader
from roadbed.data.memory import ShardMemory
from roadbed.spec import DataSpec


class BatchIterable(IterableDataset[Batch]):
    """One rank's shares of the global batches of an epoch; its state is the epoch and `first_batch`.

    The DataLoader's processes share `data.memory_mb` evenly.
    Raises what `Dataset.open` and `Loader.training_batches` raise, when it is iterated.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        epoch: int,
        seed: int,
        global_batch: int,
        first_batch: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self._spec = spec
        self._where = {"epoch": epoch, "seed": seed, "global_batch": global_batch, "first_batch": first_batch}
        self._rank, self._num_ranks = rank, num_ranks

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        process, num_processes = (info.id, info.num_workers) if info else (0, 1)
        dataset = Dataset.open(self._spec.uri)
        with Loader(
            dataset.split(self._spec.train_split),
            digest=dataset.digest,
            spec=self._spec,
            rank=self._rank,
            num_ranks=self._num_ranks,
            num_threads=1,
            cache=node_cache(dataset.uri, max_bytes=self._spec.cache_mb * 1_000_000),
            memory=ShardMemory(self._spec.memory_mb * 1_000_000 // num_processes),
        ) as loader:
            augment = Augmenter(training_transforms(self._spec))
            yield from loader.training_batches(augment, **self._where, process=process, num_processes=num_processes)
