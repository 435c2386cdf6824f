"""What all pages share: a file of HTML that needs nothing beside itself.

It uses neither scripts nor a network, and forbids both to whatever it is made to show. Styles lie beside this module;
page.css is that of every page.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from html import escape

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def html_page(
    cards: Sequence[str], *, title: str, heading: str, below: str, footer: str, styles: Sequence[str] = ()
) -> str:
    """The whole page. `cards` and `footer` are HTML; the other texts are text. `styles` are those besides page.css."""
    folder = importlib.resources.files("roadbed.report")
    style = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", *styles))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<div class="page">
<header>
<h1>{escape(heading)}</h1>
<p>{escape(below)}</p>
</header>
<main>
{"".join(cards)}
</main>
<footer>{footer}</footer>
</div>
</body>
</html>
"""


def card(title: str, body: str) -> str:
    """A section of the page; `body` is HTML."""
    head = f"<h2>{escape(title)}</h2>" if title else ""
    return f'<section class="card">{head}{body}</section>\n'


def bar(name: str, told: str, share: float, *, is_best: bool = False) -> str:
    """An entry of a list of class `bars`: its name, its figure, and below them a bar that is so full (0..1)."""
    kind = ' class="best"' if is_best else ""
    width = f"{100 * min(1.0, max(0.0, share)):.1f}%"
    drawn = f'<span class="bar"><i style="width:{width}"></i></span>'
    return f"<li{kind}><span>{escape(name)}</span><span>{escape(told)}</span>{drawn}</li>"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """A list of what is what; texts."""
    told = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows if value)
    return f'<dl class="facts">{told}</dl>'
