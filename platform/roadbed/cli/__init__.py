"""The command line: thin, one module per verb, loaded when its verb is called.

Exit status: 0 done, 1 failed, 2 asked in a way that cannot be meant.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import click

from roadbed import __version__
from roadbed.errors import RoadbedError

VERBS = {
    "bench": "measure speed and memory on this machine",
    "data": "prepare datasets and look at them",
    "doctor": "look at this machine: what roadbed needs, what is missing, and the fix of each",
    "evaluate": "score a model on a split of a dataset, or two against each other",
    "explain": "print every field of a job spec with its default and meaning",
    "exporter": "tell Prometheus the state of the store",
    "gc": "find what nobody refers to in the store, and delete it",
    "jobs": "list, explain, follow, stop and resume jobs on a cluster",
    "lint": "find what would go wrong on a cluster, without one: job specs, manifests, charts",
    "local": "run a local S3 server and a local Ray",
    "models": "list, show, promote and export the versions of the registry",
    "predict": "segment pictures with a model of the registry",
    "quickstart": "the whole way on this machine: data, training, registry, pictures",
    "runs": "list, show, compare and plot training runs; read their logs and metrics",
    "serve": "answer over HTTP with a model, and a page to try it",
    "submit": "send a job to a cluster",
    "sweeps": "list and show hyperparameter sweeps",
    "train": "train a model by a job spec",
    "tune": "search hyperparameters by a job spec",
}
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their one-line help, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, VERBS[name]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="roadbed")
def roadbed(debug: bool) -> None:
    """Train, tune and serve road-scene segmentation with Ray, on a laptop or a cluster.

    \b
    First steps:
      roadbed quickstart               everything once, on this machine
      roadbed train jobs/NAME.yaml     train by a job spec
      roadbed models list              what the registry holds
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status; errors are one clear text on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    is_debugging = "--debug" in words
    # --debug is meant wherever it stands.
    words = (["--debug"] if is_debugging else []) + [word for word in words if word != "--debug"]
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


def _leave(text: Any, status: int) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True)
    sys.exit(status)
