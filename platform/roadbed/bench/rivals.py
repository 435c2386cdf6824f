"""What `roadbed bench loader` measures against: other loaders, used as their own documentation advises.

All of them read frames and masks as roadbed encodes them, but without restart markers, from the same store, decode by
OpenCV (or, if asked, by roadbed's decoders), augment by the same albumentations pipeline with its Normalize, and make
float32 batches in worker processes of torch's DataLoader.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from roadbed.data.augment import training_transforms
from roadbed.data.dataset import Dataset
from roadbed.data.encoding import decode_image, decode_mask
from roadbed.data.manifest import Channels
from roadbed.data.parallel import in_threads
from roadbed.errors import RoadbedError
from roadbed.spec import DataSpec
from roadbed.storage import open_store

if TYPE_CHECKING:
    from roadbed.bench.contender import Settings

LITDATA_CHUNK_BYTES = "16MB"
SHUFFLE_SAMPLES = 128
Sample = tuple[str, np.ndarray, np.ndarray]
Epochs = Callable[[int], Iterator[tuple[list[str], Any]]]


def _by_opencv(flags: int) -> Callable[[bytes], np.ndarray]:
    return lambda data: np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))


DECODERS: dict[str, tuple[Callable[[bytes], np.ndarray], Callable[[bytes], np.ndarray]]] = {
    "opencv": (_by_opencv(cv2.IMREAD_COLOR_RGB), _by_opencv(cv2.IMREAD_UNCHANGED)),
    "roadbed": (decode_image, decode_mask),
}
"""Of frames and of masks. OpenCV is what albumentations brings with it."""


class Pipeline:
    """Encoded frame and mask to what a training step takes: albumentations, normalised float32."""

    def __init__(self, spec: DataSpec, mean: Channels, std: Channels, *, decoders: str) -> None:
        import albumentations

        self._decode_image, self._decode_mask = DECODERS[decoders]
        self._transforms = albumentations.Compose(
            [*training_transforms(spec).transforms, albumentations.Normalize(mean=mean, std=std)]
        )

    def __call__(self, key: str, image: bytes, mask: bytes) -> Sample:
        """Key, image_HW3 (float32) and mask_HW (uint8)."""
        changed = self._transforms(image=self._decode_image(image), mask=self._decode_mask(mask))
        return key, changed["image"], changed["mask"]


def collate(samples: list[Sample]) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Samples as a batch of tensors."""
    keys, images, masks = zip(*samples, strict=True)
    return list(keys), torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def quiet_worker(_: int = 0) -> None:
    """One thread per worker process: there are as many workers as cores."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class _Samples(TorchDataset[Sample]):
    """A map-style dataset over keys; `read` gives the encoded frame and mask of one."""

    def __init__(self, keys: list[str], read: Callable[[str], tuple[bytes, bytes]], pipeline: Pipeline) -> None:
        self._keys, self._read, self._pipeline = keys, read, pipeline

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: int) -> Sample:
        return self._pipeline(self._keys[place], *self._read(self._keys[place]))


def _map_style(settings: Settings, samples: _Samples) -> Epochs:
    loader = DataLoader(
        samples,
        batch_size=settings.batch_size,
        shuffle=True,
        num_workers=settings.num_workers,
        collate_fn=collate,
        worker_init_fn=quiet_worker,
        persistent_workers=True,
    )
    return lambda _: ((keys, images) for keys, images, _ in loader)


def boto3_epochs(settings: Settings, dataset: Dataset, pipeline: Pipeline) -> Epochs:
    """One GET per frame and one per mask, by boto3, from a map-style dataset."""
    split = dataset.split("train")

    class Read:
        """Opens its client in the worker that uses it."""

        client: Any = None

        def __call__(self, key: str) -> tuple[bytes, bytes]:
            if self.client is None:
                import boto3

                self.client = boto3.client("s3")
            bucket, _, prefix = settings.files_uri.removeprefix("s3://").partition("/")
            image: bytes
            mask: bytes
            image, mask = (
                self.client.get_object(Bucket=bucket, Key=f"{prefix}/{key}{suffix}")["Body"].read()
                for suffix in (".jpg", ".png")
            )
            return image, mask

    keys = [split.key(sample) for sample in range(split.num_samples)]
    return _map_style(settings, _Samples(keys, Read(), pipeline))


def memory_epochs(settings: Settings, dataset: Dataset, pipeline: Pipeline) -> Epochs:
    """The limit of the straightforward pipeline: encoded bytes in memory, shared with the workers by fork."""
    split = dataset.split("train")
    members = {split.key(sample): split.members(sample) for sample in range(split.num_samples)}
    return _map_style(settings, _Samples([*members], lambda key: members[key], pipeline))


def webdataset_epochs(settings: Settings, dataset: Dataset, pipeline: Pipeline) -> Epochs:
    """webdataset over the shards of the dataset as they are, with its own cache of files."""
    import boto3
    import webdataset

    def open_s3(url: str, mode: str = "rb", bufsize: int = 8192, **options: Any) -> Any:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"]

    webdataset.gopen_schemes["s3"] = open_s3

    def sample_of(entry: dict[str, Any]) -> Sample:
        from roadbed.data.shards import unescape_key

        return pipeline(unescape_key(entry["__key__"]), entry["jpg"], entry["mask.png"])

    cache = Path(settings.scratch) / "webdataset"
    cache.mkdir()
    urls = [f"{dataset.uri}/{shard.key}" for shard in dataset.split("train").shards]
    samples = (
        webdataset.WebDataset(urls, shardshuffle=len(urls), cache_dir=str(cache), empty_check=False)
        .shuffle(SHUFFLE_SAMPLES)
        .map(sample_of)
        .batched(settings.batch_size, collation_fn=collate, partial=True)
    )
    loader = webdataset.WebLoader(
        samples,
        batch_size=None,
        num_workers=settings.num_workers,
        worker_init_fn=quiet_worker,
        persistent_workers=True,
    )
    return lambda _: ((keys, images) for keys, images, _ in loader)


def litdata_epochs(settings: Settings, dataset: Dataset, pipeline: Pipeline) -> Epochs:
    """litdata over chunks that its own `optimize` wrote, with its own cache."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming import downloader

    # Its fast client refuses plain http, which the local store speaks, and no option of its own allows it.
    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = "true"

    class Samples(StreamingDataset):  # type: ignore[misc]
        """Decodes and augments in the worker, as litdata's examples do."""

        def __getitem__(self, place: Any) -> Sample:
            entry = super().__getitem__(place)
            return pipeline(entry["key"], entry["image"], entry["mask"])

    samples = Samples(
        settings.litdata_uri,
        cache_dir=str(Path(settings.scratch) / "litdata"),
        shuffle=True,
        drop_last=False,
        storage_options={"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "region_name": os.environ["AWS_REGION"]},
    )
    loader = StreamingDataLoader(
        samples,
        batch_size=settings.batch_size,
        shuffle=True,
        drop_last=False,
        num_workers=settings.num_workers,
        collate_fn=collate,
        worker_init_fn=quiet_worker,
        persistent_workers=True,
    )
    return lambda _: ((keys, images) for keys, images, _ in loader)


def write_files(dataset: Dataset, files_uri: str) -> None:
    """Every frame and mask as an object of its own, for boto3."""
    store, split = open_store(files_uri), dataset.split("train")

    def put(sample: int) -> None:
        for suffix, data in zip((".jpg", ".png"), split.members(sample), strict=True):
            store.put(split.key(sample) + suffix, data)

    in_threads(put, range(split.num_samples), 2)


def write_litdata(dataset: Dataset, litdata_uri: str, folder: Path) -> None:
    """The samples as chunks of litdata, with an index.json. Raises RoadbedError if litdata's writer fails."""
    from litdata import optimize

    split, scratch = dataset.split("train"), folder / "chunks"
    scratch.mkdir()
    members = [(split.key(sample), *split.members(sample)) for sample in range(split.num_samples)]

    def entry(sample: int) -> dict[str, Any]:
        key, image, mask = members[sample]
        return {"key": key, "image": image, "mask": mask}

    optimize(
        fn=entry,
        inputs=list(range(split.num_samples)),
        output_dir=str(scratch),
        chunk_bytes=LITDATA_CHUNK_BYTES,
        num_workers=1,
        start_method="fork",
        verbose=False,
    )
    store = open_store(litdata_uri)
    written = [path for path in sorted(scratch.iterdir()) if path.is_file()]
    if not any(path.name == "index.json" for path in written):
        raise RoadbedError(f"{scratch}: litdata wrote no index.json; see its output above")
    for path in written:
        store.upload(path, path.name)
