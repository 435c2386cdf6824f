"""The command line: thin, one module per verb, loaded when its verb is called.

Exit status: 0 done, 1 failed, 2 asked in a way that cannot be meant, 130 stopped by Ctrl-C or SIGTERM (docs/cli.md).
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from typing import Any

import click
from click.shell_completion import CompletionItem

from roadbed import __version__
from roadbed.errors import RoadbedError

VERBS = {
    "bench": "measure speed and memory on this machine",
    "completion": "print the script by which bash, zsh or fish complete what you type",
    "data": "prepare datasets and look at them",
    "doctor": "look at this machine: what roadbed needs, what is missing, and the fix of each",
    "evaluate": "score a model on a split of a dataset, or two against each other",
    "explain": "print the fields of a job spec with their defaults and meanings",
    "exporter": "tell Prometheus the state of the store",
    "gc": "find what nobody refers to in the store, and delete it",
    "jobs": "list, explain, follow, stop and resume jobs on a cluster",
    "lint": "find what would go wrong on a cluster, without one: job specs, manifests, charts",
    "local": "run a local S3 server and a local Ray",
    "models": "list, show, promote and export the versions of the registry",
    "predict": "segment pictures and videos with a model of the registry",
    "quickstart": "the whole way on this machine: data, training, registry, pictures",
    "runs": "list, show, compare and plot training runs; read their logs and metrics",
    "serve": "answer over HTTP with a model, and a page to try it",
    "submit": "send a job to a cluster",
    "sweeps": "list and show hyperparameter sweeps",
    "top": "watch runs, sweeps and endpoints on a terminal",
    "train": "train a model by a job spec",
    "tune": "search hyperparameters by a job spec",
}
# Meant wherever they stand.
ANYWHERE = ("--debug", "--quiet")
# Of the pods of jobs, not of people.
HIDDEN = ("vacate",)


class LazyGroup(click.Group):
    """Loads the module of a verb only when that verb is called, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, sorted."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, or None if there is none of that name."""
        if cmd_name not in (*VERBS, *HIDDEN):
            return None
        command = getattr(importlib.import_module(f"roadbed.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, which looks for near verbs only among those that are loaded."""
        verb = args[0]
        if verb not in (*VERBS, *HIDDEN) and not verb.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(verb, VERBS, n=1)
            ctx.fail(f"No such command '{verb}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs that begin so, without loading them, and the options."""
        verbs = [
            CompletionItem(name, help=VERBS[name]) for name in self.list_commands(ctx) if name.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their one-line help, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, VERBS[name]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--quiet", is_flag=True, help="No progress and no notes: results and errors alone.")
@click.version_option(__version__, "--version", prog_name="roadbed", help="Print the version, and leave.")
@click.pass_context
def roadbed(context: click.Context, debug: bool, quiet: bool) -> None:
    """Train, tune and serve road-scene segmentation with Ray, on a laptop or a cluster.

    \b
    First steps:
      roadbed doctor                   what this machine has and lacks
      roadbed quickstart               everything once, on this machine
      roadbed train jobs/NAME.yaml     train by a job spec
      roadbed models list              what the registry holds

    --debug and --quiet may stand anywhere. docs/cli.md has all verbs, exit statuses and environment variables.
    """
    if not _may_colour():
        context.color = False


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status; errors are one clear text on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    is_debugging = "--debug" in words
    words = [word for word in ANYWHERE if word in words] + [word for word in words if word not in ANYWHERE]
    try:
        roadbed.main(args=words, prog_name="roadbed", standalone_mode=False)
    except click.exceptions.Abort:
        _leave("stopped", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _leave("stopped", 130)
    except RoadbedError as error:
        if is_debugging:
            traceback.print_exc()
        _leave(str(error), error.exit_status)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if is_debugging:
            traceback.print_exc()
        _leave(f"{error.filename or 'the system'}: {error.strerror or error}; choose another place or mend it", 1)
    except Exception as error:
        if is_debugging:
            traceback.print_exc()
        _leave(f"a defect of roadbed: {type(error).__name__}: {error}\nrun it again with --debug for the traceback", 1)


def _may_colour() -> bool:
    """Whether a terminal may be given colours (https://no-color.org); what is no terminal never is."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _leave(text: Any, status: int) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True, color=None if _may_colour() else False)
    sys.exit(status)
