"""classes.yaml: what it can say, what follows from it, and every fault that it can have."""

from __future__ import annotations

import numpy as np
import pytest

from roadbed.data.labels import LabelClass
from roadbed.data.sources.folder_classes import parse_classes
from roadbed.errors import UsageError


def test_classes_with_all_they_can_have():
    file = parse_classes(
        """
name: my-roads
classes:
  - {name: road, color: [128, 64, 128], ids: [7, 8]}
  - {name: car, color: "#00008e", ids: [26]}
  - {name: tree, ids: [21]}
ignore: {ids: [0, 255]}
""",
        origin="c.yaml",
    )
    assert file.kind == "ids"
    assert file.label_space.name == "my-roads"
    assert file.label_space.classes[1] == LabelClass("car", (0, 0, 142))
    assert file.label_space.classes[2].color == (128, 128, 0)
    raw_HW = np.array([[7, 8, 26, 21, 0, 255, 9]], np.uint8)
    assert file.table(origin="c.yaml").map(raw_HW).tolist() == [[0, 0, 1, 2, 255, 255, 254]]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[{name: a}, {name: b}]", "ids"),
        ("[{name: a, color: [1, 2, 3]}, {name: b}]", "ids"),
        ("[{name: a, color: [1, 2, 3]}]", "colors"),
        ("{classes: [{name: a, color: [1, 2, 3]}], ignore: {ids: [9]}}", "ids"),
        ("{masks: ids, classes: [{name: a, color: [1, 2, 3]}]}", "ids"),
    ],
)
def test_what_masks_hold_follows_from_the_classes(text, kind):
    assert parse_classes(text, origin="c.yaml").kind == kind


def test_id_255_is_ignored_unless_it_is_a_class():
    table = parse_classes("[{name: a}, {name: b, ids: [255]}]", origin="c").table(origin="c")
    assert table.map(np.array([[0, 255]], np.uint8)).tolist() == [[0, 1]]
    table = parse_classes("{classes: [{name: a}], ignore: {ids: []}}", origin="c").table(origin="c")
    assert table.map(np.array([[0, 255]], np.uint8)).tolist() == [[0, 254]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{name: a, colour: [1, 2, 3]}]", "c.yaml: unknown key classes.0.colour; did you mean color?"),
        ("{clases: [], classes: [{name: a}]}", "c.yaml: unknown key clases; did you mean classes?"),
        ("{classes: [{name: a}], ignore: {id: [3]}}", "c.yaml: unknown key ignore.id; did you mean ids?"),
        ("[{name: a, zzz: 1}]", "unknown key classes.0.zzz; there are name, color, ids"),
        ("[{color: [1, 2, 3]}]", "c.yaml: classes.0.name is missing"),
        ("[{name: no}]", "classes.0.name: input should be a valid string, found False"),
        ("[{name: a, color: [1, 2]}]", "classes.0.color.2 is missing"),
        ("[{name: a, color: [1, 2, 256]}]", "classes.0.color.2: input should be less than or equal to 255, found 256"),
        (
            '[{name: a, color: "#12345"}]',
            "classes.0.color: expected a colour, [R, G, B] or \"#rrggbb\", found '#12345'",
        ),
        ("- name: a\n  color: #808080", "(in quotes: # begins a comment), found None"),
        ("[{name: a, ids: [256]}]", "classes.0.ids.0: input should be less than or equal to 255"),
        ("[{name: a, ids: []}]", "classes.0.ids: "),
        ("[]", "classes: "),
        ("[{name: a}, {name: a}]", "two classes have the name 'a'"),
        ("[{name: a, ids: [1]}, {name: b, ids: [1]}]", "1 stands for both 'a' and 'b'; every value has one meaning"),
        ("[{name: a, ids: [1]}, {name: b}]", "1 stands for both 'a' and 'b'"),
        ("{classes: [{name: a}], ignore: {ids: [0]}}", "0 stands for both 'a' and 'ignored'"),
        (
            "[{name: a, color: [1, 1, 1]}, {name: b, color: [1, 1, 1]}]",
            "(1, 1, 1) stands for both 'a' and 'b'",
        ),
        ("{masks: colors, classes: [{name: a}]}", "masks hold colors, but class 'a' has no color"),
        ("{masks: rgb, classes: [{name: a}]}", "masks: input should be 'ids' or 'colors', found 'rgb'"),
        ("{classes: [road, no]}", "c.yaml: classes.1: expected a name (in quotes if YAML takes it for something else)"),
        ("just words", "c.yaml: expected `classes:` with a list of names, found str"),
        ("{", "c.yaml: not YAML: "),
    ],
)
def test_faults_of_classes_are_named(text, words):
    with pytest.raises(UsageError) as caught:
        parse_classes(text, origin="c.yaml")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["{classes: [road, car]}", "[road, {name: car}]"])
def test_names_alone_are_classes(text):
    file = parse_classes(text, origin="c.yaml")
    assert file == parse_classes("[{name: road}, {name: car}]", origin="c.yaml")
    assert file.table(origin="c.yaml").map(np.array([[0, 1, 2]], np.uint8)).tolist() == [[0, 1, 254]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a\n- {name: 2021-99-99}", "line 2: 2021-99-99 is a date to YAML"),
        ("[2021-01-01]", "line 1: 2021-01-01 is a date to YAML"),
        ("{classes: [a], name: 2021-01-01T00:00:00Z}", "line 1: 2021-01-01T00:00:00Z is a date to YAML"),
        ("[{name: a, 2021-01-01: 3}]", "line 1: 2021-01-01 is a date to YAML"),
        ("[!!timestamp x]", "line 1: x is a date to YAML"),
        ("{classes: !!set {a, b}}", "line 1: !!set"),
        ("[{name: !!binary aGVsbG8=}]", "line 1: !!binary"),
        ("{classes: !!omap [a: 1]}", "line 1: !!omap"),
        ("{classes: !!pairs [a: 1]}", "line 1: !!pairs"),
        ("[{name: a, ids: [!!int x]}]", "invalid literal for int() with base 10: 'x'"),
        ("[!!bool x]", "'x'"),
        ("[" * 5000, "maximum recursion depth exceeded"),
    ],
)
def test_values_that_are_no_words_and_numbers(text, fault):
    with pytest.raises(UsageError) as caught:
        parse_classes(text, origin="c.yaml")
    assert str(caught.value).startswith(f"c.yaml: a value cannot be read: {fault}")
    assert str(caught.value).endswith(
        "; write names, in quotes if YAML takes them for something else, numbers, lists and mappings"
    )


def test_dates_in_quotes_anchors_and_merge_keys_are_fine():
    file = parse_classes(
        "classes: [&a {name: '2021-01-01', color: &c [1, 2, 3]}, {<<: *a, name: b, color: *c}]\nmasks: ids",
        origin="c.yaml",
    )
    assert [(entry.name, entry.color) for entry in file.classes] == [("2021-01-01", (1, 2, 3)), ("b", (1, 2, 3))]


def test_one_fault_is_one_line():
    """The list around a faulty entry is not called empty."""
    with pytest.raises(UsageError) as caught:
        parse_classes("[{name: a, ids: [256]}]", origin="c.yaml")
    assert str(caught.value) == "c.yaml: classes.0.ids.0: input should be less than or equal to 255, found 256"


def test_places_without_a_colour_get_different_ones():
    text = "".join(f"- {{name: c{place}}}\n" for place in range(254))
    space = parse_classes(text, origin="c.yaml").label_space
    assert len({label_class.color for label_class in space.classes} | {(0, 0, 0)}) == 255
