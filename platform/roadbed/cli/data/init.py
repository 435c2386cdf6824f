"""`roadbed data init`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadbed.cli.data.making import default_threads
from roadbed.cli.store import advise, connection, store_option, tell

if TYPE_CHECKING:
    from roadbed.data.parallel import Progress
    from roadbed.data.proposal.job import Ancestor
    from roadbed.data.proposal.propose import Proposal

CLASSES_SHOWN = 12


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Of dataset, run and model.  [default: that of the folder]")
@click.option(
    "--val-share", type=float, default=0.2, show_default=True, metavar="X", help="Share of frames to hold out."
)
@click.option("--from", "reference", metavar="VERSION", help="Go on from this version: NAME@ALIAS or NAME:NUMBER.")
@store_option
@click.option("--rest", metavar="CLASS", help="Class of what no polygon covers.  [default: ignored]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--threads", type=click.IntRange(1), help="[default: one per CPU, at most 8]")
def init(
    folder: Path,
    name: str | None,
    val_share: float,
    reference: str | None,
    store: str,
    rest: str | None,
    as_json: bool,
    threads: int | None,
) -> None:
    """Propose classes.yaml, splits.txt and train.yaml for the frames and masks in DIR.

    Masks hold ids or colours, in DIR/masks or beside the frames; names come from what exports leave beside them
    (labelmap.txt, label_colors.txt, class_dict.csv, labels.txt), or from the palettes of Pascal VOC, CamVid, Cityscapes
    or the numbers of COCO-Stuff. Where there are no masks but polygons of labelme, CVAT or COCO, DIR/masks is drawn.
    Nothing that exists is changed.

    \b
    roadbed data init own/
    roadbed data init own/ --name yard --rest background
    roadbed data init own/ --from camvid@champion
    """
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.proposal.job import job_name
    from roadbed.data.proposal.propose import Wishes, propose
    from roadbed.errors import UsageError

    if name is not None and name != job_name(name):
        raise UsageError(f"--name {name}: a name has small letters, digits and dashes; try --name {job_name(name)}")
    wishes = Wishes(name, val_share, rest, _ancestor(reference, store) if reference else None)
    with ExitStack() as bars:

        def watch(title: str) -> Progress:
            bars.close()
            return bars.enter_context(WorkProgress(title)).update

        proposal = propose(folder, wishes, num_threads=default_threads(threads), watch=watch)
    if as_json:
        click.echo(json.dumps(_document(proposal), indent=1, ensure_ascii=False))
    else:
        _print(proposal)


def _document(proposal: Proposal) -> dict[str, object]:
    told = ("num_pairs", "class_names", "written", "kept", "notes", "steps")
    places = {"folder": str(proposal.top), "images": proposal.layout.images, "masks": proposal.layout.masks}
    return places | {name: getattr(proposal, name) for name in told}


def _ancestor(reference: str, store: str) -> Ancestor:
    """The version that an alias names now, by its number, and the network that its card tells of."""
    from roadbed.data.proposal.job import Ancestor
    from roadbed.registry import Registry
    from roadbed.storage import open_store

    with connection(store, reference):
        version = Registry(open_store(store)).resolve(reference)
        model = version.card()["model"]
    is_uri = "/" in reference
    return Ancestor(reference if is_uri else f"{version.name}:{version.number}", model)


def _print(proposal: Proposal) -> None:
    layout = proposal.layout
    click.echo(f"{proposal.top}: {proposal.num_pairs} pairs of frames in {layout.images}/ and masks in {layout.masks}/")
    for note in proposal.notes:
        tell(note)
    names, more = proposal.class_names[:CLASSES_SHOWN], len(proposal.class_names) - CLASSES_SHOWN
    click.echo(f"classes: {', '.join(names)}{f' and {more} more' if more > 0 else ''}")
    if proposal.written:
        click.echo(f"written: {', '.join(proposal.written)}")
    if proposal.kept:
        click.echo(f"there already, left as it is: {', '.join(proposal.kept)}")
    advise("next:")
    for step in proposal.steps:
        advise(f"  {step}")
