"""`roadbed exporter`."""

from __future__ import annotations

import click

from roadbed.cli.signals import stopped_by_signals
from roadbed.cli.store import connection, store_option, tell


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 for other machines too.")
@click.option("--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="0: any free one.")
@click.option("--newest", type=click.IntRange(1), default=50, show_default=True, help="So many of each kind by name.")
@click.option("--cache", "cache_s", type=click.FloatRange(0), default=30.0, show_default=True, metavar="SECONDS",
              help="The store is read at most so often.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1), default=8.0, show_default=True, metavar="SECONDS",
              help="So long a scrape waits for the store; then old values stand.")  # fmt: skip
@store_option
def exporter(host: str, port: int, newest: int, cache_s: float, timeout_s: float, store: str) -> None:
    """Tell Prometheus the state of the store, until Ctrl-C: runs, sweeps, models, datasets.

    Counts are of everything; runs, sweeps, models, versions and datasets are told by name for the newest of them.

    \b
    roadbed exporter --store s3://team/roadbed --host 0.0.0.0
    """
    from roadbed.exporter import StateCollector, listen, parts_of
    from roadbed.storage import open_store

    with connection(store), stopped_by_signals() as stopped:
        collector = StateCollector(parts_of(open_store(store), newest=newest), cache_s=cache_s, timeout_s=timeout_s)
        with listen(collector, host=host, port=port) as address:
            tell(f"the state of {store} is at {address}/metrics - Ctrl-C stops it")
            stopped.wait()
