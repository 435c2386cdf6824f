"""What the doctor found as a page of its own: every finding with its fix, its files, and pictures of the first."""

from __future__ import annotations

import re
from html import escape

from roadbed.data.doctor import Diagnosis, Fault, Finding, Subject
from roadbed.data.doctor.checks import SEVERITIES
from roadbed.data.doctor.findings import UNLABELLED
from roadbed.data.labels import LabelSpace
from roadbed.report.doctor_pictures import panels
from roadbed.report.page import card, html_page
from roadbed.words import percent

# Of each finding: so many faults with pictures, so many at once, the others (those that were kept) to be unfolded.
FAULTS_DRAWN, FAULTS_SHOWN = 3, 10
# Pictures stop here, so that the page can be sent by mail.
MOST_PICTURE_BYTES = 4_000_000


def doctor_page(diagnosis: Diagnosis, subject: Subject) -> str:
    """The whole page, as HTML; `subject` is what was looked at, for the pictures."""
    cards = [_verdict(diagnosis)]
    room = MOST_PICTURE_BYTES
    for finding in diagnosis.findings:
        pictures = _pictures(finding, subject, room)
        room -= len(pictures)
        cards.append(_finding(finding, pictures))
    cards.append(_shares(diagnosis, subject.label_space))
    counts = ", ".join(f"{count:,} {split}" for split, count in diagnosis.num_pairs.items())
    return html_page(
        cards,
        title=f"{diagnosis.subject}: what roadbed's doctor found",
        heading=diagnosis.subject,
        below=f"{diagnosis.kind}: pairs of frame and mask: {counts}",
        footer="By roadbed data doctor, which changes nothing.",
        styles=("doctor.css",),
    )


def _verdict(diagnosis: Diagnosis) -> str:
    """How bad it is, and where to read on."""
    if not diagnosis.findings:
        return card("", '<p id="won">Nothing odd was found.</p>')
    told = ", ".join(
        f"{count} {severity}{'' if count == 1 else 's'}"
        for severity in SEVERITIES
        if (count := diagnosis.count(severity))
    )
    rows = "".join(
        f'<li>{_badge(finding)}<a href="#{_anchor(finding)}">{escape(finding.title)}</a>: {finding.count:,}</li>'
        for finding in diagnosis.findings
    )
    return card("", f'<p id="won">{told}</p><ul class="index">{rows}</ul>')


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
    return f"<li><code>{escape(fault.place)}</code>: {_with_code(fault.detail)}</li>"


def _shares(diagnosis: Diagnosis, space: LabelSpace) -> str:
    """The classes' shares of the pixels, by split."""
    splits = list(diagnosis.class_shares)
    head = "".join(f'<th role="columnheader" scope="col">{escape(split)}</th>' for split in splits)
    colors = {label.name: label.color for label in space.classes}
    rows = ""
    for name in (*space.class_names, UNLABELLED):
        red, green, blue = colors.get(name, (0, 0, 0))
        swatch = f'<i class="swatch" style="background:rgb({red},{green},{blue})"></i>'
        cells = "".join(
            f'<td role="cell" data-name="{escape(split)}">{percent(diagnosis.class_shares[split][name])}</td>'
            for split in splits
        )
        rows += f'<tr role="row"><td role="cell" class="text">{swatch}{escape(name)}</td>{cells}</tr>'
    body = (
        '<p class="faint">Of masks that could be read.</p>'
        '<div class="scroll" role="region" tabindex="0" aria-label="Shares of the pixels"><table role="table">'
        f'<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col" class="text">class</th>{head}</tr>'
        f'</thead><tbody role="rowgroup">{rows}</tbody></table></div>'
    )
    return card("Shares of the pixels", body)


def _badge(finding: Finding) -> str:
    return f'<span class="badge {finding.severity}">{finding.severity}</span>'


def _anchor(finding: Finding) -> str:
    return f"{finding.check}-{finding.severity}"


def _last_part(fault: Fault) -> str:
    return fault.place.rpartition("/")[2]


def _with_code(text: str) -> str:
    """Text whose parts between backticks are code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
