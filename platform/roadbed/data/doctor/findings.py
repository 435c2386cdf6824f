"""What the doctor found: faults, gathered by check into findings with a bounded list of places each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from roadbed.data.doctor.checks import CHECKS, SEVERITIES, Severity

MAX_FAULTS_KEPT = 200
# Beside the names of classes, what ignored pixels are told as.
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Fault:
    """One thing at one place: a file, a split or a class. `detail` says what in a few words, without the place.

    `position` is that of the pair among the subject's, `other` that of another one that it is about.
    """

    check: str
    place: str
    detail: str
    position: int | None = None
    other: int | None = None
    severity: Severity | None = None
    """Where it differs from the check's."""


@dataclass(frozen=True)
class Finding:
    """All faults of one check: how many, and the first of them in the order of the dataset."""

    check: str
    severity: Severity
    count: int
    faults: tuple[Fault, ...]

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return CHECKS[self.check].finds

    @property
    def fix(self) -> str:
        """What to do."""
        return CHECKS[self.check].fix

    def as_json(self, most_places: int) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "check": self.check,
            "severity": self.severity,
            "finds": self.title,
            "fix": self.fix,
            "count": self.count,
            "places": [{"place": fault.place, "detail": fault.detail} for fault in self.faults[:most_places]],
        }


@dataclass(frozen=True)
class Diagnosis:
    """The whole: what was looked at, and the findings, errors first."""

    subject: str
    kind: str
    num_pairs: Mapping[str, int]
    class_shares: Mapping[str, Mapping[str, float]]
    """By split, the share of every class in the pixels (0..1), and of what is "unlabelled"."""
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def as_json(self, most_places: int) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "subject": self.subject,
            "kind": self.kind,
            "pairs": dict(self.num_pairs),
            "class_shares": {split: dict(shares) for split, shares in self.class_shares.items()},
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "notes": self.count("note"),
            "findings": [finding.as_json(most_places) for finding in self.findings],
        }


@dataclass
class Gathered:
    """Faults as they come in the order of the dataset; of each check and severity the first are kept, all counted."""

    _kept: dict[tuple[str, Severity], list[Fault]] = field(default_factory=dict)
    _counts: dict[tuple[str, Severity], int] = field(default_factory=dict)

    def add(self, faults: Iterable[Fault]) -> None:
        """Take in more."""
        for fault in faults:
            kind = fault.check, fault.severity or CHECKS[fault.check].severity
            self._counts[kind] = self._counts.get(kind, 0) + 1
            kept = self._kept.setdefault(kind, [])
            if len(kept) < MAX_FAULTS_KEPT:
                kept.append(fault)

    def findings(self, *, left_out: frozenset[str]) -> tuple[Finding, ...]:
        """All but those of checks that are left out, errors first, then in the order of the table of checks."""
        order = list(CHECKS)
        kinds = sorted(self._kept, key=lambda kind: (SEVERITIES.index(kind[1]), order.index(kind[0])))
        return tuple(
            Finding(check, severity, self._counts[check, severity], tuple(self._kept[check, severity]))
            for check, severity in kinds
            if check not in left_out
        )
