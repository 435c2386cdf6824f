"""The page of a run in a real Chromium, opened as a file: no errors, no sideways scrolling, inks that can be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contrast import FAINT_WORDS
from roadbed.report.run import RunStory, run_page
from roadbed.runs import RunFigures

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 800), (390, 844)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&" + "x" * 80


def story() -> RunStory:
    """Names without a place to break them, and words that would be scripts."""
    steps = [{"step": at, "loss": 2 / at, "learning_rate": 0.01 / at} for at in range(1, 60)]
    scored = {"miou": 0.5, "pixel_accuracy": 0.8, "eval_s": 3.0, "iou_per_class": {HOSTILE: 0.5, "Sky": None}}
    evaluations = [{"step": at, "epoch": at // 20} | scored for at in (20, 40)]
    figures = RunFigures(
        name=HOSTILE,
        state="failed",
        reason=HOSTILE,
        step=59,
        num_steps=60,
        num_attempts=1,
        num_workers=2,
        loss=0.1,
        evaluations=evaluations,
        notices=[{"step": 3, "notice": HOSTILE}],
        images_per_s=5.0,
        data_wait_share=0.1,
        seconds=100.0,
    )
    spec = f"model: {{architecture: deeplabv3plus, backbone: {'b' * 90}}}\n"
    return RunStory(HOSTILE, figures, steps + evaluations, [{"host": HOSTILE, "num_workers": 2}], spec)


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "dark"), (PHONE, "light")], ids=["desktop", "phone"])
def test_it_opens_without_errors_and_without_sideways_scrolling(
    browser: Any, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    path = tmp_path / "run.html"
    path.write_text(run_page(story()), encoding="utf-8")
    problems: list[str] = []
    context = browser.new_context(viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda said: problems.append(said.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or problems.append(request.url))
    page.goto(path.as_uri())
    page.locator("summary").click()
    assert page.locator("pre").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert page.locator("script, img").count() == 0
    drawing = page.locator("svg:visible")
    assert drawing.get_attribute("class") == f"curves-{'wide' if size == DESKTOP else 'narrow'}"
    assert not page.evaluate(FAINT_WORDS), "words that can hardly be told from their ground"
    assert problems == []
    context.close()
