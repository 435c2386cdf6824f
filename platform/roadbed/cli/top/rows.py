"""Runs, sweeps and endpoints as lines: each as much as a terminal of that width has room for."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from roadbed.cli.top.sparkline import sparkline
from roadbed.report.sweep_table import score_words
from roadbed.runs import HEARTBEAT_S
from roadbed.watching import EndpointNow, RunNow, SweepNow
from roadbed.words import duration, percent

STYLES = {"running": "green", "retrying": "yellow", "failed": "red", "lost": "red", "stopped": "dim", "finished": ""}
_NARROW = 80
_LATE_S = 5 * HEARTBEAT_S
_TRIALS = ("running", "waiting", "finished", "stopped", "failed")


class RunRows:
    """Lines of the runs of one picture, whose columns are as wide as `width` allows."""

    def __init__(self, runs: Sequence[RunNow], width: int) -> None:
        self._width = width
        spare = max(0, width - _NARROW)
        longest = max((len(run.status.name) for run in runs), default=0)
        self._name = min(max(longest, 8), 18 + spare // 3)
        self._spark = 6 + (spare - max(0, self._name - 18)) // 2

    def card(self, run: RunNow) -> list[Text]:
        """A run that lives: how far it is, how it learns, and what its time goes into."""
        return [self._progress(run), self._learning(run), _spending(run)]

    def titles(self) -> Text:
        """What stands in the columns of `row`."""
        cells = ["run".ljust(self._name), "state   ", "step".rjust(11), "loss".ljust(6 + self._spark)]
        return Text("  ".join([*cells, "mIoU last/best".ljust(10 + self._spark), "ago"]), "dim")

    def row(self, run: RunNow) -> Text:
        """A run in one line; its last column is how long ago it gave a sign."""
        status = run.status
        last, best = _score(status.progress.get("miou")), _score(run.best_miou)
        scores = f"{last}/{best}" if best or last else ""
        loss = _number(run.losses[-1][1]) if run.losses else ""
        return Text.assemble(
            _short(status.name, self._name).ljust(self._name),
            "  ",
            (f"{status.state:8}", STYLES[status.state]),
            f"  {_steps(run):>11}  {loss:5} ",
            (sparkline(run.losses, self._spark).ljust(self._spark), "cyan"),
            f"  {scores:9} ",
            (sparkline(run.mious, self._spark).ljust(self._spark), "cyan"),
            f"  {_age(run.silent_s)}",
        )

    def _progress(self, run: RunNow) -> Text:
        status = run.status
        num_steps = status.progress.get("num_steps")
        left = "" if run.seconds_left is None else f"  {duration(run.seconds_left)} left"
        name = _short(status.name, max(self._width - 54, 18))
        told = f"  {_steps(run)}{left}"
        room = min(60, self._width - len(name) - len(status.state) - len(told) - 4)
        share = min(1.0, status.step / num_steps) if num_steps else 0.0
        done = round(share * room)
        return Text.assemble(
            (name, "bold"),
            "  ",
            (status.state, STYLES[status.state]),
            "  ",
            ("━" * done, "green"),
            ("─" * (room - done), "bright_black"),
            told,
        )

    def _learning(self, run: RunNow) -> Text:
        last, best = run.status.progress.get("miou"), run.best_miou
        loss = f"  loss {_number(run.losses[-1][1])} " if run.losses else "  no step yet"
        scored = "" if last is None else f"  mIoU {percent(last)} "
        tail = "" if best is None else f" best {percent(best)}"
        room = max(0, self._width - len(loss) - len(scored) - len(tail)) // (2 if scored else 1)
        room = min(room, 60)
        return Text.assemble(
            loss, (sparkline(run.losses, room), "cyan"), scored, (sparkline(run.mious, room), "cyan"), tail
        )


def _spending(run: RunNow) -> Text:
    status = run.status
    line = Text("  ")
    if status.reason:
        line.append(f"{status.reason}  ", "yellow")
    if run.is_stalled and run.still_s is not None:
        line.append(f"stalled: no step for {duration(run.still_s)}  ", "bold red")
    if "evaluating" in status.progress:
        line.append(f"evaluating {status.progress['evaluating']}  ")
    if run.images_per_s is not None and not run.is_stalled:
        line.append(f"{run.images_per_s:.1f} images/s  ")
    if run.data_share is not None:
        line.append(f"{100 * run.data_share:.0f} % waiting for data", "yellow" if run.data_share > 0.3 else "")
        line.append("" if run.phase is None else f", {100 * run.phase[1]:.0f} % {run.phase[0]}")
        line.append("  ")
    if status.attempt > 1:
        line.append(f"attempt {status.attempt}  ")
    if status.state == "running":
        line.append(f"heartbeat {_age(run.silent_s)} ago", "bold red" if run.silent_s > _LATE_S else "")
    return line


def sweep_line(sweep: SweepNow) -> Text:
    """A sweep: its trials, begun of those planned and by state, its best score, what it cost."""
    line = Text.assemble((_short(sweep.name, 24), "bold"), "  ", (sweep.state, STYLES[sweep.state]))
    counts = ", ".join(f"{sweep.trials[state]} {state}" for state in _TRIALS if sweep.trials.get(state))
    line.append(f"  {sum(sweep.trials.values())}/{sweep.planned or '?'}{': ' if counts else ''}{counts}")
    line.append("" if sweep.best is None else f"  best {score_words(sweep.metric, sweep.best)}")
    hours, unit = (sweep.gpu_hours, "GPU") if sweep.gpu_hours is not None else (sweep.cpu_hours, "CPU")
    line.append("" if hours is None else f"  {hours:.1f} {unit} h")
    return line


def endpoint_line(endpoint: EndpointNow) -> Text:
    """An endpoint: requests by status, latency, replicas, version."""
    total = sum(endpoint.requests.values())
    line = Text.assemble((_short(endpoint.name, 24), "bold"), "  ")
    line.append(f"{_rate(total)}/s" if endpoint.is_rate else f"{total:.0f} so far")
    codes = [(code, value) for code, value in endpoint.requests.items() if value]
    for number, (code, value) in enumerate(codes):
        told = _rate(value) if endpoint.is_rate else f"{value:.0f}"
        line.append(f"{': ' if number == 0 else ', '}{code} {told}", "red" if code.startswith("5") else "")
    if endpoint.p50_s is not None and endpoint.p95_s is not None:
        line.append(f"  p50 {_milliseconds(endpoint.p50_s)}, p95 {_milliseconds(endpoint.p95_s)}")
    line.append(f"  {endpoint.replicas}/{endpoint.max_replicas} replicas")
    line.append(f"  {', '.join(f'v{number}' for number in endpoint.versions) or 'no model'}")
    line.append(f"  {endpoint.waiting} waiting" if endpoint.waiting else "")
    return line


def _steps(run: RunNow) -> str:
    return f"{run.status.step}/{run.status.progress.get('num_steps', '?')}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _score(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _number(value: float) -> str:
    """Five characters of a loss, as long as it is below 100."""
    return f"{value:.3f}" if value < 10 else f"{value:.4g}"


def _rate(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _age(seconds: float) -> str:
    """The greatest unit alone: "42 s", "3 h"."""
    return " ".join(duration(seconds).split()[:2])
