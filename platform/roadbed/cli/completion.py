"""`roadbed completion SHELL`, and what arguments are completed by."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

VARIABLE = "_ROADBED_COMPLETE"
"""By its name click knows that a shell asks."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes verbs, options, fields of specs and files.

    Names of runs and versions are not completed: that would ask the store at every press of a key. Have the shell read
    the script when it starts, by a line in its own file:

    \b
    eval "$(roadbed completion bash)"      # in ~/.bashrc (bash 4.4 or newer)
    eval "$(roadbed completion zsh)"       # in ~/.zshrc, after compinit
    roadbed completion fish > ~/.config/fish/completions/roadbed.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "roadbed", VARIABLE).source())


def files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell's own completion of files, for an argument that may also be something else."""
    return [CompletionItem(incomplete, type="file")]
