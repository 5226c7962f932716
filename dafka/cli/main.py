"""The entry points: which commands exist, and how any of them ends.

Exit codes: 0 done, or a node ended by Ctrl-C, SIGTERM or SIGHUP; 1 it could not be done; 2 wrong
usage or settings; 130 interrupted before there was a result. A fault of the user's is one
sentence on stderr, a fault of ours a traceback.

Nothing is monkey-patched here: all blocking work is done by gevent and `zmq.green` explicitly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from dafka.cli import signals
from dafka.cli.options import Fault, version_option
from dafka.cli.stdio import reserve_standard_descriptors, tell_what_cannot_be_printed
from dafka.cli.texts import print_anything, visible

COMMANDS = {
    "server": ("dafka.cli.server", "server", "Run a tower and a store: all a newcomer starts."),
    "tower": ("dafka.cli.tower", "tower", "Run a tower, which introduces nodes to each other."),
    "store": ("dafka.cli.store", "store", "Run a store, which keeps the records of all topics."),
    "produce": ("dafka.cli.produce", "produce", "Publish the lines of a file or of stdin."),
    "consume": ("dafka.cli.consume", "consume", "Print the records of topics."),
    "offsets": ("dafka.cli.offsets", "offsets", "Show or set the positions of consumers."),
    "topics": ("dafka.cli.topics", "topics", "List the topics of a cluster, or delete one."),
    "describe": ("dafka.cli.describe", "describe", "Show a topic's partitions, and what lags."),
    "nodes": ("dafka.cli.list_nodes", "list_nodes", "List the nodes that are in a cluster."),
    "check": ("dafka.cli.check", "check", "Verify or compare the data of stores."),
    "export": ("dafka.cli.export", "export", "Write the records of a cluster into a file."),
    "import": ("dafka.cli.import_", "import_", "Publish the records of such a file."),
    "demo": ("dafka.cli.demo", "demo", "Show the main job on real data, end to end."),
    "bench": ("dafka.cli.bench", "bench", "Measure this machine beside its ceilings, and peers."),
}
"""Name: module, attribute, one line of help. Modules are imported when they are asked for."""


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or say clearly that this installation lacks it."""
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute, _ = COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            if not module_name.startswith(error.name or "?"):
                raise
            raise Fault(f"dafka {cmd_name}: this installation does not contain it") from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@version_option
@click.pass_context
def dafka(ctx: click.Context) -> None:
    """Dafka, a decentralised, durable streaming platform on ZeroMQ.

    \b
    Start with a server in one terminal, and in two others:
      dafka server
      dafka consume hello --from earliest
      echo 'A first event' | dafka produce hello
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(
    command: click.Command = dafka, name: str = "dafka", arguments: Sequence[str] | None = None
) -> NoReturn:
    """Run a command and leave the process with its exit code."""
    signals.arm()
    reserve_standard_descriptors()
    print_anything(sys.stdout, sys.stderr)
    tell_what_cannot_be_printed()
    sys.exit(run(command, name, sys.argv[1:] if arguments is None else arguments))


def run(command: click.Command, name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code, having said on stderr what was wrong."""
    try:
        status = command.main(list(arguments), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        message = error.format_message()
        stop = "" if message.endswith((".", "?", "!")) else "."
        _say(f"{path}: {message}{stop} Try '{path} --help'.")
        return 2
    except Fault as error:
        # What `--help` and `--version` cannot print is told before a command has begun.
        _say(str(error) if str(error).startswith(name) else f"{name}: {error}")
        return error.code
    except click.ClickException as error:
        _say(f"{name}: {error.format_message()}")
        return error.exit_code
    except click.Abort:
        return signals.INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever read our output has enough
    return status if isinstance(status, int) else 0


def _say(text: str) -> None:
    click.echo(visible(" ".join(text.split())), err=True)
