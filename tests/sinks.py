"""A metrics sink for tests."""

from __future__ import annotations

from collections.abc import Iterable

from roadbed.telemetry import NoMetrics


def name_of(name: str, labels: Iterable[str]) -> str:
    return "/".join([name, *labels])


class Counted:
    """A sink that remembers; of a histogram, how many values it has."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.num_calls = 0
        self.told = NoMetrics()

    def set(self, name: str, value: float, *labels: str) -> None:
        self.told.set(name, value, *labels)
        self.num_calls += 1
        self.values[name_of(name, labels)] = value

    def add(self, name: str, value: float, *labels: str) -> None:
        self.told.add(name, value, *labels)
        self.num_calls += 1
        key = name_of(name, labels)
        self.values[key] = self.values.get(key, 0.0) + value

    def observe(self, name: str, values: Iterable[float], *labels: str) -> None:
        told = [*values]
        self.told.observe(name, told, *labels)
        self.num_calls += len(told)
        key = name_of(name, labels)
        self.values[key] = self.values.get(key, 0.0) + len(told)
