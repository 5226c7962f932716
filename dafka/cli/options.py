"""Options that commands share, and how their faults become one sentence and an exit code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

import click

from dafka import settings
from dafka.beginning import instant, read_time
from dafka.cli import limits, logs, signals
from dafka.config import TowerConfig
from dafka.errors import ConfigError, DafkaError
from dafka.version import __version__

Function = TypeVar("Function", bound=Callable[..., Any])


class Whole(click.IntRange):
    """A whole number within bounds; click would call it an integer range."""

    name = "whole number"


class Seconds(click.FloatRange):
    """A number of seconds, 0 or more; unlike `FloatRange` it takes no nan and no inf."""

    name = "number of seconds"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, or a usage error."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return seconds


class Fault(Exception):
    """Something the user has to know, and the exit code it ends the process with."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def sentences(ctx: click.Context) -> Iterator[None]:
    """What every command begins with, and how it ends: by a `Fault` that has its name."""
    try:
        signals.begin()
        limits.allow_many_files()
        yield
    except KeyboardInterrupt as error:
        raise Fault(f"{ctx.command_path}: interrupted", signals.INTERRUPTED) from error
    except ConfigError as error:
        raise Fault(f"{ctx.command_path}: {error}", 2) from error
    except DafkaError as error:
        raise Fault(f"{ctx.command_path}: {error}") from error
    except Fault as error:
        raise Fault(f"{ctx.command_path}: {error}", error.code) from error


class Setting(click.Option):
    """An option for a setting that may also stand in the environment, as its help says.

    `dafka.settings` reads the variable: it knows where it stands between options and files.
    """

    def __init__(self, *args: Any, setting: str, **kwargs: Any) -> None:
        kwargs["help"] += f"  [env var: {settings.variable(setting)}]"
        super().__init__(*args, **kwargs)
        self.setting = setting


class Command(click.Command):
    """A command whose expected errors become a `Fault` that begins with the command's name.

    Its help ends with the settings of these `kinds` of nodes that have no option.
    """

    def __init__(self, *args: Any, kinds: Sequence[settings.Kind] = (), **kwargs: Any) -> None:
        self.kinds = kinds
        kwargs.setdefault("context_settings", {}).setdefault("help_option_names", ["-h", "--help"])
        kwargs["context_settings"].setdefault("max_content_width", 100)
        super().__init__(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with sentences(ctx):
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the settings without an option."""
        super().format_epilog(ctx, formatter)
        known = {option.setting for option in self.params if isinstance(option, Setting)}
        if TowerConfig in self.kinds:
            known.add("tower")  # it is one
        names = dict.fromkeys(one.name for kind in self.kinds for one in fields(kind))
        rest = [
            settings.variable(name) for name in names if name not in {*known, *settings.FILE_ONLY}
        ]
        if rest:
            formatter.write_paragraph()
            formatter.write_text(
                "Settings without an option, in the environment or (in lower case, without DAFKA_) "
                f"in CONFIG: {', '.join(rest)}. docs/configuration.md explains them."
            )


def version_option(function: Function) -> Function:
    """Add `--version`."""

    def show(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            click.echo(f"dafka {__version__}")
            ctx.exit()

    return click.option(
        "--version",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version and exit.",
    )(function)


def common(function: Function) -> Function:
    """Add what every command has: `-c`, `--verbose`, `--version`."""
    function = version_option(function)
    function = click.option(
        "--verbose",
        cls=Setting,
        setting="verbose",
        is_flag=True,
        help="Report to stderr what happens, in detail.",
    )(function)
    return click.option(
        "-c",
        "--config",
        metavar="CONFIG",
        help="Configuration file: TOML, or the ZPL of the C nodes; see docs/configuration.md.",
    )(function)


def tower_endpoints(verb: str) -> Callable[[Function], Function]:
    """Add `--sub` and `--pub`, the notation of the C nodes; `verb` is what is done with them."""

    def decorate(function: Function) -> Function:
        function = click.option(
            "--pub",
            cls=Setting,
            setting="pub",
            metavar="ENDPOINT",
            help=f"Tower's pub endpoint to {verb} (port 5557).",
        )(function)
        return click.option(
            "--sub",
            cls=Setting,
            setting="sub",
            metavar="ENDPOINT",
            help=f"Tower's sub endpoint to {verb} (port 5556).",
        )(function)

    return decorate


def towers(function: Function) -> Function:
    """Add the options that tell a node its towers."""
    function = tower_endpoints("connect to")(function)
    return click.option(
        "--tower",
        cls=Setting,
        setting="tower",
        multiple=True,
        metavar="ADDRESS",
        help="Tower: HOST, HOST:PORT, or both endpoints with a comma; may be repeated.",
    )(function)


def data_option(text: str) -> Callable[[Function], Function]:
    """Add `--data`; `text` is its help."""
    return click.option("--data", cls=Setting, setting="data", metavar="DIR", help=text)


def acks_option(function: Function) -> Function:
    """Add `--acks`."""
    return click.option(
        "--acks",
        cls=Setting,
        setting="min_store_acks",
        type=Whole(min=1),
        metavar="N",
        help="Stores that must acknowledge each record; default: 1.",
    )(function)


def _time(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    try:
        when = None if value is None else read_time(value)
        if when is not None:
            instant(when)
    except ConfigError as error:
        raise click.BadParameter(f"{error}.") from error
    return when


def time_option(name: str, text: str) -> Callable[[Function], Function]:
    """Add an option that is a time; `text` begins its help."""
    return click.option(
        name,
        callback=_time,
        metavar="TIME",
        help=f"{text} ISO 8601, such as 2026-11-25T17:00:00Z; without a zone it is local time.",
    )


def offsets_option(function: Function) -> Function:
    """Add `--offsets`."""
    return click.option(
        "--offsets",
        cls=Setting,
        setting="offsets",
        metavar="DIR",
        help="Directory of positions; default: dafka/offsets in $XDG_STATE_HOME, or in "
        "~/.local/state.",
    )(function)


def json_option(function: Function) -> Function:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(
        function
    )


def of_cluster(timeout: float, text: str) -> Callable[[Function], Function]:
    """Add the options of a command that works on a whole cluster; `text` is that of `--timeout`."""

    def decorate(function: Function) -> Function:
        function = click.option(
            "--timeout",
            type=Seconds(),
            default=timeout,
            show_default=True,
            metavar="S",
            help=text,
        )(function)
        return common(towers(json_option(function)))

    return decorate


def reach(kind: type[settings.Config], given: dict[str, Any], **flags: object) -> settings.Config:
    """A node's configuration, from what `of_cluster` had `given` and further `flags`."""
    flags |= {name: given.pop(name) for name in ("tower", "sub", "pub")}
    return configure(kind, given.pop("config"), given.pop("verbose"), flags)


def configure(
    kind: type[settings.Config],
    config: str | None,
    verbose: bool,
    flags: Mapping[str, object],
    defaults: Mapping[str, object] | None = None,
) -> settings.Config:
    """Start logging and return a node's configuration; `flags` are those the user gave, or None."""
    logs.start(verbose)
    file = None if config is None else settings.read(config)
    if settings.verbose(kind, file):
        logs.start(verbose=True)
    return settings.load(kind, file=file, flags=flags, defaults=defaults)
