"""The page of the doctor in a real Chromium, opened as a file: no errors, no sideways scrolling, seen pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contrast import FAINT_WORDS
from roadbed.data.doctor import examine
from roadbed.data.doctor.recognise import recognise
from roadbed.data.sources.painted import paint_folder
from roadbed.report.doctor import doctor_page

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 800), (390, 844)
HOSTILE = "<img src=x onerror=alert(1)>&'" + "x" * 120


def plant(folder: Path) -> None:
    """An error, warnings and a note, twelve of one kind, and a name that would be a script."""
    masks, frames = folder / "masks", folder / "images"
    for number in range(12):
        Image.fromarray(np.full((120, 160), 255, np.uint8)).save(masks / f"train/train_{number:06d}.png")
    shifted = np.roll(np.asarray(Image.open(masks / "train/train_000013.png")), 8, 1)
    Image.fromarray(shifted).save(masks / "train/train_000013.png")
    blended = (
        Image.open(masks / "train/train_000014.png").resize((80, 60), Image.Resampling.BILINEAR).resize((160, 120))
    )
    blended.save(masks / "train/train_000014.png")
    Image.open(frames / "val/val_000001.png").save(frames / "train/train_000015.png")
    for kind in (masks, frames):
        (kind / "train/train_000000.png").rename(kind / f"train/{HOSTILE}.png")


@pytest.fixture(scope="module", params=["clean", "ill"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    paint_folder(folder, {"train": 20, "val": 5}, arrangement="folder", size_px=(120, 160), seed=1)
    if request.param == "ill":
        plant(folder)
    subject = recognise(str(folder))
    path = folder / "doctor.html"
    path.write_text(doctor_page(examine(subject), subject), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_opens_without_errors_and_without_sideways_scrolling(
    browser: Any, path: Path, size: tuple[int, int], scheme: str
) -> None:
    problems: list[str] = []
    context = browser.new_context(viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda said: problems.append(said.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or problems.append(request.url))
    page.goto(path.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert page.locator("script").count() == 0
    for picture in page.locator("img").all():
        assert picture.get_attribute("alt")
        assert picture.evaluate("one => one.naturalWidth") > 100
        box = picture.bounding_box()
        assert box["x"] + box["width"] <= size[0]
    for link in page.locator(".index a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    assert not page.evaluate(FAINT_WORDS), "words that can hardly be told from their ground"
    assert problems == []
    context.close()
