"""The options that say how a folder of one's own is split, shared by the commands that read one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from roadbed.data.sources.folder_splits import Splitting

SPLITTING_NAMES = ("split_file", "lists", "val_share", "test_share", "split_seed", "group_by")


def _named_files(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """SPLIT=FILE as a file by split."""
    files: dict[str, str] = {}
    for text in texts:
        split, equals, file = text.partition("=")
        if not (split and equals and file):
            raise click.BadParameter(f"{text!r}: write SPLIT=FILE, as in train=train.txt")
        if split in files:
            raise click.BadParameter(f"{text!r}: {split} has the list {files[split]} already; join the two files")
        files[split] = file
    return files


def splitting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lists, or shares and what makes a sequence."""
    options = (
        click.option("--split-file", metavar="FILE", help="Lines `SPLIT NAME`."),
        click.option(
            "--list", "lists", multiple=True, callback=_named_files, metavar="SPLIT=FILE", help="A name a line."
        ),
        click.option(
            "--val-share", type=float, default=0.0, metavar="X", help="Share of frames, 0..1, for validation."
        ),
        click.option("--test-share", type=float, default=0.0, metavar="X", help="Share of frames, 0..1, for testing."),
        click.option(
            "--split-seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other shares."
        ),
        click.option(
            "--group-by",
            metavar="REGEX",
            help="Its first group names the sequence.  [default: name up to its number]",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def take_splitting(options: dict[str, Any]) -> Splitting:
    """The splitting of the values of `splitting_options`, which are taken out of `options`."""
    return _splitting(**{name: options.pop(name) for name in SPLITTING_NAMES})


def _splitting(
    *,
    split_file: str | None,
    lists: dict[str, str],
    val_share: float,
    test_share: float,
    split_seed: int,
    group_by: str | None,
) -> Splitting:
    from roadbed.data.sources.folder import read_list, read_split_file
    from roadbed.data.sources.folder_splits import Splitting

    listed = read_split_file(split_file) if split_file else ()
    for split, file in lists.items():
        listed += read_list(split, file)
    return Splitting(listed=listed, val_share=val_share, test_share=test_share, seed=split_seed, group_by=group_by)
