"""The documents: links that lead somewhere, commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from roadbed.cli import ANYWHERE, roadbed

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_links_lead_to_files(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def commands(document: Path) -> list[str]:
    """Every `roadbed ...` of a document, in code blocks and in the text."""
    text = document.read_text().replace("\\\n", " ")
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(roadbed [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line for line in lines if line.startswith("roadbed ")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_commands_exist_with_their_options(document: Path) -> None:
    for line in commands(document):
        words = [word for word in shlex.split(line)[1:] if word not in {"...", "|"}]
        command: click.Command = roadbed
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            if words[0].isupper():
                break
            found = command.get_command(click.Context(command), words[0])
            assert found is not None, f"{document.name}: {line}"
            command, words = found, words[1:]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h", *ANYWHERE}
        for word in words:
            if word.startswith("-") and word != "-":
                assert word.split("=")[0] in known, f"{document.name}: {line}: {word}"
