"""The documents: links that lead somewhere, commands that exist."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shlex
from pathlib import Path

import click
import pytest

from roadbed.cli import ANYWHERE, roadbed
from roadbed.spec import load_any
from roadbed.spec.base import known_keys
from roadbed.spec.job import KINDS

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"), *NOTEBOOKS])


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def written(document: Path) -> str:
    """The document as Markdown: of a notebook its text, with its code in blocks, without what the code answered."""
    text = document.read_text(encoding="utf-8")
    if document.suffix != ".ipynb":
        return text
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(source if kind == "markdown" else f"```\n{source}\n```" for kind, source in cells)


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", written(document)):
        if "://" not in target:
            path = document.parent / target if target else document
            assert path.exists(), f"{document.name} links to {target}"
            assert not heading or heading in anchors(path), f"{document.name} links to {target}#{heading}"


def anchors(document: Path) -> set[str]:
    """What the headings of a document are called in links, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.*)$", written(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(document: Path) -> list[str]:
    """Every `roadbed ...` of a document, in code blocks and in the text."""
    text = written(document).replace("\\\n", " ")
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


KEYS = frozenset().union(*(known_keys(kind) for kind in KINDS.values()))
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=ids)
def test_fields_that_are_named_exist(document: Path) -> None:
    for name in re.findall(r"`([a-z]+\.[a-z_]+(?:\.[a-z_]+)*)[`:= ]", written(document)):
        if name.partition(".")[0] in SECTIONS and not name.endswith((".txt", ".yaml")):
            assert name in KEYS, f"{document.name} names {name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_jobs_take_what_is_set(document: Path) -> None:
    """Every `roadbed train jobs/... --set ...`, and the like, is a spec that is taken."""
    for line in commands(document):
        words = shlex.split(line)
        spec = next((word for word in words if re.fullmatch(r"jobs/.+\.yaml", word)), None)
        if spec is not None:
            pairs = itertools.pairwise(words)
            load_any(ROOT / spec, tuple(value for option, value in pairs if option == "--set"))


def texts_of_the_program() -> list[str]:
    """Every string of the source, whole; what is filled in is a line break and nothing else."""

    def joined(node: ast.JoinedStr) -> str:
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\n" for part in node.values)

    trees = [ast.parse(path.read_text()) for path in (ROOT / "platform").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return texts + [joined(node) for node in nodes if isinstance(node, ast.JoinedStr)]


def test_texts_by_which_symptoms_are_looked_up_are_those_of_the_program() -> None:
    """Those of the first column of docs/troubleshooting.md, with "..." for what is filled in."""
    rows = re.findall(r"^\| (.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), flags=re.MULTILINE)
    told = [text for row in rows for text in re.findall(r"`([^`]+)`", row) if " " in text]
    assert len(told) > 80
    whole = "\0".join(texts_of_the_program())
    for text in told:
        parts = [re.escape(part.strip()) for part in text.split("...")]
        assert re.search("[^\0]*".join(parts), whole), text
