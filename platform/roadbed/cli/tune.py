"""`roadbed tune SPEC`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from roadbed.cli.progress import LINE_EVERY_S
from roadbed.cli.store import advise, connection, is_quiet, submission_options

if TYPE_CHECKING:
    from roadbed.tuning.results import SweepResult


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field: tune.trials=20.")
@click.option("--takeover", is_flag=True, help="Replace a start of this sweep that still lives.")
@click.option("--register", metavar="NAME", help="Publish the best trial under this name (or output.register_as).")
@click.option("--page", type=click.Path(path_type=Path), help="Write the sweep's report there, as HTML.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@submission_options
def tune(
    spec: Path,
    overrides: tuple[str, ...],
    takeover: bool,
    register: str | None,
    page: Path | None,
    as_json: bool,
    submission: str | None,
    wait_s: float,
) -> None:
    """Search hyperparameters by the job SPEC (a YAML file of kind tune).

    Every trial is a training run like any other. A sweep that was interrupted goes on when it is started again with the
    same name: trials that ended are kept, the others go on from their last checkpoints.

    \b
    roadbed tune jobs/camvid-tune.yaml --register camvid
    roadbed tune jobs/camvid-tune.yaml --set tune.trials=20 --page sweep.html
    """
    from roadbed.runtime.submission import submitted
    from roadbed.runtime.tune import complete_sweep
    from roadbed.spec import TuneJob, load_kind
    from roadbed.storage import open_store
    from roadbed.tuning.sweep import Sweep

    if register is not None:
        overrides = (*overrides, f"output.register_as={register}")
    job = load_kind(TuneJob, spec, overrides)
    with connection(job.output.store, job.data.uri, job.model.weights, needs_ray=True):
        sweep = Sweep(open_store(job.output.store), job.name)
        with submitted(sweep.run, submission), SweepProgress(job.name, job.tune.trials) as progress:
            swept = complete_sweep(job, takeover=takeover, wait_s=wait_s, notify=progress.say, follow=progress.follow)
        if as_json:
            version = None if swept.version is None else f"{swept.version.name}:{swept.version.number}"
            click.echo(json.dumps(swept.result.to_json() | {"version": version}, indent=1))
        else:
            print_result(swept.result)
        if page is not None:
            write_page(swept.result, page, as_json=as_json)
        if as_json:
            return
        if swept.version is not None:
            version = f"{swept.version.name}:{swept.version.number}"
            click.echo(f"version: {version} ({swept.version.uri})")
            advise(f"next: roadbed models promote {version}")


def print_result(result: SweepResult) -> None:
    """The ranked table on stdout."""
    from roadbed.cli.table import print_table
    from roadbed.report.sweep_table import sweep_table

    print_table(*sweep_table(result))
    click.echo(
        f"epochs: {result.epochs:g} of {result.epochs_planned} that the trials would have taken without being stopped"
    )


def write_page(result: SweepResult, page: Path, *, as_json: bool) -> None:
    """The report at a path, which is told."""
    from roadbed.report.files import write_text
    from roadbed.report.sweep import sweep_page

    write_text(page, sweep_page(result))
    click.echo(f"report: {page}", err=as_json)


class SweepProgress:
    """The trials' table, redrawn in place on a terminal; plain lines now and then elsewhere."""

    def __init__(self, name: str, num_trials: int) -> None:
        import sys

        from rich.console import Console
        from rich.live import Live

        self._name, self._num_trials = name, num_trials
        self._console = Console(file=sys.stderr, highlight=False, force_terminal=sys.stderr.isatty(), quiet=is_quiet())
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._last_at, self._last_text = 0.0, ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.stop()

    def say(self, text: str) -> None:
        """A line for the person at the terminal."""
        self._console.print(text, soft_wrap=True, markup=False)

    def follow(self, result: SweepResult) -> None:
        """Show how the sweep stands."""
        if self._live is not None:
            self._live.update(self._table(result), refresh=True)
            return
        text = self._line(result)
        if text != self._last_text and time.monotonic() - self._last_at >= LINE_EVERY_S:
            self.say(text)
            self._last_at, self._last_text = time.monotonic(), text

    def _line(self, result: SweepResult) -> str:
        from roadbed.report.sweep_table import metric_name, score_words

        states = [trial.state for trial in result.trials]
        counts = [f"{states.count(state)} {state}" for state in ("finished", "stopped", "failed", "running")]
        best = "" if result.winner is None else f"  best {metric_name(result.metric)} "
        best += "" if result.winner is None else score_words(result.metric, result.score(result.winner))
        left = _words_left(result, self._num_trials)
        return f"tune {self._name}: {', '.join(counts)} of {self._num_trials} trials{best}{left}"

    def _table(self, result: SweepResult) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        from roadbed.report.sweep_table import sweep_table

        head, rows = sweep_table(result)
        table = Table(*head, box=None, header_style="bold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        return Group(table, Text(self._line(result)))


def _words_left(result: SweepResult, num_trials: int) -> str:
    """The time that is left if the trials to come take what those that ended took, nothing before one has ended."""
    from roadbed.words import duration

    over = [trial for trial in result.trials if trial.state in ("finished", "stopped", "failed")]
    running = [trial for trial in result.trials if trial.state == "running"]
    if not over or not result.wall_s:
        return ""
    each_s = sum(trial.worker_s for trial in over) / len(over)
    at_once = max(1.0, sum(trial.worker_s for trial in result.trials) / result.wall_s)
    done_s = sum(min(trial.worker_s, each_s) for trial in running)
    left_s = max(0.0, (num_trials - len(over)) * each_s - done_s) / at_once
    return f"  {duration(left_s)} left" if left_s else ""
