"""Figures in words for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """In two units at most: "42 s", "6 min 12 s", "3 h 05 min", "2 d 4 h"."""
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if not minutes:
        return f"{whole} s"
    if not hours:
        return f"{minutes} min {whole % 60:02d} s"
    if not days:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{days} d {hours % 24} h"


def percent(share: float | None) -> str:
    """A share 0..1 with one decimal: "61.2 %"; "-" of None."""
    return "-" if share is None else f"{100 * share:.1f} %"
