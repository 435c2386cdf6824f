"""What people see of a sweep: its ranking, its table, its page and its pictures."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pages import MOST_BYTES, Page, checked_page
from roadbed.cli.table import print_table
from roadbed.errors import UsageError
from roadbed.report.scales import ABSENT_AT, Scale
from roadbed.report.sweep import sweep_page
from roadbed.report.sweep_curves import score_inks
from roadbed.report.sweep_pictures import draw_sweep
from roadbed.report.sweep_table import score_words, short_names, sweep_table, value_words
from roadbed.tuning.results import Baseline, Change, Stretch, SweepResult, comparable
from sweep_examples import asha_sweep, pbt_sweep, sweep, trial

HOSTILE = "<script>alert('x')</script>\"&amp; $\\frac{a}$ ]]> --> [/red] \x1b[31m\n\x00 日本 https://evil.example/"


def checked(result: SweepResult) -> Page:
    """The page of a sweep, which is whole, small, needs nothing from elsewhere, and names every trial and its run."""
    text = sweep_page(result)
    page = checked_page(text)
    assert "img" not in page.tags
    assert page.rows() >= len(result.trials) + 1
    numbers = re.findall(r'data-name="trial">(\d+)<', text)
    assert [int(number) for number in numbers] == [one.number for one in result.ranked()]
    return page


def numbers(result: SweepResult) -> list[int]:
    return [one.number for one in result.ranked()]


def test_the_best_is_first_and_of_equals_the_first() -> None:
    trials = [trial(3, [0.5]), trial(0), trial(2, [0.7, 0.6]), trial(1, [0.5]), trial(4, [0.2, 0.4])]
    for order in (trials, trials[::-1]):
        result = sweep(*order)
        assert numbers(result) == [2, 1, 3, 4, 0]
        assert result.winner is trials[2]
        assert result.score(trials[2]) == 0.7
        assert trials[2].last == 0.6
    lowest = sweep(*trials, mode="min", metric="loss")
    assert numbers(lowest) == [4, 1, 3, 2, 0]
    assert lowest.score(trials[2]) == 0.6


def test_what_is_no_number_is_no_score() -> None:
    broken = trial(0, [math.nan, math.inf, -math.inf], state="failed", reason="the loss is nan")
    partly = trial(1, [0.3, math.nan])
    result = sweep(broken, partly)
    assert (result.score(broken), broken.last) == (None, None)
    assert (result.score(partly), partly.last) == (0.3, 0.3)
    assert numbers(result) == [1, 0]
    checked(result)


def test_stopped_trials_save_epochs_and_failed_ones_do_not() -> None:
    result = sweep(
        trial(0, [0.1] * 10, epochs_planned=10),
        trial(1, [0.1] * 3, epochs_planned=10, state="stopped"),
        trial(2, [0.1] * 2, epochs=2.5, epochs_planned=10, state="failed"),
        trial(3, [0.1] * 4, epochs_planned=10, state="running"),
    )
    assert (result.epochs, result.epochs_planned, result.epochs_saved) == (19.5, 40, 7)
    assert not result.is_over
    text = checked(result).text
    assert (
        "Epochs trained: 19.5 of 40 planned. Stopping trials early saved 7 epochs, 18 % of what all would take." in text
    )
    assert "1 finished, 1 stopped, 1 failed, 1 running." in text


def test_the_way_of_weights_through_donors() -> None:
    rate = "train.learning_rate"
    first = trial(0, [0.1] * 8, values={rate: 1.0})
    second = trial(1, [0.1] * 8, values={rate: 2.0, "train.epochs": 8}, changes=(Change(2.0, 0, {rate: 1.2}),))
    third = trial(
        2,
        [0.1] * 7 + [0.9],
        values={rate: 3.0},
        changes=(Change(2.0, 0, {rate: 0.8}), Change(4.0, 1, {rate: 1.4}), Change(8.0, 0, {rate: 5.0})),
    )
    result = sweep(first, second, third)
    assert result.lineage(third) == (
        Stretch(0.0, 2.0, 0, {rate: 1.0}),
        Stretch(2.0, 4.0, 1, {rate: 1.2, "train.epochs": 8}),
        Stretch(4.0, 8.0, 2, {rate: 1.4}),
    )
    assert result.lineage(first) == (Stretch(0.0, 1.0, 0, {rate: 1.0}),)
    assert third.last_values == {rate: 5.0}
    alone = sweep(third)
    assert [stretch.trial for stretch in alone.lineage(third)] == [2]
    text = checked(result).text
    assert "epochs 2 to 4 in trial 1: learning_rate 1.2" in text
    assert "from epoch 4 on with the weights of trial 1: learning_rate 1.4" in text


def test_trials_are_compared_where_enough_of_them_came() -> None:
    trials = [trial(number, [0.1 * number] * epochs) for number, epochs in enumerate([1, 3, 3, 9])]
    assert comparable(trials, fewest=3) == (3.0, trials[1:])
    assert comparable(trials, fewest=4) == (1.0, trials)
    assert comparable(trials, fewest=5) == (None, [])
    changed = trial(4, [0.1] * 9, changes=(Change(1.0, 0, {}),))
    assert comparable([*trials, changed], fewest=4) == (1.0, [*trials, changed]), "later it had other values"
    assert trial(5, [0.1, 0.4, 0.2]).best_until(1.0, "max") == 0.1


def test_the_same_sweep_gives_the_same_json() -> None:
    result = asha_sweep()
    shuffled = list(result.trials)
    random.Random(1).shuffle(shuffled)
    importance = dict(reversed(result.importance.items()))
    other = SweepResult(**vars(result) | {"trials": tuple(shuffled), "importance": importance})
    text = json.dumps(result.to_json(), allow_nan=False)
    assert json.dumps(other.to_json(), allow_nan=False) == text
    document = json.loads(text)
    assert [one["rank"] for one in document["trials"]] == [*range(1, 12), None]
    assert document["baseline"] == {"run": "camvid-best", "score": 0.587}
    assert document["trials"][0]["values"]["train.schedule"] == "poly"
    changes = next(one for one in pbt_sweep().to_json()["trials"] if one["changes"])["changes"]
    assert set(changes[0]) == {"epoch", "donor", "values"}


def test_json_holds_no_nan() -> None:
    result = sweep(trial(0, [0.1, math.nan], values={"a.rate": math.inf}), importance={"a.rate": math.nan})
    (one,) = json.loads(json.dumps(result.to_json(), allow_nan=False))["trials"]
    assert one["curve"] == [[1.0, 0.1], [2.0, None]]
    assert one["values"] == {"a.rate": None}


def test_the_table_of_words(capsys: pytest.CaptureFixture[str]) -> None:
    head, rows = sweep_table(asha_sweep())
    assert head[:7] == ["rank", "trial", "run", "state", "mIoU", "epochs", "worker time"]
    assert head[7:] == [*(key.rpartition(".")[2] for key in asha_sweep().parameters), "reason"]
    assert all(len(row) == len(head) for row in rows)
    assert rows[0][:7] == ["1", "5", "camvid-tune-005", "finished", "65.2 %", "27/27", "45 min 11 s"]
    assert rows[-1][0] == rows[-1][4] == "-"
    cosine = next(row for row in rows if "cosine" in row)
    assert cosine[head.index("poly_power")] == "-"
    print_table(head, rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    assert "camvid-tune-005" in lines[1]
    assert all(len(reason) <= 60 for *_, reason in rows)
    assert "GPU time" in sweep_table(pbt_sweep())[0]


def test_words_with_brackets_are_no_markup_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    print_table(["[/head]", "b"], [["[/red]", "[bold]x"]])
    out = capsys.readouterr().out
    assert "[/head]" in out
    assert "[/red]" in out
    assert "[bold]x" in out


def test_names_and_values_in_words() -> None:
    assert short_names(["train.rate", "data.rate", "train.seed"]) == {
        "train.rate": "train.rate",
        "data.rate": "data.rate",
        "train.seed": "seed",
    }
    values = [True, 3, 0.123456, 1e-5, "a\nb", None, [1, 0.5], math.nan]
    assert [value_words(value) for value in values] == [
        "true",
        "3",
        "0.1235",
        "1e-05",
        "a b",
        "null",
        "[1, 0.5]",
        "NaN",
    ]
    assert [score_words("miou", 0.6123), score_words("loss", 1.23456), score_words("loss", None)] == [
        "61.2 %",
        "1.235",
        "-",
    ]


def test_scales_of_numbers_choices_and_nothing() -> None:
    rates = Scale.of([1e-4, 1e-2, 1e-3, None])
    assert rates.is_log
    assert [rates.place(value) for value in (1e-4, 1e-3, 1e-2)] == pytest.approx([0, 0.5, 1])
    assert rates.place(None) == rates.place(math.nan) == ABSENT_AT
    shares = Scale.of([0.0, 0.25, 1.0])
    assert not shares.is_log
    assert shares.place(0.25) == 0.25
    assert [words for _, words in shares.ticks] == ["0", "0.25", "1"]
    choices = Scale.of(["poly", "cosine", True, [1, 2]])
    assert sorted(choices.choices) == ["[1, 2]", "cosine", "poly", "true"]
    assert choices.place([1, 2]) == 0
    assert Scale.of([7, 7]).place(7) == 0.5
    assert Scale.of([None]).ticks == Scale.of([]).ticks == ()
    many = Scale.of([f"choice-{number:02d}" for number in range(50)])
    assert len(many.choices) == 50
    assert 5 <= len(many.ticks) <= 9
    spread = Scale.of([10**power for power in (-5.0, -4.1, -3.3, -2.2, -2.1, -1.0)])
    assert [place for place, _ in spread.ticks] == sorted(place for place, _ in spread.ticks)
    assert [spread.ticks[0][1], spread.ticks[-1][1]] == ["1e-05", "0.1"]


def test_better_scores_have_darker_inks() -> None:
    result = asha_sweep()
    inks = score_inks(result)
    brightness = [int(inks[one.number][1:3], 16) for one in result.ranked() if one.number in inks]
    assert brightness == sorted(brightness)
    assert len(set(brightness)) == 6


def test_the_page_of_a_sweep_with_stops_and_failures() -> None:
    result = asha_sweep()
    page = checked(result)
    for one in result.trials:
        assert f" {one.run} " in page.text
    told = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "Trial 5 won with mIoU 65.2 % , the best of 12 trials" in told
    assert "before the sweep camvid-best had 58.7 % (+6.5 points)" in told
    assert "Registered as camvid:4 ." in told
    assert "set train.clip_norm" in told
    assert "Without an evaluation: trial 6 (failed)." in told
    assert told.index("learning_rate 58.0 %") < told.index("schedule 17.0 %")
    assert "not set" in told
    assert "learning_rate (log)" in told
    assert "Values that changed" not in told


def test_the_page_of_a_population() -> None:
    page = checked(pbt_sweep())
    assert "Values that changed on the way" in page.text
    assert "All changes: 8" in page.text
    assert "What mattered Not told" in page.text
    classes = [attributes["class"] for tag, attributes in page.elements if tag == "svg"]
    assert classes == [f"{what}-{size}" for what in ("curves", "parallel", "changes") for size in ("wide", "narrow")]


def hostile_sweep() -> SweepResult:
    values = {f"train.{HOSTILE}": HOSTILE, "train.other": [HOSTILE], "train.$x_1$": 0.1}
    change = Change(1.0, 1, {f"train.{HOSTILE}": HOSTILE + "2"})
    return sweep(
        trial(0, [0.1, 0.2], values=values, run=HOSTILE, state="failed", reason=HOSTILE, changes=(change,)),
        trial(1, [0.3], values={"train.other": None}, run="a" * 500, state="stopped", reason="b" * 5000),
        name=HOSTILE,
        metric=HOSTILE,
        registered=HOSTILE,
        baseline=Baseline(HOSTILE, 0.2),
        importance={f"train.{HOSTILE}": 0.5, HOSTILE: -0.1},
    )


def test_hostile_names_and_reasons_stay_text(tmp_path: Path) -> None:
    page = checked(hostile_sweep())
    text = " ".join(page.text.split())
    assert "<script>alert('x')</script>\"&amp; $\\frac{a}$ ]]> --> [/red]" in text
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "b" * 5000 in text
    for suffix in ("png", "svg"):
        draw_sweep(hostile_sweep(), tmp_path / f"sweep.{suffix}")
    head, rows = sweep_table(hostile_sweep())
    assert not [cell for row in [head, *rows] for cell in row if "\n" in cell or "\x1b" in cell]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (sweep(), "None of 0 trials has a score yet."),
        (sweep(trial(0, [0.5])), "the best of 1 trial."),
        (sweep(trial(0, [0.5], values={})), "the best of 1 trial."),
        (sweep(trial(0, [0.0], worker_s=0.0)), "the best of 1 trial."),
        (sweep(trial(0, state="waiting"), trial(1, state="running")), "None of 2 trials has a score yet."),
        (sweep(*(trial(n, state="failed", reason="no disk") for n in range(3))), "All 3 trials failed."),
        (sweep(trial(0, [0.5]), trial(1, state="running")), "leads with"),
        (sweep(trial(0, [2.5, 2.1]), trial(1, [9e9, 2.2]), metric="loss", mode="min"), "loss\N{NO-BREAK SPACE}2.1"),
        (sweep(*(trial(n, [n / 9], values={"model.head": "ab"[n % 2]}) for n in range(4))), "the best of 4 trials."),
        (sweep(*(trial(n, [n / 9], values={"a.n": n, "a.bad": None}) for n in range(4))), "the best of 4 trials."),
        (sweep(*(trial(n, [n / 9], values={"a.same": 1}) for n in range(4))), "the best of 4 trials."),
        (sweep(trial(0, [0.5], values={f"a.key_{n}": n for n in range(40)})), "the best of 1 trial."),
        (sweep(trial(0, [0.1 + n / 3000 for n in range(2000)])), "the best of 1 trial."),
    ],
    ids=[
        "none",
        "one",
        "no values",
        "free",
        "unscored",
        "failed",
        "going",
        "loss",
        "choices",
        "null",
        "same",
        "keys",
        "long",
    ],
)
def test_pages_and_pictures_of_sweeps_at_the_edge(tmp_path: Path, result: SweepResult, told: str) -> None:
    page = checked(result)
    assert told in " ".join(" ".join(page.texts).split(" ")).replace(" ,", ",")
    if result.trials:
        draw_sweep(result, tmp_path / "sweep.png")
        assert (tmp_path / "sweep.png").stat().st_size > 1000


def test_two_hundred_trials_are_folded_and_small(tmp_path: Path) -> None:
    result = asha_sweep(200)
    page = checked(result)
    assert "The other 180 trials" in page.text
    assert "The other 185 trials took" in page.text
    assert sum(tag == "details" for tag, _ in page.elements) == 1
    draw_sweep(result, tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size < MOST_BYTES


def test_the_picture_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg", "a.png"):
        draw_sweep(pbt_sweep(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert sweep_page(pbt_sweep()) == sweep_page(pbt_sweep())
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1500
        colors: Any = picture.convert("RGB").getcolors(1 << 24)
        assert {(194, 65, 12), (255, 255, 255)} <= {color for _, color in colors}


def test_pictures_that_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trials to draw"):
        draw_sweep(sweep(), tmp_path / "sweep.png")
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        draw_sweep(asha_sweep(), tmp_path / "sweep.pdf")
