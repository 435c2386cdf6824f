"""`roadbed models list|show|promote|export`."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import connection, store_option
from roadbed.cli.table import iou_table

if TYPE_CHECKING:
    from roadbed.registry.exports import Export


@click.group()
def models() -> None:
    """The registry: versions of models, and aliases such as champion that name one of them.

    \b
    roadbed models list
    roadbed models promote camvid:3
    """


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def list_versions(store: str, as_json: bool) -> None:
    """List all versions with their scores and aliases.

    \b
    roadbed models list
    roadbed models list --store s3://team/roadbed --json
    """
    from roadbed.registry import Registry
    from roadbed.storage import open_store

    with connection(store):
        registry = Registry(open_store(store))
        rows = [row for name in registry.names() for row in _rows(registry, name)]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif not rows:
        click.echo(f"no versions under {store}/models yet; train one with output.register_as, or `roadbed quickstart`")
    else:
        _print_rows(rows)


@models.command()
@click.argument("reference")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def show(reference: str, store: str, as_json: bool) -> None:
    """Show a version's card: REFERENCE is NAME@ALIAS, NAME:NUMBER or a uri.

    \b
    roadbed models show camvid@champion
    roadbed models show camvid:3 --json
    """
    from rich.console import Console
    from rich.table import Table

    from roadbed.registry import Registry
    from roadbed.registry.exports import find_exports
    from roadbed.storage import open_store

    with connection(store, reference):
        registry = Registry(open_store(store))
        version = registry.resolve(reference)
        card = version.card()
        exports = find_exports(version)
        is_here = version.uri.startswith(f"{registry.root.uri}/models/")
        named = registry.aliases(version.name) if is_here else {}
        aliases = [alias for alias, number in named.items() if number == version.number]
    if as_json:
        told = {"model": version.name, "version": version.number, "uri": version.uri, "aliases": aliases, "card": card}
        click.echo(json.dumps(told | {"exports": [_export_document(made) for made in exports]}, indent=1))
        return
    console = Console(highlight=False)
    scores, model = card["scores"], card["model"]
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for fact, value in (
        ("version", f"{version.name}:{version.number}" + (f"  ({', '.join(aliases)})" if aliases else "")),
        ("uri", version.uri),
        ("model", f"{model['architecture']} over {model['backbone']}, output stride {model['output_stride']}"),
        ("trained on", f"{card['spec']['data']['uri']} ({card['spec']['data']['train_split']})"),
        ("scored on", f"{card['dataset']['split']}, dataset {card['dataset']['digest'][:12]}"),
        ("run", f"{card['run']['uri']}, attempt {card['run']['attempt']}, step {card['run']['step']}"),
        ("created", _date(card["created_at"])),
        ("mIoU", f"{100 * scores['miou']:.1f} %"),
        ("pixel accuracy", f"{100 * scores['pixel_accuracy']:.1f} %"),
    ):
        facts.add_row(fact, value)
    for export in exports:
        facts.add_row(f"engine {export.engine}", _export_line(export.report))
    console.print(facts)
    console.print(class_table(card))


@models.command()
@click.argument("reference")
@click.option("--alias", default="champion", show_default=True, help="The alias to move.")
@click.option("--min-miou", type=float, default=0.0, help="Lowest mIoU, 0 to 1.")
@click.option("--min-class-iou", type=float, default=0.0, help="Lowest IoU of any class, 0 to 1.")
@click.option(
    "--max-miou-drop", type=float, default=0.01, show_default=True, help="Allowed drop below the present one."
)
@click.option("--max-class-drop", type=float, default=0.1, show_default=True, help="Allowed drop of any class.")
@click.option("--force", is_flag=True, help="Promote although a gate is not passed; the history records it.")
@click.option("--reason", default="", help="Why, for the history.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def promote(reference: str, alias: str, force: bool, reason: str, store: str, as_json: bool, **limits: float) -> None:
    """Let an alias name the version REFERENCE (NAME:NUMBER), if it passes the gates.

    \b
    roadbed models promote camvid:3
    roadbed models promote camvid:3 --alias candidate --min-miou 0.6
    roadbed models promote camvid:2 --force --reason "3 is blind at night"
    """
    from roadbed.errors import UsageError
    from roadbed.registry import Gates, Registry
    from roadbed.storage import open_store

    with connection(store, reference):
        registry = Registry(open_store(store))
        version = registry.resolve(reference)
        if not version.uri.startswith(f"{registry.root.uri}/models/"):
            raise UsageError(f"{version.uri} does not lie under {store}; name its root with --store")
        registry.promote(
            version.name, version.number, alias=alias, gates=Gates(**limits), force=force, by=_user(), reason=reason
        )
    if as_json:
        told = {"model": version.name, "version": version.number, "alias": alias, "uri": version.uri}
        click.echo(json.dumps(told, indent=1))
        return
    click.echo(f"{version.name}@{alias} is now version {version.number}")


@models.command()
@click.argument("reference")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME",
    help="openvino, onnxruntime or inductor; without it, both first.",
)
@click.option(
    "--dataset", metavar="URI", help="Where the frames come from to compare on; else the version's own dataset."
)
@click.option("--split", help="The split of these frames; else the one that the version was scored on.")
@click.option("--num-frames", type=click.IntRange(1), default=50, show_default=True, help="How many, evenly chosen.")
@click.option(
    "--min-equal", type=click.FloatRange(0, 1), default=0.995, show_default=True, help="Least share of pixels."
)
@click.option(
    "--max-miou-drop", type=click.FloatRange(0, 1), default=0.005, show_default=True, help="Most mIoU to lose."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads to compare with.")
@click.option("--replace", is_flag=True, help="Export anew what is exported already.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def export(
    reference: str,
    engines: tuple[str, ...],
    dataset: str | None,
    split: str | None,
    num_frames: int,
    min_equal: float,
    max_miou_drop: float,
    threads: int,
    replace: bool,
    as_json: bool,
    store: str,
) -> None:
    """Make the version REFERENCE ready for engines that are faster than torch, if they see what torch sees.

    Every engine is compared with torch in float32 on frames of a dataset; below the limits it gets no export.

    \b
    roadbed models export camvid@champion
    roadbed models export camvid:3 --engine openvino --num-frames 100
    """
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.dataset import Dataset
    from roadbed.errors import UsageError
    from roadbed.inference.engines import PACKAGES, is_installed, needs_files
    from roadbed.inference.export import Limits, check_exportable, export_version
    from roadbed.registry import Registry
    from roadbed.storage import open_store

    exported = [engine for engine in PACKAGES if needs_files(engine)]
    chosen = engines or tuple(engine for engine in exported if is_installed(engine))
    if not chosen:
        raise UsageError(f"none of the engines {', '.join(exported)} is installed; pip install 'roadbed[engines]'")
    with connection(store, reference, dataset or ""):
        version = Registry(open_store(store)).resolve(reference)
        card = version.card()
        for engine in chosen:
            check_exportable(version, engine, replace=replace)
        part = Dataset.open(dataset or card["dataset"]["uri"]).split(split or card["dataset"]["split"])
        samples, documents = part.spread(num_frames), []
        for engine in chosen:
            with WorkProgress(engine) as progress:

                def frames(progress: WorkProgress = progress) -> Iterator[Any]:
                    for done, sample in enumerate(samples):
                        yield part.read_sample(sample)
                        progress.update(done + 1, len(samples), part.key(sample))

                made = export_version(
                    version,
                    engine,
                    frames(),
                    limits=Limits(min_equal, max_miou_drop),
                    threads=threads,
                    replace=replace,
                )
            documents.append(_export_document(made))
            if not as_json:
                click.echo(f"{engine}: {_export_line(made.report)}")
                click.echo(f"{made.uri} ({made.num_bytes / 1e6:.0f} MB)")
    if as_json:
        click.echo(json.dumps(documents, indent=1))


def _export_document(made: Export) -> dict[str, Any]:
    return {"engine": made.engine, "uri": made.uri, "bytes": made.num_bytes, "report": dict(made.report)}


def _export_line(report: Mapping[str, Any]) -> str:
    """How near an engine came to torch, and how fast it is, in one line."""
    parity = report["parity"]
    text = f"{100 * parity['equal']:.2f} % of the pixels as torch (worst frame {100 * parity['worst_equal']:.2f} %)"
    if parity["miou"] is not None:
        text += f", mIoU {100 * parity['miou']:.2f} % (torch {100 * parity['reference_miou']:.2f} %)"
    return f"{text}, {parity['ms']:.0f} ms a frame (torch {parity['reference_ms']:.0f} ms); {report['note']}"


def class_table(card: dict[str, Any]) -> Any:
    """A table of a version's IoU per class with bars, in the order of its classes."""
    ious = card["scores"]["iou_per_class"]
    return iou_table({row["name"]: ious[row["name"]] for row in card["label_space"]["classes"]})


def _rows(registry: Any, name: str) -> list[dict[str, Any]]:
    aliases = registry.aliases(name)
    rows = []
    for number in registry.versions(name):
        card = registry.resolve(f"{name}:{number}").card()
        rows.append(
            {
                "model": name,
                "version": number,
                "aliases": [alias for alias, named in aliases.items() if named == number],
                "miou": card["scores"]["miou"],
                "pixel_accuracy": card["scores"]["pixel_accuracy"],
                "split": card["dataset"]["split"],
                "run": card["run"]["name"],
                "created_at": card["created_at"],
            }
        )
    return rows


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("version", "alias", "mIoU", "pixels right", "run", "created", box=None, header_style="bold")
    for row in rows:
        table.add_row(
            f"{row['model']}:{row['version']}",
            ", ".join(row["aliases"]),
            f"{100 * row['miou']:.1f} %",
            f"{100 * row['pixel_accuracy']:.1f} %",
            row["run"],
            _date(row["created_at"]),
        )
    Console(highlight=False).print(table)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
