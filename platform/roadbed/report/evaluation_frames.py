"""Which frames an evaluation's page shows: the best, the middle and the worst, and where two versions differ most."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from roadbed.data.labels import LabelSpace
from roadbed.evaluation import Comparison, Evaluation
from roadbed.evaluation.tallies import FrameTally
from roadbed.report.evaluation_panels import Captioned, error_panel, figures, image_panel, mask_panel
from roadbed.report.evaluation_sections import swatch
from roadbed.report.overlay import PixelArray, save_comparison
from roadbed.report.page import card
from roadbed.report.sweep_table import one_line
from roadbed.words import percent

Look = Callable[[int], tuple[PixelArray, PixelArray, PixelArray]]

# So many of each kind, at most.
FRAMES_OF_KIND, FRAMES_OF_DIFFERENCE = 3, 2
KEY_LETTERS = 100
# Of the 5 MB of a page.
MOST_LETTERS, MOST_LETTERS_OF_DIFFERENCES = 3_200_000, 1_300_000


def frames_card(evaluation: Evaluation, look: Look) -> str:
    """The frames of the highest, the middle and the lowest mIoU, with what is in their masks."""
    kinds = chosen(evaluation.ranked)
    pixels = {frame.sample: look(frame.sample) for frames in kinds.values() for frame, _ in frames}
    groups = {
        title: [_captioned(frame, miou, pixels[frame.sample], evaluation.labels) for frame, miou in frames]
        for title, frames in kinds.items()
    }
    told = "By the mIoU of each frame by itself. Black is not labelled; errors are red over the frame in grey."
    legend = _legend((mask_HW for parts in pixels.values() for mask_HW in parts[1:]), evaluation.labels)
    return card("Frames", f'<p class="faint">{told}</p>{legend}{figures(groups, most_letters=MOST_LETTERS)}')


def save_frames(evaluation: Evaluation, look: Look, folder: Path) -> list[Path]:
    """Write the same frames as PNGs of their own, KIND-PLACE-KEY.png: frame, truth, prediction and errors in a row."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for title, frames in chosen(evaluation.ranked).items():
        for place, (frame, _) in enumerate(frames, start=1):
            path = folder / f"{title.lower()}-{place}-{re.sub(r'[^A-Za-z0-9._-]+', '-', frame.key)[:KEY_LETTERS]}.png"
            save_comparison(*look(frame.sample), evaluation.labels, path, title=frame.key)
            paths.append(path)
    return paths


def differing_card(comparison: Comparison, first_look: Look, second_look: Look) -> str:
    """The frames in which the second version gained and lost most; "" if there is none."""
    first, second = comparison.first, comparison.second
    names = [one_line(one.scoring.reference) for one in (first, second)]
    gains = differing(first, second)
    kinds = {
        f"Where {names[1]} gains most": [pair for pair in gains[:FRAMES_OF_DIFFERENCE] if pair[1] > 0],
        "Where it loses most": [pair for pair in gains[: -FRAMES_OF_DIFFERENCE - 1 : -1] if pair[1] < 0],
    }
    groups: dict[str, list[Captioned]] = {}
    for title, frames in kinds.items():
        for frame, gain in frames:
            image_HW3, truth_HW, first_HW = first_look(frame.sample)
            masks = (("truth", truth_HW), (names[0], first_HW), (names[1], second_look(frame.sample)[2]))
            panels = [mask_panel(name, mask_HW, first.labels) for name, mask_HW in masks]
            caption = f"{frame.key}: mIoU {100 * gain:+.1f} points"
            groups.setdefault(title, []).append((caption, [image_panel(frame.key, image_HW3), *panels]))
    body = figures(groups, most_letters=MOST_LETTERS_OF_DIFFERENCES)
    return card("Frames that differ most", body) if body else ""


def chosen(ranked: Sequence[tuple[FrameTally, float]]) -> dict[str, list[tuple[FrameTally, float]]]:
    """Of frames from the best to the worst the first, the middle and the last ones, none of them twice."""
    number, each = len(ranked), min(FRAMES_OF_KIND, max(1, len(ranked) // 3))
    middle = (number - each) // 2
    places = {
        "Best": range(each),
        "Middle": range(middle, middle + each),
        "Worst": range(number - 1, number - each - 1, -1),
    }
    taken: set[int] = set()
    found = {}
    for title, wanted in places.items():
        free = [place for place in wanted if place not in taken]
        taken.update(free)
        if free:
            found[title] = [ranked[place] for place in free]
    return found


def differing(first: Evaluation, second: Evaluation) -> list[tuple[FrameTally, float]]:
    """The labelled frames with what the second's mIoU is above the first's, the largest gain first."""
    before = {frame.sample: miou for frame, miou in first.ranked}
    gains = [(frame, miou - before[frame.sample]) for frame, miou in second.ranked]
    return sorted(gains, key=lambda pair: (-pair[1], pair[0].sample))


def _captioned(
    frame: FrameTally, miou: float, pixels: tuple[PixelArray, PixelArray, PixelArray], labels: LabelSpace
) -> Captioned:
    image_HW3, truth_HW, predicted_HW = pixels
    right = int(np.trace(frame.counts_KK)) / int(frame.counts_KK.sum())
    return f"{frame.key}: mIoU {percent(miou)}, {percent(right)} of the pixels right", [
        image_panel(frame.key, image_HW3),
        mask_panel("truth", truth_HW, labels),
        mask_panel("prediction", predicted_HW, labels),
        error_panel(image_HW3, truth_HW, predicted_HW, frame.counts_KK, labels),
    ]


def _legend(masks: Iterable[PixelArray], labels: LabelSpace) -> str:
    """The colours of the classes that these masks have."""
    seen = {number for mask_HW in masks for number in np.unique(mask_HW).tolist()}
    items = "".join(
        f"<li>{swatch(label_class.color)}{escape(one_line(label_class.name))}</li>"
        for number, label_class in enumerate(labels.classes)
        if number in seen
    )
    return f'<ul class="legend">{items}</ul>'
