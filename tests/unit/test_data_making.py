"""The options that all `data prepare` commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from roadbed.cli import roadbed
from roadbed.data.dataset import Dataset
from roadbed.errors import UsageError


def prepare_painted(dest: Path | str, *options: str) -> Result:
    words = ["data", "prepare", "painted", str(dest), "--train", "2", "--val", "1", "--size", "80x64", *options]
    return CliRunner().invoke(roadbed, words)


@pytest.mark.parametrize(
    ("options", "encodings"),
    [
        ((), ("jpeg", 95, "png")),
        (("--jpeg-quality", "80", "--mask-encoding", "zstd"), ("jpeg", 80, "zstd")),
        (("--image-encoding", "zstd"), ("zstd", 95, "png")),
        (("--image-encoding", "png", "--threads", "1"), ("png", 95, "png")),
    ],
)
def test_encodings_are_a_choice(tmp_path, options, encodings):
    done = prepare_painted(tmp_path, *options)
    assert done.exit_code == 0, done.output
    dataset = Dataset.open(str(tmp_path))
    found = dataset.manifest.options
    assert (found.image_encoding, found.jpeg_quality, found.mask_encoding) == encodings
    image_HW3, mask_HW = dataset.split("train").read_sample(1)
    assert image_HW3.shape[:2] == mask_HW.shape == (64, 80)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--image-encoding", "png", "--jpeg-quality", "90"), "--jpeg-quality 90: png frames have no quality"),
        (("--threads", "2", "--workers", "3"), "--threads 2 and --workers 3: samples are packed by one or the other"),
        (("--workers", "2"), "workers on the Ray cluster at ray.example:6379 cannot write into a folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, monkeypatch, options, words):
    monkeypatch.setenv("RAY_ADDRESS", "ray.example:6379")
    done = prepare_painted(tmp_path / "town", *options)
    assert isinstance(done.exception, UsageError)
    assert words in str(done.exception)
    assert not (tmp_path / "town").exists()


@pytest.mark.parametrize("word", ["--mask-encoding=jpeg", "--jpeg-quality=101", "--workers=0"])
def test_impossible_values_are_refused(tmp_path, word):
    assert prepare_painted(tmp_path, word).exit_code == 2
