"""The page of an evaluation in a real Chromium, opened as a file: no errors, no sideways scrolling, seen pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contrast import FAINT_WORDS
from evaluation_examples import evaluation, label_space, look
from roadbed.evaluation import Comparison
from roadbed.report.evaluation import evaluation_page

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 800), (390, 844)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&" + "x" * 80


def page_text(kind: str) -> str:
    """Eleven classes and two versions; nineteen; and names without a place to break them that would be scripts."""
    num_classes = 19 if kind == "nineteen" else 11
    facts: dict[str, Any] = {"num_classes": num_classes, "draws": 100}
    if kind == "hostile":
        facts |= {"labels": label_space(11, name=HOSTILE), "split": HOSTILE, "dataset_uri": HOSTILE}
    found = evaluation(9, **facts)
    other = evaluation(9, wrong=0.1, reference=f"{HOSTILE if kind == 'hostile' else 'road'}:2", **facts)

    def seen(sample: int) -> Any:
        return look(sample, num_classes=num_classes, size_px=(180, 240))

    return evaluation_page(found, seen, None if kind == "nineteen" else (Comparison(found, other), seen))


@pytest.fixture(scope="module", params=["compared", "nineteen", "hostile"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_text(request.param), encoding="utf-8")
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
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert page.locator("script").count() == 0
    images = page.locator("img")
    assert images.count() >= 36
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    for image in images.all():
        box = image.bounding_box()
        assert box["width"] > 140
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
    drawing = page.locator("svg:visible")
    assert drawing.get_attribute("class") == f"reliability-{'wide' if size == DESKTOP else 'narrow'}"
    matrix = page.get_by_role("region", name="Confusion matrix")
    matrix.scroll_into_view_if_needed()
    assert matrix.get_by_role("row").count() > 11
    assert not page.evaluate(FAINT_WORDS), "words that can hardly be told from their ground"
    assert problems == []
    context.close()
