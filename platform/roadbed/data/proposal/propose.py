"""A folder of one's own on its way to training: masks drawn where there are polygons, and three files to read and mend.

classes.yaml, splits.txt and train.yaml are written where there are none, masks into a folder of their own that was not
there. Nothing that exists is changed.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from roadbed.data.encoding import encode_mask
from roadbed.data.labels import IGNORE_ID
from roadbed.data.parallel import Progress, ProgressCounter, in_threads
from roadbed.data.proposal.classes import propose_classes
from roadbed.data.proposal.coco import read_coco
from roadbed.data.proposal.cvat import read_cvat
from roadbed.data.proposal.job import Ancestor, job_name, propose_job
from roadbed.data.proposal.labelme import read_labelme
from roadbed.data.proposal.layout import DRAWN_MASKS, Layout, find_layout
from roadbed.data.proposal.legends import Legend, read_legend
from roadbed.data.proposal.polygons import IGNORED_LABELS, Drawing, Drawings, draw
from roadbed.data.proposal.splits import propose_splits
from roadbed.data.proposal.survey import survey_masks
from roadbed.data.sources.folder_classes import parse_classes
from roadbed.data.sources.folder_pairs import pair_files
from roadbed.data.sources.tables import UNKNOWN_ID
from roadbed.errors import DataError, UsageError
from roadbed.storage import open_store

CLASSES_FILE, SPLITS_FILE, JOB_FILE = "classes.yaml", "splits.txt", "train.yaml"


@dataclass(frozen=True)
class Proposal:
    """What was found and written.

    `written` and `kept` are names of files below `top`; `notes` what somebody should know, a line each; `steps` the
    commands that lead on.
    """

    top: Path
    layout: Layout
    num_pairs: int
    class_names: tuple[str, ...]
    written: tuple[str, ...]
    kept: tuple[str, ...]
    notes: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Wishes:
    """What somebody wants otherwise than it would be proposed.

    `name` is that of dataset, run and model (by default the folder's), `val_share` the share of frames to hold out,
    `rest` the class of pixels that no polygon covers (by default they are ignored), `ancestor` the version that the job
    goes on from.
    """

    name: str | None = None
    val_share: float = 0.2
    rest: str | None = None
    ancestor: Ancestor | None = None


def propose(
    top: Path,
    wishes: Wishes | None = None,
    *,
    num_threads: int = 2,
    watch: Callable[[str], Progress] | None = None,
) -> Proposal:
    """Look at the folder `top` and write what it lacks; `watch` gives a progress for a title.

    Raises UsageError for a folder that holds no pairs and no polygons, DataError for files that cannot be read.
    """
    wishes = wishes or Wishes()
    rest = wishes.rest
    name, layout, notes = wishes.name or job_name(top.resolve().name), find_layout(top), []
    written: tuple[str, ...] = ()
    legend = read_legend(top)
    if layout.masks is None:
        legend, drawn = _draw_masks(top, layout, rest, num_threads, watch)
        layout, written = replace(layout, masks=DRAWN_MASKS), (f"{DRAWN_MASKS}/",)
        notes += drawn
    elif rest is not None:
        raise UsageError(
            f"--rest {rest}: {top}/{layout.masks} holds masks already; leave --rest out, or move them away"
        )
    images, masks = (open_store(str(top / folder)) for folder in (layout.images, layout.masks or ""))
    pairs = pair_files(images, masks, mask_suffix=layout.mask_suffix)
    notes += [f"{len(pairs.problems)} files have no partner, the first: {pairs.problems[0]}"] if pairs.problems else []
    files = [(masks, mask) for _, mask in pairs.keys.values()]
    survey = survey_masks(files, num_threads=num_threads, progress=watch("look into masks") if watch else None)
    if survey.unread:
        notes.append(f"masks that cannot be used: {len(survey.unread)}, the first {survey.unread[0]}")
    classes = propose_classes(survey, legend, name=name)
    parse_classes(classes.text, origin=CLASSES_FILE)
    splits, counts, more = propose_splits(top, pairs.keys, val_share=wishes.val_share)
    frame_px = survey.sizes.most_common(1)[0][0]
    job = propose_job(name, num_train=counts.get("train", 0), frame_px=frame_px, ancestor=wishes.ancestor)
    kept, new = _write(top, {CLASSES_FILE: classes.text, SPLITS_FILE: splits, JOB_FILE: job})
    return Proposal(
        top=top,
        layout=layout,
        num_pairs=len(pairs.keys),
        class_names=classes.names,
        written=written + new,
        kept=kept,
        notes=(*notes, *(classes.notes if CLASSES_FILE in new else ()), *more),
        steps=_steps(top, layout, name, has_split_file=splits is not None),
    )


def _write(top: Path, texts: Mapping[str, str | None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files that were there, and those that were written. None is a file that is not needed."""
    wanted = {file: text for file, text in texts.items() if text is not None}
    kept = tuple(file for file in wanted if (top / file).exists())
    new = tuple(file for file in wanted if file not in kept)
    for file in new:
        (top / file).write_text(wanted[file], encoding="utf-8")
    return kept, new


def _draw_masks(
    top: Path, layout: Layout, rest: str | None, num_threads: int, watch: Callable[[str], Progress] | None
) -> tuple[Legend, list[str]]:
    """Write a mask per drawing, and say what the numbers mean."""
    found, what = _drawings(top, layout)
    names = found.class_names()
    names += [rest] if rest is not None and rest not in names else []
    _check(found, names, top)
    ids = {class_name: number for number, class_name in enumerate(names)}
    rest_id = IGNORE_ID if rest is None else ids[rest]
    counter = ProgressCounter(len(found.drawings), watch("draw masks") if watch else None)

    def write(drawing: Drawing) -> None:
        path = top / DRAWN_MASKS / f"{_below(drawing.name, layout.images)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_mask(draw(drawing, ids, rest=rest_id)))
        counter.count()

    in_threads(write, found.drawings, num_threads)
    notes = [
        f"{DRAWN_MASKS}/: {len(found.drawings)} masks drawn from {what}; what no shape covers is {rest or 'ignored'}"
    ]
    if found.left_out:
        told = ", ".join(f"{count} of {kind}" for kind, count in sorted(found.left_out.items()))
        notes.append(f"shapes without an area, left out: {told}")
    colors = {color: label for label, color in found.colors.items() if label not in IGNORED_LABELS}
    return Legend(what, {number: class_name for class_name, number in ids.items()}, colors), notes


def _drawings(top: Path, layout: Layout) -> tuple[Drawings, str]:
    """What people drew, and where it stands."""
    if layout.cvat:
        return read_cvat(top / layout.cvat), layout.cvat
    if layout.coco:
        return read_coco(top, layout.coco), ", ".join(layout.coco)
    return read_labelme(top, layout.labelme, layout.images), "files of labelme"


def _check(found: Drawings, names: list[str], top: Path) -> None:
    """Raises DataError for drawings that make no masks."""
    if not 1 <= len(names) <= UNKNOWN_ID:
        raise DataError(f"{top}: {len(names)} labels in its polygons; between 1 and {UNKNOWN_ID} can be classes")
    doubled = [name for name, count in Counter(drawing.name for drawing in found.drawings).items() if count > 1]
    if doubled:
        raise DataError(f"{top}: two drawings of the frame {doubled[0]}; keep one of them")
    outside = [
        drawing.name for drawing in found.drawings if ".." in Path(drawing.name).parts or drawing.name[:1] == "/"
    ]
    if outside:
        raise DataError(f"{top}: the frame {outside[0]} lies outside of the folder; export with names below it")


def _below(name: str, images: str) -> str:
    """A frame's name below the folder of frames, which exports may have in front of it."""
    return name.removeprefix(f"{images}/")


def _steps(top: Path, layout: Layout, name: str, *, has_split_file: bool) -> tuple[str, ...]:
    def at(path: str) -> str:
        return shlex.quote(str(top / path))

    places = f"--images {at(layout.images)} --masks {at(layout.masks or '')} --classes {at(CLASSES_FILE)}"
    places += f" --mask-suffix {layout.mask_suffix}" if layout.mask_suffix else ""
    places += f" --split-file {at(SPLITS_FILE)}" if has_split_file else ""
    return (
        f"roadbed data doctor {shlex.quote(str(top))} {places}",
        f"roadbed data prepare folder s3://roadbed/datasets/{name} {places}",
        f"roadbed train {at(JOB_FILE)}",
    )
