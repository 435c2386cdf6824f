"""`roadbed top`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import click

from roadbed.cli.store import connection, store_option

DEFAULT_URL = "http://127.0.0.1:8000"
JSON_RUNS = 50
GET_TIMEOUT_S = 2.0


@click.command()
@click.option(
    "--url", default=DEFAULT_URL, show_default=True, metavar="URL", help="Endpoint to ask whether it is ready."
)
@click.option("--metrics", metavar="URL", help="A Prometheus, or one Ray node's text of metrics (http://HOST:8080/metrics)"
              ".  [default: the Ray of `roadbed local up`]")  # fmt: skip
@click.option("--every", "every_s", type=click.FloatRange(0.5), default=2.0, show_default=True, metavar="SECONDS",
              help="Look so often.")  # fmt: skip
@click.option("--once", is_flag=True, help="Print one picture and end, as where stdout is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON and end.")
@store_option
def top(url: str, metrics: str | None, every_s: float, once: bool, as_json: bool, store: str) -> None:
    """Watch runs, sweeps and endpoints on a terminal, until Ctrl-C.

    Runs and sweeps are read from the store; rates of endpoints, and what runs spend their time with, from the metrics
    that their processes tell.

    \b
    roadbed top
    roadbed top --once --json | jq .runs
    kubectl port-forward svc/prometheus-operated 9090 & roadbed top --metrics http://127.0.0.1:9090
    """
    from rich.console import Console

    from roadbed.cli.top.picture import most_sweeps, picture
    from roadbed.cli.top.screen import watch
    from roadbed.runtime.local import metrics_urls
    from roadbed.runtime.serve import Served
    from roadbed.storage import open_store
    from roadbed.watching import Look, Watcher

    checked = [_checked("--url", url), *([_checked("--metrics", metrics)] if metrics else [])]
    console = Console(highlight=False)

    def look() -> Look:
        height = JSON_RUNS if as_json else console.height
        return watcher.look(most_runs=height, most_sweeps=most_sweeps(height))

    def draw(seen: Look, trouble: str) -> Any:
        return picture(seen, store=store, url=checked[0], width=console.width, height=console.height, trouble=trouble)

    with connection(store):
        watcher = Watcher(
            open_store(store),
            url=checked[0],
            metrics_urls=(lambda: [text_url(checked[1])]) if metrics else metrics_urls,
            get=lambda address: Served(address).get("", timeout_s=GET_TIMEOUT_S),
        )
        first = look()
        if as_json:
            click.echo(json.dumps(_plain(first.to_json() | {"store": store, "url": checked[0]}), indent=1))
        elif once or not sys.stdout.isatty() or console.is_dumb_terminal:
            console.print(draw(first, ""), no_wrap=True)
        else:
            watch(look, draw, first=first, every_s=every_s, console=console)


def text_url(url: str) -> str:
    """Where the text of metrics is: at `url` if it ends in /metrics, else what the Prometheus there has collected."""
    from urllib.parse import urlencode

    from roadbed.watching.endpoints import SERIES

    if url.endswith("/metrics"):
        return url
    selector = '{__name__=~"' + "|".join(SERIES) + '"}'
    return f"{url}/federate?{urlencode({'match[]': selector})}"


def _checked(option: str, url: str) -> str:
    """The url without a slash at its end. Raises UsageError for what is none of HTTP."""
    from urllib.parse import urlsplit

    from roadbed.errors import UsageError

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise UsageError(f"{option} {url}: is no address of HTTP; write it as in http://127.0.0.1:8000")
    return url.rstrip("/")


def _plain(value: Any) -> Any:
    """The same without numbers that JSON does not have: they are null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
