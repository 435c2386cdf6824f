"""The endpoint's page in a real Chromium, before the real application: what a person does, and what is seen then."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image, ImageOps
from starlette.applications import Starlette
from starlette.routing import Mount

from roadbed.inference.predictor import Predictor
from roadbed.registry import Registry
from roadbed.serving.app import make_app
from roadbed.serving.service import Service
from roadbed.storage import open_store
from serving_support import made, pixels, promote, publish, saved

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 800), (390, 844)
MEGAPIXELS = 0.3
PATIENCE_MS = 60_000


@contextlib.contextmanager
def served(service: Service, *, below: str = "/", **settings: Any) -> Iterator[str]:
    """The address of the application, which answers there until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Mount(below, make_app(service, **settings))])
    server = uvicorn.Server(uvicorn.Config(app, ws="none", lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}{below}"
    server.should_exit = True
    thread.join()
    service.stop()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    registry = Registry(open_store(str(tmp_path_factory.mktemp("models"))))
    promote(registry, publish(registry))
    return registry


@pytest.fixture(scope="module")
def service(registry: Registry) -> Service:
    service = made(registry, limits={"megapixels": MEGAPIXELS})
    service.follower.look()
    return service


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    with served(service, below="/roads/") as address:
        yield address


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address. In the end nothing may have gone wrong but what `expected` (a pattern) matches."""
    contexts: list[Any] = []
    problems: list[str] = []

    def open_page(address: str, size: tuple[int, int] = DESKTOP, *, expected: str = "nothing") -> Any:
        def note(problem: str) -> None:
            if not re.search(expected, problem):
                problems.append(problem)

        context = browser.new_context(viewport=dict(zip(("width", "height"), size, strict=True)))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type in ("log", "info") or note(said.text))
        page.on("pageerror", lambda error: note(str(error)))
        # The page drops what it no longer needs, when it is closed above all.
        page.on("requestfailed", lambda r: r.failure == "net::ERR_ABORTED" or note(f"{r.url} failed: {r.failure}"))
        page.on("request", lambda request: is_own(request.url, address) or note(f"foreign: {request.url}"))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def is_own(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


def get(url: str, body: bytes | None = None, accept: str = "*/*") -> bytes:
    request = urllib.request.Request(url, body, {"Accept": accept, "Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def canvas(page: Any, name: str) -> np.ndarray:
    """The pixels of a canvas, (H, W, 4)."""
    url = page.locator(f"#{name}").evaluate("canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def colors(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def await_mask(page: Any) -> None:
    page.locator("#legend li").first.wait_for()


def status_of(page: Any, words: str) -> str:
    page.locator("#status", has_text=words).wait_for()
    return str(page.locator("#status").inner_text())


def upload(page: Any, name: str, kind: str, body: bytes) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": body})


def seen(page: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What the canvases look like together, at the mask's size (H, W, 3)."""
    shot = Image.open(io.BytesIO(page.locator("#stack").screenshot(animations="disabled")))
    return np.asarray(shot.convert("RGB").resize((shape[1], shape[0])))


def tab_to(page: Any, selector: str) -> None:
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.locator(selector).first.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"{selector} is not reached by the Tab key")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_by_keyboard_alone_from_an_example_to_its_classes(visit: Any, address: str, size: tuple[int, int]) -> None:
    page = visit(address, size)
    page.locator("#examples img").last.wait_for()
    tab_to(page, "#examples button")
    page.keyboard.press("Enter")
    await_mask(page)
    picture = get(f"{address}examples/street-1.jpg")
    mask_HW3 = colors(get(f"{address}v1/segment", picture))
    answer = json.loads(get(f"{address}v1/segment", picture, "application/json"))
    assert np.array_equal(canvas(page, "mask")[..., :3], mask_HW3)
    assert (canvas(page, "mask")[..., 3] == 255).all()
    rows = sorted((row for row in answer["classes"] if row["share"]), key=lambda row: -row["share"])
    assert len(rows) > 1, "a mask of one class would tell little"
    texts = page.locator("#legend button").all_inner_texts()
    assert [text.split("\n")[0] for text in texts] == [row["name"] for row in rows]
    shares = [float(re.search(r"([\d.]+)\s%", text)[1]) for text in texts]
    assert sum(shares) == pytest.approx(100, abs=0.1 * len(shares))
    assert status_of(page, "took").startswith(rows[0]["name"])
    facts = page.locator("aside").inner_text()
    for words in ("road:1", "torch", "480 x 360", "queue", "decode", "infer", "encode"):
        assert words in facts
    plain_HW3 = seen(page, mask_HW3.shape)
    tab_to(page, "#legend button")
    is_dark_HW = canvas(page, "spot")[..., 3] > 0
    assert np.array_equal(~is_dark_HW, (mask_HW3 == rows[0]["color"]).all(axis=2))
    lit_HW3 = seen(page, is_dark_HW.shape)
    assert lit_HW3[is_dark_HW].mean() < 0.45 * plain_HW3[is_dark_HW].mean()
    assert lit_HW3[~is_dark_HW].mean() > 0.9 * plain_HW3[~is_dark_HW].mean()
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]


