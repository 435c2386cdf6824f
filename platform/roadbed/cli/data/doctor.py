"""`roadbed data doctor`."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.completion import files
from roadbed.cli.data.making import default_threads
from roadbed.cli.data.splitting import splitting_options, take_splitting
from roadbed.cli.store import connection

if TYPE_CHECKING:
    from roadbed.data.doctor import Diagnosis, Finding, Subject

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@click.argument("src", required=False, shell_complete=files)
@click.option("--images", metavar="DIR", help="Frames of a folder of your own.  [default: SRC/images or the like]")
@click.option("--masks", metavar="DIR", help="Their masks.  [default: SRC/masks or the like]")
@click.option("--classes", metavar="FILE", help="What the masks hold.  [default: SRC/classes.yaml]")
@click.option("--mask-suffix", metavar="TEXT", help="End of the masks' names, as _mask.  [default: common ones]")
@splitting_options
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False), help="Write the findings as HTML, with pictures."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--places", type=click.IntRange(1), default=5, show_default=True, help="So many files of each finding.")
@click.option("--skip", "skipped", multiple=True, metavar="CHECK", help="Leave a check out; repeatable.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--checks", "list_checks", is_flag=True, help="Print the table of checks, and leave.")
@click.option("--threads", type=click.IntRange(1), help="[default: one per CPU, at most 8]")
def doctor(
    src: str | None,
    page: Path | None,
    as_json: bool,
    places: int,
    skipped: tuple[str, ...],
    strict: bool,
    list_checks: bool,
    threads: int | None,
    **folder: Any,
) -> None:
    """Find what would ruin training in SRC: raw frames and masks, or a prepared dataset.

    SRC is a folder or s3:// prefix as `roadbed data prepare` takes it (CamVid, Cityscapes, frames and masks of your own
    with a classes.yaml), or a prepared dataset. Nothing is changed. Exit status: 0 no error, 1 errors found, 2 asked in
    a way that cannot be meant.

    \b
    roadbed data doctor own/ --page doctor.html
    roadbed data doctor s3://roadbed/datasets/camvid --json
    roadbed data doctor CAMVID_FOLDER --strict --skip split-sequence
    """
    from roadbed.data.doctor import CHECKS

    if list_checks:
        for check in CHECKS.values():
            click.echo(f"{check.id:18} {check.severity:8} {check.finds}")
        return
    if src is None:
        raise click.UsageError("name a folder or a uri; `roadbed data doctor --checks` prints what is looked for")
    left_out = _checked(skipped)
    with connection(src, *(uri for uri in (folder["images"], folder["masks"], folder["classes"]) if uri)):
        subject = _recognised(src, folder)
        diagnosis = _examined(subject, left_out, default_threads(threads))
        if as_json:
            click.echo(json.dumps(diagnosis.as_json(places), indent=2))
        else:
            _print(diagnosis, places)
        if page is not None:
            _write_page(diagnosis, subject, page, says=not as_json)
    if diagnosis.count("error") or (strict and diagnosis.count("warning")):
        sys.exit(1)


def _checked(skipped: tuple[str, ...]) -> frozenset[str]:
    """The checks to leave out. Raises a usage error for one that there is not."""
    from roadbed.data.doctor import CHECKS

    for name in skipped:
        if name not in CHECKS:
            near = difflib.get_close_matches(name, CHECKS, n=1)
            hint = f"did you mean {near[0]}?" if near else "`roadbed data doctor --checks` prints them"
            raise click.UsageError(f"--skip {name}: no check of this name; {hint}")
    return frozenset(skipped)


def _recognised(src: str, folder: dict[str, Any]) -> Subject:
    from roadbed.data.doctor.recognise import FolderPlaces, recognise

    splitting = take_splitting(folder)
    return recognise(src, FolderPlaces(**folder, splitting=splitting))


def _examined(subject: Subject, left_out: frozenset[str], num_threads: int) -> Diagnosis:
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.doctor import examine

    with WorkProgress(f"doctor {subject.kind}") as bar:
        return examine(subject, num_threads=num_threads, left_out=left_out, progress=bar.update)


def _print(diagnosis: Diagnosis, most_places: int) -> None:
    counts = ", ".join(f"{count} {split}" for split, count in diagnosis.num_pairs.items())
    click.secho(f"{diagnosis.subject}  {diagnosis.kind}: {counts} pairs", bold=True)
    for finding in diagnosis.findings:
        _print_finding(finding, most_places)
    told = ", ".join(f"{word}s: {diagnosis.count(word)}" for word in ("error", "warning", "note"))
    click.echo(told if diagnosis.findings else f"{told}; nothing odd was found")


def _print_finding(finding: Finding, most_places: int) -> None:
    severity = click.style(finding.severity, fg=COLOURS[finding.severity])
    click.echo(f"{severity} [{finding.check}] {finding.title}: {finding.count}")
    for fault in finding.faults[:most_places]:
        click.echo(f"  {fault.place}: {fault.detail}")
    if finding.count > most_places:
        click.echo(f"  ... and {finding.count - most_places} more")
    click.echo(f"    {finding.fix}")


def _write_page(diagnosis: Diagnosis, subject: Subject, page: Path, *, says: bool) -> None:
    from roadbed.report.doctor import doctor_page
    from roadbed.report.files import replacing

    page.parent.mkdir(parents=True, exist_ok=True)
    with replacing(page) as partial:
        partial.write_text(doctor_page(diagnosis, subject), encoding="utf-8")
    click.echo(f"page: {page}", err=not says)
