"""What a version must show before an alias moves to it. Pure functions over cards; IoU as fractions of 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Card = Mapping[str, Any]


@dataclass(frozen=True)
class Gates:
    """Floors, and how much worse than the present version of the alias is still let through (fractions of 1)."""

    min_miou: float = 0.0
    min_class_iou: float = 0.0
    max_miou_drop: float = 0.01
    max_class_drop: float = 0.10


def failed_gates(card: Card, champion_card: Card | None, gates: Gates) -> list[str]:
    """Every gate that `card` does not pass, in words with the figures; empty if it may be promoted.

    `champion_card` is that of the version the alias names now, None if it names none. Scores on different data say
    nothing about each other: that is a failure of its own, in place of the drop gates.
    """
    failures = _below_floors(card, gates)
    if champion_card is not None:
        difference = _data_difference(card, champion_card)
        if difference:
            failures.append(f"cannot be compared with the present version: {difference}")
        else:
            failures += _drops(card, champion_card, gates)
    return failures


def _below_floors(card: Card, gates: Gates) -> list[str]:
    failures = []
    miou = card["scores"]["miou"]
    if miou is None:
        return ["has no mIoU: no class occurred in its evaluation"]
    if miou < gates.min_miou:
        failures.append(f"mIoU is {_percent(miou)}, the floor is {_percent(gates.min_miou)}")
    for name, iou in card["scores"]["iou_per_class"].items():
        if iou is not None and iou < gates.min_class_iou:
            failures.append(f"IoU of {name} is {_percent(iou)}, the floor is {_percent(gates.min_class_iou)}")
    return failures


def _data_difference(card: Card, champion_card: Card) -> str:
    here, there = card["dataset"], champion_card["dataset"]
    if here["split"] != there["split"]:
        return f"scored on split {here['split']}, the present version on {there['split']}"
    if here["digest"] != there["digest"]:
        return (
            f"scored on another dataset ({here['uri']}, digest {here['digest'][:12]}) than the present version "
            f"({there['uri']}, digest {there['digest'][:12]})"
        )
    return ""


def _drops(card: Card, champion_card: Card, gates: Gates) -> list[str]:
    failures = []
    miou, champion_miou = card["scores"]["miou"], champion_card["scores"]["miou"]
    if miou is not None and champion_miou is not None and champion_miou - miou > gates.max_miou_drop:
        failures.append(
            f"mIoU is {_percent(miou)}, the present version has {_percent(champion_miou)} "
            f"(allowed drop {_percent(gates.max_miou_drop)})"
        )
    ious = card["scores"]["iou_per_class"]
    for name, champion_iou in champion_card["scores"]["iou_per_class"].items():
        if champion_iou is None:
            continue
        if name not in ious:
            failures.append(f"does not know the class {name} that the present version knows")
            continue
        iou = ious[name] or 0.0
        if champion_iou - iou > gates.max_class_drop:
            failures.append(
                f"IoU of {name} is {_percent(iou)}, the present version has {_percent(champion_iou)} "
                f"(allowed drop {_percent(gates.max_class_drop)})"
            )
    return failures


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
