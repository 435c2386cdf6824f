"""Raw frames and masks that open without an error, but are not what they seem; and folders that cannot be listed."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from roadbed.data.sources.images import MASK_TO_8_BITS, check_pair, read_frame, read_mask
from roadbed.data.sources.listing import Listing
from roadbed.data.sources.tables import MaskTable
from roadbed.errors import DataError
from roadbed.storage import open_store

FRAME_HW3 = np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)
ANY_ID = MaskTable(dict.fromkeys(range(256), 0), names=dict.fromkeys(range(256), "any"), known="")


def refusal(read) -> str:
    with pytest.raises(DataError) as caught:
        read()
    return str(caught.value)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (
            "RGBA",
            "a frame must be 8-bit RGB, this one has mode RGBA; drop the alpha channel, as with `magick IN -alpha",
        ),
        ("LA", "this one has mode LA; drop the alpha channel"),
        ("L", "this one has mode L; convert it, as with `magick IN -type TrueColor"),
        ("P", "this one has mode P; convert it"),
        ("I;16", "it has 16 bits per channel; convert it to 8, as with `magick IN -depth 8 OUT`"),
    ],
)
def test_frames_of_another_mode(tmp_path, mode, words):
    image = Image.fromarray(FRAME_HW3)
    grey_HW = FRAME_HW3[..., 0]
    image = Image.fromarray(grey_HW.astype(np.uint16) * 256) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.png")
    found = refusal(lambda: read_frame((open_store(str(tmp_path)), "a.png")))
    assert found.startswith(f"{tmp_path}/a.png: ")
    assert words in found


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("RGBA", "this one has mode RGBA; drop the alpha channel"),
        ("I;16", "it has 16 bits per channel; store its ids, if none is above 255, in 8, in Python: `Image."),
    ],
)
def test_masks_of_another_mode(tmp_path, mode, words):
    image = Image.fromarray(FRAME_HW3)
    image = Image.fromarray(FRAME_HW3[..., 0].astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.png")
    assert words in refusal(lambda: read_mask((open_store(str(tmp_path)), "a.png"), ANY_ID))


def test_the_remedy_for_a_mask_of_16_bits_keeps_its_ids(tmp_path):
    ids_HW = FRAME_HW3[..., 0] // 2
    Image.fromarray(ids_HW.astype(np.uint16)).save(tmp_path / "a.png")
    names = {"Image": Image, "np": np, "IN": tmp_path / "a.png", "OUT": tmp_path / "b.png"}
    exec(MASK_TO_8_BITS.strip("`"), names)
    table = MaskTable({raw_id: raw_id for raw_id in range(128)}, names={}, known="")
    assert (read_mask((open_store(str(tmp_path)), "b.png"), table) == ids_HW).all()


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "WEBP", "JPEG2000", "GIF", "TIFF"])
def test_masks_in_a_format_that_can_lose_values(tmp_path, kind):
    image = Image.fromarray(FRAME_HW3[..., 0])
    more = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}
    image.save(tmp_path / "a.png", kind, **more)
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.format == kind
    assert refusal(lambda: read_mask((open_store(str(tmp_path)), "a.png"), ANY_ID)) == (
        f"{tmp_path}/a.png: a mask in {kind} may have lost its exact values; export masks as PNG"
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_masks_in_a_format_that_keeps_values(tmp_path, kind):
    Image.fromarray(FRAME_HW3[..., 0]).save(tmp_path / "a.png", kind)
    assert (read_mask((open_store(str(tmp_path)), "a.png"), ANY_ID) == 0).all()


def test_a_colour_frame_of_16_bits(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), FRAME_HW3.astype(np.uint16) * 256)
    with Image.open(path) as image:
        assert image.mode == "RGB", "Pillow takes the upper bytes without a word"
    assert "it has 16 bits per channel" in refusal(lambda: read_frame((open_store(str(tmp_path)), "a.png")))


@pytest.mark.parametrize("orientation", [3, 6])
def test_frames_that_are_stored_turned(tmp_path, orientation):
    save_turned(tmp_path / "a.jpg", orientation)
    assert refusal(lambda: read_frame((open_store(str(tmp_path)), "a.jpg"))) == (
        f"{tmp_path}/a.jpg: EXIF says that it is stored turned (orientation {orientation}), so mask and pixels may not "
        "fit; turn the pixels, as with `magick IN -auto-orient OUT`, or remove the tag if they are upright already"
    )


def test_upright_frames_may_say_so(tmp_path):
    save_turned(tmp_path / "a.jpg", 1)
    assert read_frame((open_store(str(tmp_path)), "a.jpg")).shape == FRAME_HW3.shape


def save_turned(path: Path, orientation: int) -> None:
    image = Image.fromarray(FRAME_HW3)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_masks_of_few_bits_hold_ids(tmp_path, bits):
    mask_HW = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2**bits
    (tmp_path / "a.png").write_bytes(small_png(mask_HW, bits))
    known = range(2**bits)
    table = MaskTable({raw_id: raw_id for raw_id in known}, names=dict.fromkeys(known, "any"), known="")
    assert (read_mask((open_store(str(tmp_path)), "a.png"), table) == mask_HW).all()


def small_png(mask_HW: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits; Pillow itself writes 1 and 8 bits alone."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    bits_HWB = np.unpackbits(mask_HW[..., None], axis=-1)[..., 8 - bits :]
    rows = np.packbits(bits_HWB.reshape(len(mask_HW), -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", mask_HW.shape[1], mask_HW.shape[0], bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_both_files_of_a_pair_are_checked(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    store = open_store(str(tmp_path))
    assert check_pair((store, "a.png"), (store, "b.png"), ANY_ID) == [
        f"{tmp_path}/{name}: not an image (0 bytes); fetch it again" for name in ("a.png", "b.png")
    ]


def test_two_links_to_one_folder_are_two_folders(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").touch()
    top = tmp_path / "top"
    for name in ("b", "a", "c/d"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(top / "c")
    keys = Listing(open_store(str(top)), "").keys
    assert [key for key in keys if "loop" not in key] == ["a/1.png", "b/1.png", "c/d/1.png"]


def test_folders_are_walked_in_one_order(tmp_path, monkeypatch):
    for name in "dacb":
        (tmp_path / name).mkdir()
    scandir, seen = os.scandir, []

    def note(path):
        seen.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", note)
    Listing(open_store(str(tmp_path)), "")
    assert seen[1:] == ["a", "b", "c", "d"]


def test_a_name_that_is_not_utf8(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9.png", os.O_CREAT))
    found = refusal(lambda: Listing(open_store(str(tmp_path)), ""))
    assert found == f"{tmp_path}/caf\\xe9.png: its name is not UTF-8; rename it, as convmv does for whole folders"


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=f"{tmp_path}/closed: cannot be listed: Permission denied; check its perm"):
        Listing(open_store(str(tmp_path)), "")
