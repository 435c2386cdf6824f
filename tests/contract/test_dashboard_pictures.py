"""Pictures of the dashboards, drawn out of a real Prometheus that holds every series of the tables."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import urllib3
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

from dashboards.all import DASHBOARDS, FOLDER
from dashboards.answers import Prometheus, Window, filled
from dashboards.draw import draw, main
from dashboards.sheet import shown
from roadbed.runtime.local.processes import free_ports
from rule_files import promtool
from table_series import all_series

BEGIN_S, MINUTES = 1_700_000_000, 80
WINDOW = Window(BEGIN_S + 600, BEGIN_S + 60 * MINUTES)
# A counter of a run that began late.
NOTICE = 'ray_roadbed_train_notices_total{run="late",WorkerId="a"}'


def sampled() -> Iterator[str]:
    """All series as OpenMetrics, one sample a minute."""
    families: dict[str, list[str]] = {}
    for series, values in all_series().items():
        step = 60 if values.startswith("1+60") else 0
        series = series.replace('", ', '",')  # OpenMetrics has no blanks there.
        lines = (f"{series} {1 + step * minute} {BEGIN_S + 60 * minute}" for minute in range(MINUTES))
        families.setdefault(series.partition("{")[0], []).extend(lines)
    families["ray_roadbed_train_notices_total"] += [
        f"{NOTICE} {int(m >= 40)} {BEGIN_S + 60 * m}" for m in range(30, MINUTES)
    ]
    for family, lines in families.items():
        yield f"# TYPE {family} unknown"
        yield from lines
    yield "# EOF\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not there: `apt-get install prometheus` brings it")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "samples").write_text("\n".join(sampled()))
    promtool("tsdb", "create-blocks-from", "openmetrics", str(folder / "samples"), str(folder / "tsdb"))
    (folder / "empty.yaml").write_text("global: {}\n")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    words = [f"--config.file={folder / 'empty.yaml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
             "--storage.tsdb.retention.time=100y", f"--web.listen-address={address}"]  # fmt: skip
    with (folder / "log").open("w") as log, subprocess.Popen([program, *words], stdout=log, stderr=log) as running:
        try:
            wait_for(f"http://{address}/-/ready")
            yield f"http://{address}"
        finally:
            running.terminate()


def wait_for(url: str) -> None:
    for _ in range(300):
        try:
            if urllib3.request("GET", url, retries=False).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail(f"nothing answers at {url}")


def drawn(url: str, name: str, **chosen: str) -> Figure:
    return draw(json.loads((FOLDER / f"{name}.json").read_text()), Prometheus(url, WINDOW), chosen)


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_every_dashboard_becomes_a_picture(url: str, tmp_path: Path) -> None:
    words = [
        url,
        "--from",
        "2023-11-14T22:23:20Z",
        "--to",
        str(WINDOW.until),
        "--set",
        "run=night",
        "-o",
        str(tmp_path),
    ]
    told = CliRunner().invoke(main, [*words, "-o", str(tmp_path)], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    assert {path.stem for path in tmp_path.glob("*.png")} == {board.name for board in DASHBOARDS}
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width == 1600


def test_a_variable_that_no_dashboard_has_is_refused(tmp_path: Path) -> None:
    words = ["http://127.0.0.1:1", "--from", "0", "--to", "60", "--set", "rum=night", "-o", str(tmp_path)]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 2
    assert "no dashboard has the variable rum; there are cluster, endpoint, model, run, sweep" in told.output


def test_the_picture_of_a_training_says_what_is_there(url: str) -> None:
    words = words_of(drawn(url, "training", run="night"))
    assert "no data" not in words
    assert {"What it waits for", "run: night    cluster: all (c1)", "backward", "data", "night p95", "100%"} <= {*words}
    assert "2023-11-14 22:23 to 2023-11-14 23:33 UTC" in words
    assert "streets-0001" not in words


def test_what_nobody_tells_is_no_data_and_what_nothing_happened_to_is_a_gap(url: str) -> None:
    assert "no data" in words_of(drawn(url, "overview")), "nothing records roadbed:train_phase:share_5m here"
    before = Prometheus(url, Window(BEGIN_S - 60, BEGIN_S + 60))
    (one,) = before.query('roadbed_run_steps{run="night"}')
    assert [str(value) for value in one.values[:5]] == ["nan"] * 4 + ["1.0"]


def test_shares_of_time_add_up_to_one_whatever_is_chosen(url: str) -> None:
    prometheus = Prometheus(url, WINDOW)
    board = next(one for one in DASHBOARDS if one.name == "training")
    panels = {panel.title: panel for row in board.rows for panel in row.panels}
    for title in ("Where the time goes", "In all"):
        for run in ("night", ".*"):
            words = WINDOW.words | {"run": run}
            found = [one for query in panels[title].queries for one in prometheus.query(filled(query.expr, words))]
            assert sum(one.last for one in found) == pytest.approx(1), (title, run)
            assert {one.labels["phase"] for one in found} == {"data", "backward"}


def test_the_first_event_of_a_counter_is_marked(url: str) -> None:
    assert "┆ preemption (1)" in words_of(drawn(url, "training", run="late"))


def test_a_refused_query_is_named_with_its_panel(url: str) -> None:
    board = json.loads((FOLDER / "models.json").read_text())
    panel = next(panel for panel in board["panels"] if panel["type"] == "stat")
    panel["targets"][0]["expr"] = "sum by ("
    with pytest.raises(click.ClickException, match=r"panel 'mIoU': Prometheus refuses sum by \(: .*parse error"):
        draw(board, Prometheus(url, WINDOW), {})


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.8437, "percentunit", "84.4%"),
        (40.0, "percent", "40%"),
        (0.25, "s", "250 ms"),
        (-7200.0, "s", "-2 h"),
        (0.0, "s", "0 s"),
        (240_123_000.0, "bytes", "229 MiB"),
        (9100.0, "decmbytes", "9.1 GB"),
        (1500.0, "Bps", "1.5 kB/s"),
        (12.04, "reqps", "12 req/s"),
        (37.26, "suffix:frames/s", "37.3 frames/s"),
        (1200.0, "short", "1.2 K"),
        (0.0, "short", "0"),
        (0.00312, "sci", "3.12e-03"),
    ],
)
def test_values_are_written_as_grafana_writes_them(value: float, unit: str, words: str) -> None:
    assert shown(value, unit) == words
