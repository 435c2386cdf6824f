"""Two thousand bodies that nobody should send: each gets an answer below 500, and memory does not grow."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from roadbed.registry import Registry
from roadbed.serving.app import make_app
from roadbed.serving.follower import Follower
from roadbed.serving.service import Service
from roadbed.spec.serve import ServeSpec
from roadbed.storage import open_store
from roadbed.telemetry import NoMetrics
from serving_support import pixels, promote, publish, saved

NUM_BODIES = 2000
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
TYPES = ("image/png", "image/jpeg", "application/octet-stream", "", "multipart/form-data", "nonsense/ü;;=", "image/*")
ACCEPTS = ("image/png", "application/json", "image/webp", "*/*", "", ";;;,q=", "text/html")


def cut(dice: random.Random) -> bytes:
    whole = saved(pixels(32, 40), dice.choice(KINDS))
    return whole[: dice.randrange(len(whole))]


def flipped(dice: random.Random) -> bytes:
    """The header is hit more often than the pixels: that is where sizes and offsets stand."""
    whole = bytearray(saved(pixels(32, 40), dice.choice(KINDS)))
    for _ in range(dice.randint(1, 8)):
        place = dice.randrange(min(64, len(whole))) if dice.random() < 0.7 else dice.randrange(len(whole))
        whole[place] = dice.randrange(256)
    return bytes(whole)


def noise(dice: random.Random) -> bytes:
    head = dice.choice(
        (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"BM", b"II*\x00")
    )
    return head + dice.randbytes(dice.randrange(3000))


def bomb(dice: random.Random) -> bytes:
    """A few bytes that say they are a large picture, or that swell when they are unpacked."""
    way = dice.randrange(4)
    sides = [dice.choice((1, 40, 5000, 70_000, 2**31 - 1)) for _ in range(2)]
    if way == 0:
        header = struct.pack(">IIBBBBB", *sides, 8, 2, 0, 0, 0)
        swollen = zlib.compress(bytes(dice.choice((10, 10**6, 2 * 10**7))))
        chunks = ((b"IHDR", header), (b"IDAT", swollen), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    if way == 1:
        return saved(Image.new("1", (dice.choice((3000, 9000)), 3000)), dice.choice(("PNG", "TIFF")))
    if way == 2:
        return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, *sides, 1, 24, 0, 0, 0, 0, 0, 0)
    text = zlib.compress(bytes(10**7))
    body = saved(pixels(32, 40))
    chunk = b"zTXt" + b"k\x00\x00" + text
    return body[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + body[33:]


def form(dice: random.Random) -> bytes:
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    pieces = [
        part,
        saved(pixels(32, 40)),
        b"\r\n--x--\r\n",
        b"--x",
        b"\r\n",
        b"Content-Disposition: ;;;",
        dice.randbytes(20),
    ]
    return b"".join(dice.choices(pieces, k=dice.randint(0, 6)))


def strange(dice: random.Random) -> bytes:
    """Whole files of formats that are not taken, and of ones that name other files."""
    return dice.choice(
        (
            b"",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(a) run\n",
            b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
            b'{"url": "http://169.254.169.254/"}',
            saved(pixels(32, 40), "GIF"),
            saved(pixels(32, 40), "ICO"),
            saved(pixels(32, 40), "PPM"),
        )
    )


def bodies(seed: int) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    dice = random.Random(seed)
    ways = {"cut": cut, "flipped": flipped, "noise": noise, "bomb": bomb, "form": form, "strange": strange}
    for _ in range(NUM_BODIES):
        name = dice.choice(list(ways))
        kind = "multipart/form-data; boundary=x" if name == "form" and dice.random() < 0.8 else dice.choice(TYPES)
        headers = {"content-type": kind, "accept": dice.choice(ACCEPTS)}
        yield name, ways[name](dice), {field: text.encode("latin-1") for field, text in headers.items()}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    registry = Registry(open_store(str(tmp_path)))
    promote(registry, publish(registry))
    spec = ServeSpec(model="road@champion", engine="torch")
    service = Service(spec, Follower(spec, registry, metrics=NoMetrics()))
    service.follower.look()
    yield TestClient(make_app(service), raise_server_exceptions=False)
    service.stop()


def test_bad_bodies(client: TestClient) -> None:
    statuses: Counter[int] = Counter()
    before = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of much that it reads
        for number, (name, body, headers) in enumerate(bodies(seed=1)):
            answer = client.post("/v1/segment", content=body, headers=headers)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (name, body[:80], headers, answer.text)
            if answer.status_code != 200:
                assert answer.json()["error"]["message"], name
            if number == NUM_BODIES // 4:
                before = resident_bytes()
    assert resident_bytes() < before + 60_000_000
    assert {200, 400, 406, 413, 415} <= set(statuses), statuses
    assert client.get("/readyz").status_code == 200
    with Image.open(io.BytesIO(client.post("/v1/segment", content=saved(pixels())).content)) as mask:
        assert mask.size == (64, 48)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
