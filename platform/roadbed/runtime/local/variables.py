"""Environment variables of this process that are other for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def variables_set(wanted: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables, or take those away whose value is None; afterwards they are what they were."""
    before = {name: os.environ.get(name) for name in wanted}
    try:
        _set(wanted)
        yield
    finally:
        _set(before)


def no_aws() -> dict[str, str | None]:
    """What takes every setting of AWS away that is there now."""
    return dict.fromkeys((name for name in os.environ if name.startswith("AWS_")), None)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
