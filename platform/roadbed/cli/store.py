"""What several verbs share: the root store's option, and the connection to store and Ray for a command's time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

DEFAULT_STORE = "s3://roadbed"


def store_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The --store option: where runs and models lie."""
    return click.option(
        "--store",
        default=DEFAULT_STORE,
        envvar="ROADBED_STORE",
        show_default=True,
        metavar="URI",
        help="Root of runs and models (or set ROADBED_STORE).",
    )(function)


def submission_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a job that a cluster starts again by itself; `roadbed submit` gives them."""
    for option in (
        click.option(
            "--wait-s",
            type=click.FloatRange(min=0),
            default=0.0,
            help="Wait so long where another start is at work, instead of giving up at once.",
        ),
        click.option(
            "--submission",
            metavar="ID",
            help="Of starts with the same ID, none tries again what failed in a way that would come again.",
        ),
    ):
        function = option(function)
    return function


@contextmanager
def connection(*uris: str, needs_ray: bool = False) -> Iterator[None]:
    """Reach the stores of `uris`, and Ray if it is needed, for the time of a command; see `roadbed local --help`."""
    from roadbed.runtime.local import connected

    needs_store = any(uri.startswith("s3://") for uri in uris)
    with connected(needs_store=needs_store, needs_ray=needs_ray, notify=tell):
        yield


def is_quiet() -> bool:
    """Whether results and errors alone are wanted: `roadbed --quiet`."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("quiet"))


def tell(text: str) -> None:
    """A line for the person at the terminal, on stderr so that stdout stays for results; not with --quiet."""
    if not is_quiet():
        click.echo(text, err=True)


def advise(text: str) -> None:
    """What to type next, among the results but none of them; not with --quiet."""
    if not is_quiet():
        click.echo(text)