def test_the_slider_changes_what_is_seen(visit: Any, address: str) -> None:
    page = visit(address)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    upload(page, "street.png", "image/png", saved(pixels()))
    await_mask(page)
    shots = [page.locator("#stack").screenshot()]
    for key, opacity, view in (("ArrowRight", "0.6", "Overlay"), ("End", "1", "Mask"), ("Home", "0", "Image")):
        page.locator("#opacity").press(key)
        assert page.locator("#mask").evaluate("mask => getComputedStyle(mask).opacity") == opacity
        assert page.get_by_label(view, exact=True).and_(page.get_by_role("radio")).is_checked()
        shots.append(page.locator("#stack").screenshot())
    assert len(set(shots)) == len(shots)
    page.get_by_role("radio", name="Image").press("ArrowRight")
    assert page.locator("#opacity").input_value() == "55"
    assert asked.count("POST") == 1, "the server is asked once per picture"


def test_what_is_saved(visit: Any, address: str) -> None:
    page = visit(address)
    upload(page, "my street.png", "image/png", saved(pixels()))
    await_mask(page)
    files = {}
    for what in ("mask", "overlay"):
        with page.expect_download() as download:
            page.locator(f"#save-{what}").click()
        assert download.value.suggested_filename == f"my street-{what}.png"
        files[what] = colors(Path(download.value.path()).read_bytes())
    mask_HW3 = colors(get(f"{address}v1/segment", saved(pixels())))
    assert np.array_equal(files["mask"], mask_HW3)
    mixed_HW3 = 0.45 * pixels() + 0.55 * mask_HW3
    assert np.abs(files["overlay"] - mixed_HW3).max() <= 2


def test_a_photograph_that_lies_on_its_side(visit: Any, address: str) -> None:
    page = visit(address)
    exif = Image.Exif()
    exif[0x0112] = 6
    body = saved(np.repeat(np.repeat(pixels(6, 8), 8, 0), 8, 1), "JPEG", exif=exif, quality=95)
    upload(page, "phone.jpg", "image/jpeg", body)
    await_mask(page)
    upright_HW3 = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(body))))
    assert canvas(page, "mask").shape == (64, 48, 4)
    assert np.abs(canvas(page, "picture")[..., :3].astype(int) - upright_HW3).mean() < 5
    assert np.array_equal(canvas(page, "mask")[..., :3], colors(get(f"{address}v1/segment", body)))
    assert page.locator("#notes").inner_text() == ""


def test_a_picture_with_too_many_pixels_is_scaled_down_and_the_page_says_so(visit: Any, address: str) -> None:
    page = visit(address)
    page.locator("#limits", has_text="0.3 megapixels").wait_for()
    upload(page, "large.png", "image/png", saved(Image.new("RGB", (1200, 800), "grey")))
    await_mask(page)
    assert "from 1200 x 800 to 670 x 447" in page.locator("#notes").inner_text()
    assert canvas(page, "mask").shape == canvas(page, "picture").shape == (447, 670, 4)


