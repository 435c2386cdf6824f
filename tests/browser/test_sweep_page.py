"""The page of a sweep in a real Chromium, opened as a file: no errors, no sideways scrolling, inks that can be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contrast import FAINT_WORDS
from roadbed.report.sweep import sweep_page
from roadbed.tuning.results import SweepResult
from sweep_examples import asha_sweep, pbt_sweep, sweep, trial

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 800), (390, 844)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&"


def hostile_sweep() -> SweepResult:
    """Names without a place to break them, and words that would be scripts."""
    values = {f"train.{'x' * 80}{number}": "y" * 200 for number in range(12)} | {f"train.{HOSTILE}": HOSTILE}
    failed = trial(1, run="r" * 300, values=values, state="failed", reason="z" * 2000 + HOSTILE)
    return sweep(trial(0, [0.1, 0.2], run=HOSTILE, values=values), failed, name=HOSTILE * 3, registered="v" * 200)


SWEEPS = {"stops": asha_sweep, "population": pbt_sweep, "many": lambda: asha_sweep(60), "hostile": hostile_sweep}


@pytest.fixture(scope="module", params=SWEEPS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "sweep.html"
    path.write_text(sweep_page(SWEEPS[request.param]()), encoding="utf-8")
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
    assert page.locator("script, img").count() == 0
    shown = "wide" if size == DESKTOP else "narrow"
    drawings = page.locator("svg:visible")
    assert drawings.count() >= 2
    for drawing in drawings.all():
        assert drawing.get_attribute("class").endswith(shown)
        assert drawing.get_attribute("aria-label")
        box = drawing.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["height"] > 100
    row = page.locator("tr.best")
    assert row.count() == 1
    assert page.get_by_role("cell", name="finished").first.is_visible()
    assert not page.evaluate(FAINT_WORDS), "words that can hardly be told from their ground"
    assert problems == []
    context.close()
