"""Real CamVid, from the folder to shards and back."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from roadbed.data.labels import CAMVID_11
from roadbed.data.parallel import Threads
from roadbed.data.prepare import prepare
from roadbed.data.sources.camvid import CamvidSource
from roadbed.data.sources.camvid_splits import segnet_split
from roadbed.storage import open_store

pytestmark = pytest.mark.camvid

# docs of the dataset: share of labelled pixels in train, roughly
SHARES = {
    "Road": 0.32,
    "Building": 0.23,
    "Sky": 0.17,
    "Tree": 0.10,
    "Car": 0.06,
    "Pavement": 0.045,
    "SignSymbol": 0.012,
}
SHARES |= {"Fence": 0.011, "Pole": 0.010, "Pedestrian": 0.006, "Bicyclist": 0.003}


def test_camvid_goes_to_shards_and_back(camvid_dir, tmp_path):
    source = CamvidSource(camvid_dir)
    dataset = prepare(source, open_store(str(tmp_path / "a")), mapper=Threads(2))
    again = prepare(source, open_store(str(tmp_path / "b")), mapper=Threads(1))

    assert {name: split.num_samples for name, split in dataset.splits.items()} == {"train": 367, "val": 101}
    assert again.digest == dataset.digest
    for split in json.loads((tmp_path / "a" / "dataset.json").read_text())["splits"].values():
        for info in (*split["shards"], split["index"]):
            for folder in ("a", "b"):
                assert hashlib.sha256((tmp_path / folder / info["key"]).read_bytes()).hexdigest() == info["sha256"]

    counts = dataset.split("train").class_pixels
    shares = dict(zip(CAMVID_11.class_names, (counts / counts.sum()).tolist(), strict=True))
    assert shares == pytest.approx(SHARES, rel=0.15)

    for name, split in dataset.splits.items():
        for sample in range(0, split.num_samples, 25):
            key = split.key(sample)
            image_HW3, mask_HW = split.read_sample(sample)
            truth_HW3 = np.asarray(Image.open(camvid_dir / name / f"{key}.png"))
            raw_HW = np.asarray(Image.open(camvid_dir / f"{name}annot" / f"{key}.png"))
            assert (mask_HW == np.where(raw_HW == 11, 255, raw_HW)).all()
            assert np.abs(image_HW3.astype(int) - truth_HW3).mean() < 3


def test_the_known_split_is_that_of_the_folders(camvid_dir):
    for split in ("train", "val"):
        assert {segnet_split(path.stem) for path in (camvid_dir / split).glob("*.png")} == {split}
