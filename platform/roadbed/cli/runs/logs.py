"""`roadbed runs logs` and `roadbed runs metrics`: what a run wrote, as lines."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadbed.cli.store import connection, store_option

if TYPE_CHECKING:
    from roadbed.runs import Run

POLL_S = 3.0


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes (with every checkpoint) until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines: at, level, text.")
@store_option
def logs(name: str, store: str, follow: bool, as_json: bool) -> None:
    """Print what a run logged, over all its attempts.

    \b
    roadbed runs logs camvid-quick
    roadbed runs logs camvid-quick --follow
    """
    from roadbed.cli.runs.existing import existing_run

    with connection(store):
        run, _ = existing_run(store, name)
        seen: set[str] = set()
        is_going = follow
        while is_going:
            is_going = _is_running(run)  # asked first: what its end wrote is there when it is read
            _print(run.new_segments("log", seen), as_json=as_json)
            time.sleep(POLL_S if is_going else 0)
        _print(run.new_segments("log", seen), as_json=as_json)


@click.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write, such as metrics.jsonl."
)
@store_option
def metrics(name: str, output: Path | None, store: str) -> None:
    """Print a run's metrics as JSON lines: every step and evaluation once, over all attempts that count.

    \b
    roadbed runs metrics camvid-quick -o metrics.jsonl
    """
    from roadbed.cli.runs.existing import existing_run

    with connection(store):
        run, _ = existing_run(store, name)
        attempts = run.lines_of_attempts("metrics")
    lines = [line | {"attempt": claim["attempt"]} for claim, of_attempt in attempts for line in of_attempt]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    if output is None:
        click.echo(text, nl=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    click.echo(f"metrics: {output} ({len(lines)} lines)")


def _is_running(run: Run) -> bool:
    status = run.status()
    return status is not None and status.state == "running"


def _print(lines: list[dict[str, Any]], *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            click.echo(json.dumps(line, ensure_ascii=False))
            continue
        at = datetime.fromtimestamp(line["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        click.echo(f"{at} {line['level']:<7} {line['text']}")