def test_kinds_that_only_one_side_knows(visit: Any, address: str) -> None:
    page = visit(address)
    page.locator("#limits", has_text="TIFF").wait_for()
    upload(page, "a.gif", "image/gif", saved(pixels(), "GIF"))
    await_mask(page)
    assert "Sent as JPEG: this server takes PNG" in page.locator("#notes").inner_text()
    upload(page, "a.tiff", "image/tiff", saved(pixels(), "TIFF"))
    page.locator("#notes", has_text="cannot show this kind of picture").wait_for()
    assert np.array_equal(canvas(page, "mask")[..., :3], colors(get(f"{address}v1/segment", saved(pixels()))))


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_picture_that_is_dropped_or_pasted(visit: Any, address: str, event: str) -> None:
    page = visit(address)
    encoded = base64.b64encode(saved(pixels())).decode()
    page.locator("#drop").evaluate(
        """(zone, [event, encoded]) => {
            const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "street.png", { type: "image/png" }));
            const options = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
            zone.dispatchEvent(event === "drop" ? new DragEvent(event, options) : new ClipboardEvent(event, options));
        }""",
        [event, encoded],
    )
    await_mask(page)
    assert canvas(page, "mask").shape == (48, 64, 4)


def test_a_file_that_is_no_picture(visit: Any, address: str) -> None:
    page = visit(address, expected="status of 415")
    with page.expect_response("**/v1/segment") as response:
        upload(page, "notes.txt", "text/plain", b"hello")
    said = status_of(page, "text/plain")
    error = response.value.json()["error"]
    assert error["message"].lower() in said.lower()
    assert error["request_id"] in said
    upload(page, "street.png", "image/png", saved(pixels()))
    await_mask(page)
    assert "text/plain" not in page.locator("#status").inner_text()


def test_of_two_pictures_the_later_one_stays(visit: Any, address: str) -> None:
    page = visit(address, expected="ERR_ABORTED")
    page.locator("#limits", has_text="megapixels").wait_for()
    upload(page, "first.png", "image/png", saved(Image.new("RGB", (1200, 800), "grey")))
    upload(page, "second.png", "image/png", saved(pixels()))
    await_mask(page)
    page.wait_for_load_state("networkidle")
    assert page.locator("#stack").get_attribute("aria-label").startswith("second.png")
    assert canvas(page, "picture").shape == canvas(page, "mask").shape == (48, 64, 4)


def test_a_server_out_of_reach(visit: Any, address: str) -> None:
    page = visit(address, expected="ERR_INTERNET_DISCONNECTED")
    page.locator("#examples img").last.wait_for()
    page.context.set_offline(True)
    upload(page, "street.png", "image/png", saved(pixels()))
    status_of(page, "cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    await_mask(page)


def test_without_a_model_the_page_waits_and_goes_on_by_itself(visit: Any, tmp_path: Path) -> None:
    registry = Registry(open_store(str(tmp_path)))
    service = made(registry)
    with served(service) as address:
        page = visit(address, expected="status of 503")
        status_of(page, "roadbed models promote")
        page.get_by_role("button", name="Example 2").click()
        status_of(page, "roadbed models promote")
        promote(registry, publish(registry))
        service.follower.look()
        await_mask(page)
        assert canvas(page, "mask").shape == (360, 480, 4)
        assert "road:1" in page.locator("#model").inner_text()


def test_when_too_many_wait_it_asks_again(
    visit: Any, service: Service, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = made(registry, limits={"waiting": 1})
    busy.follower.serving = service.follower.serving
    begun, go = threading.Event(), threading.Event()
    monkeypatch.setattr(Predictor, "predict", lambda _, image: begun.set() or (go.wait(60) and image[:, :, 0] // 32))
    with served(busy) as address:
        other = threading.Thread(target=get, args=(f"{address}v1/segment", saved(pixels())))
        other.start()
        assert begun.wait(60)
        page = visit(address, expected="status of 429")
        upload(page, "street.png", "image/png", saved(pixels()))
        assert "asks again in 1 s" in status_of(page, "requests wait")
        go.set()
        other.join()
        await_mask(page)
        assert np.array_equal(canvas(page, "mask")[..., :3], colors(get(f"{address}v1/segment", saved(pixels()))))


def test_a_key_is_asked_for_and_kept(visit: Any, service: Service, registry: Registry) -> None:
    guarded = made(registry)
    guarded.follower.serving = service.follower.serving
    with served(guarded, key_hashes=[hashlib.sha256(b"sesame").hexdigest()]) as address:
        page = visit(address, expected="status of 401")
        field = page.get_by_label("This endpoint wants a key")
        field.fill("open")
        field.press("Enter")
        status_of(page, "does not open")
        field.fill("sesame")
        field.press("Enter")
        page.locator("#examples img").last.wait_for()
        assert not field.is_visible()
        page.reload()
        page.locator("#examples img").last.wait_for()
        upload(page, "street.png", "image/png", saved(pixels()))
        await_mask(page)
