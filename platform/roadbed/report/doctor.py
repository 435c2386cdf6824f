"""What the doctor found as a page of its own: every finding with its fix, its files and pictures of the first of them.

The page needs nothing beside itself, neither scripts nor a network.
"""

from __future__ import annotations

import importlib.resources
import re
from html import escape

from roadbed.data.doctor import Diagnosis, Fault, Finding, Subject
from roadbed.data.doctor.checks import SEVERITIES
from roadbed.data.labels import LabelSpace
from roadbed.report.doctor_pictures import panels
from roadbed.report.sweep import POLICY
from roadbed.words import percent

# Of each finding: so many faults with pictures, so many at once, the others (those that were kept) to be unfolded.
FAULTS_DRAWN, FAULTS_SHOWN = 3, 10
# Pictures stop here, so that the page can be sent by mail.
MOST_PICTURE_BYTES = 4_000_000


def doctor_page(diagnosis: Diagnosis, subject: Subject) -> str:
    """The whole page, as HTML; `subject` is what was looked at, for the pictures."""
    style = importlib.resources.files("roadbed.report").joinpath("doctor.css").read_text(encoding="utf-8")
    counts = ", ".join(f"{count:,} {escape(split)}" for split, count in diagnosis.num_pairs.items())
    cards = [_verdict(diagnosis)]
    room = MOST_PICTURE_BYTES
    for finding in diagnosis.findings:
        pictures = _pictures(finding, subject, room)
        room -= len(pictures)
        cards.append(_finding(finding, pictures))
    cards.append(_shares(diagnosis, subject.label_space))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="color-scheme" content="light dark">
<title>{escape(diagnosis.subject)}: what roadbed's doctor found</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<div class="page">
<header>
<h1>{escape(diagnosis.subject)}</h1>
<p>{escape(diagnosis.kind)}: pairs of frame and mask: {counts}</p>
</header>
<main>
{"".join(cards)}
</main>
<footer>By roadbed data doctor. Nothing was changed.</footer>
</div>
</body>
</html>
"""


def _verdict(diagnosis: Diagnosis) -> str:
    """How bad it is, and where to read on."""
    if not diagnosis.findings:
        return '<section class="card"><p id="verdict">Nothing odd was found.</p></section>\n'
    told = ", ".join(
        f"{count} {severity}{'' if count == 1 else 's'}"
        for severity in SEVERITIES
        if (count := diagnosis.count(severity))
    )
    rows = "".join(
        f'<li>{_badge(finding)}<a href="#{_anchor(finding)}">{escape(finding.title)}</a>: {finding.count:,}</li>'
        for finding in diagnosis.findings
    )
    return f'<section class="card"><p id="verdict">{told}</p><ul class="index">{rows}</ul></section>\n'


def _finding(finding: Finding, pictures: str) -> str:
    shown, folded = finding.faults[:FAULTS_SHOWN], finding.faults[FAULTS_SHOWN:]
    places = f'<ul class="places">{"".join(map(_place, shown))}</ul>'
    if folded:
        places += (
            f"<details><summary>{len(folded):,} more</summary>"
            f'<ul class="places">{"".join(map(_place, folded))}</ul></details>'
        )
    if finding.count > len(finding.faults):
        places += f'<p class="faint">The first {len(finding.faults):,} of {finding.count:,} are listed.</p>'
    drawn = f'<div class="pictures">{pictures}</div>' if pictures else ""
    return (
        f'<section class="card" id="{_anchor(finding)}"><h2>{_badge(finding)}{escape(finding.title)}: '
        f'{finding.count:,}</h2><p class="fix">{_with_code(finding.fix)}</p>{drawn}{places}'
        f'<p class="faint">check {escape(finding.check)}</p></section>\n'
    )


def _pictures(finding: Finding, subject: Subject, room: int) -> str:
    """Figures of the first faults, as long as there is room for so many bytes."""
    figures = ""
    for fault in finding.faults[:FAULTS_DRAWN]:
        for panel in panels(subject, fault):
            if len(figures) + panel.num_bytes > room:
                return figures
            label = escape(f"{panel.caption}; {_last_part(fault)}")
            figures += f'<figure><img src="{panel.data_uri}" alt="{label}"><figcaption>{label}</figcaption></figure>'
    return figures


def _place(fault: Fault) -> str:
    return f"<li><code>{escape(fault.place)}</code>: {escape(fault.detail)}</li>"


def _shares(diagnosis: Diagnosis, space: LabelSpace) -> str:
    """The classes' shares of the pixels, by split."""
    splits = list(diagnosis.class_shares)
    head = "".join(f'<th scope="col">{escape(split)}</th>' for split in ("class", *splits))
    colors = {label.name: label.color for label in space.classes}
    rows = ""
    for name in (*space.class_names, "unlabelled"):
        red, green, blue = colors.get(name, (0, 0, 0))
        swatch = f'<i class="swatch" style="background:rgb({red},{green},{blue})"></i>'
        cells = "".join(f"<td>{percent(diagnosis.class_shares[split][name])}</td>" for split in splits)
        rows += f"<tr><td>{swatch}{escape(name)}</td>{cells}</tr>"
    return (
        '<section class="card"><h2>Shares of the pixels</h2><p class="faint">Of masks that could be read.</p>'
        '<div class="scroll" role="region" tabindex="0" aria-label="Shares of the pixels"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>\n"
    )


def _badge(finding: Finding) -> str:
    return f'<span class="badge {finding.severity}">{finding.severity}</span>'


def _anchor(finding: Finding) -> str:
    return f"{finding.check}-{finding.severity}"


def _last_part(fault: Fault) -> str:
    return fault.place.rpartition("/")[2]


def _with_code(text: str) -> str:
    """Text whose parts between backticks are code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
