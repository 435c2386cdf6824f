"""What every command has: help with examples that parse, --json, a row in docs/cli.md; and what that page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from roadbed.cli import ANYWHERE, roadbed

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text()
# What writes files that were named, prints a script or JSON lines by itself, or goes on until somebody stops it.
WITHOUT_JSON = {
    *("completion", "exporter", "local monitor", "quickstart", "runs curves", "runs metrics", "runs report", "serve"),
}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every visible group and command below, by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        words = (*path, name)
        yield " ".join(words), command
        if isinstance(command, click.Group):
            yield from commands(command, words)


TREE = [("", roadbed), *commands(roadbed)]
LEAVES = [(path, command) for path, command in TREE if not isinstance(command, click.Group)]


def of(tree: list[tuple[str, click.Command]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("path", "command"), tree, ids=[path or "roadbed" for path, _ in tree])


def examples(command: click.Command) -> list[str]:
    """The lines of the help's blocks (after a line with \\b) that call roadbed, continued lines in one."""
    blocks = re.findall(r"\x08\n(.*?)(?:\n\n|$)", command.help or "", flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.search(r"\broadbed ", line)]


def json_option(command: click.Command) -> str:
    """ "yes" for a flag, "file" for one that takes a name, "-" for none."""
    found = [one for one in command.params if isinstance(one, click.Option) and "--json" in one.opts]
    return "-" if not found else "yes" if found[0].is_flag else "file"


@of(TREE)
def test_help_says_what_it_does_and_has_an_example(path: str, command: click.Command) -> None:
    assert command.help, f"roadbed {path}: has no help text; write a docstring"
    assert examples(command), f"roadbed {path}: its help has no example; add a block of \\b and `roadbed {path} ...`"


@of(TREE)
def test_every_option_is_explained(path: str, command: click.Command) -> None:
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"roadbed {path}: {option.opts[0]} has no help text; give it help="


@of(TREE)
def test_examples_of_help_parse(path: str, command: click.Command) -> None:
    for line in examples(command):
        for words in called(line):
            try:
                parse(words)
            except click.ClickException as error:
                raise AssertionError(
                    f"roadbed {path}: its example {line.strip()!r}: {error.format_message()}"
                ) from None


def called(line: str) -> Iterator[list[str]]:
    """The words behind each `roadbed` of a shell line, without pipes, redirections and comments."""
    plain = re.sub(r"\$\((.*?)\)", r"\1", line.replace('"$(', "$("))
    for part in re.split(r"\||;|  #|  +(?=[a-z])|>", plain):
        words = shlex.split(part, comments=True) if part.count('"') % 2 == 0 else shlex.split(part.replace('"', ""))
        if "roadbed" in words:
            yield words[words.index("roadbed") + 1 :]


def parse(words: list[str]) -> None:
    """Raises ClickException for words that the command line refuses; runs nothing. Files need not exist."""
    command, context = roadbed, click.Context(roadbed, info_name="roadbed")
    words = [word for word in words if word not in ANYWHERE]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    try:
        command.make_context(command.name, words, parent=context.parent)
    except click.BadParameter as error:
        if "does not exist" not in error.format_message():
            raise


def test_an_example_that_does_not_parse_is_found() -> None:
    (words,) = called("FOO=1 roadbed data verify uri --quik | cat")
    with pytest.raises(click.NoSuchOption, match="--quik"):
        parse(words)


@of(LEAVES)
def test_whoever_reports_something_has_json(path: str, command: click.Command) -> None:
    has_json = json_option(command) != "-"
    assert has_json or path in WITHOUT_JSON, (
        f"roadbed {path}: has no --json; add the option as other commands have it, so that stdout is one document, or "
        "name it in WITHOUT_JSON if there is nothing to report"
    )


@of(LEAVES)
def test_the_page_has_a_row_for_every_command(path: str, command: click.Command) -> None:
    row = re.search(rf"^\| `{re.escape(path)}` \| .+ \| (.+) \|$", PAGE, flags=re.MULTILINE)
    assert row, f"docs/cli.md: its table of verbs has no row for `{path}`: add | `{path}` | what it does | JSON |"
    told, is_there = row[1], json_option(command)
    assert told == is_there or (told, is_there) == ("lines", "yes"), (
        f"docs/cli.md: the row of `{path}` says of JSON {told!r}, the command has {is_there!r}"
    )


def test_the_page_names_no_command_that_is_not_there() -> None:
    told = set(re.findall(r"^\| `([a-z ]+)` \| .+ \| (?:yes|file|lines|-) \|$", PAGE, flags=re.MULTILINE))
    assert told == {path for path, _ in LEAVES}


def test_the_page_names_every_variable_of_ours() -> None:
    sources = [path.read_text() for path in (ROOT / "platform").rglob("*.py")]
    read = {name for text in sources for name in re.findall(r"ROADBED_[A-Z_]*[A-Z]", text)}
    table = PAGE.partition("## Environment variables")[2]
    missing = {name for name in read if not re.search(rf"\b{name}\b", table)} - {"_ROADBED_COMPLETE"[1:]}
    assert not missing, f"docs/cli.md: its table of environment variables lacks {', '.join(sorted(missing))}"
