"""`roadbed explain [KIND] [FIELD]`."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

Row = tuple[str, str, str]
INDENT = "    "


def _kinds(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from roadbed.spec.job import KINDS

    return [CompletionItem(kind) for kind in KINDS if kind.startswith(incomplete)]


def _fields(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from roadbed.spec.load import explain as fields_of

    kind = context.params.get("kind") or "train"
    return [CompletionItem(key, help=meaning) for key, _, meaning in fields_of(kind) if key.startswith(incomplete)]


@click.command()
@click.argument("kind", default="train", shell_complete=_kinds)
@click.argument("field", required=False, shell_complete=_fields)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(kind: str, field: str | None, as_json: bool) -> None:
    """Print the fields of a job spec of KIND (train, tune, serve), each with its default and meaning.

    FIELD is a field, the end of one, or a section; it may also be written behind the kind, with a dot.

    \b
    roadbed explain tune
    roadbed explain train learning_rate
    roadbed explain train.data.crop_px
    """
    from roadbed.spec.job import KINDS
    from roadbed.spec.load import explain as fields_of
    from roadbed.spec.load import explain_field

    if field is None and "." in kind:
        first, _, rest = kind.partition(".")
        kind, field = (first, rest) if first in KINDS else ("train", kind)
    rows = explain_field(kind, field) if field else fields_of(kind)
    if as_json:
        click.echo(json.dumps([dict(zip(("field", "default", "meaning"), row, strict=True)) for row in rows], indent=1))
    else:
        _print(rows)


def _print(rows: Sequence[Row]) -> None:
    """A field's key and default in a line, its meaning below, so that both fit a narrow terminal."""
    width = shutil.get_terminal_size().columns
    for key, default, meaning in rows:
        told = default if default == "required" else f"default {default}"
        click.echo(f"{click.style(key, bold=True)}  {click.style(told, fg='cyan')}")
        click.echo(textwrap.fill(meaning, width, initial_indent=INDENT, subsequent_indent=INDENT))
