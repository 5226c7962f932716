"""Lets the scripts beside this file run straight from a checkout, with any Python 3."""

import os
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV_PYTHON = os.path.join(ROOT, ".venv", "bin", "python")


def run(module, attribute, name):
    """Run the command `attribute` of `module` under this name, with the checkout's packages."""
    sys.path[0] = ROOT
    # A signal while Python still imports: nothing has begun, so there is nothing to tell.
    # As in dafka/cli/start.py, which this Python may be too old for.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(130))
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts a script has any Python 3
        _start_again(name, "Python 3.11 or newer is needed")
    try:
        from importlib import import_module

        command = getattr(import_module(module), attribute)
        main = import_module("dafka.cli.main").main
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("dafka", "protocol"):
            raise
        _start_again(name, f"the Python package {error.name!r} is missing")
    main(command, name)


def _start_again(name, reason):
    inside = os.path.realpath(sys.prefix) == os.path.realpath(os.path.join(ROOT, ".venv"))
    if os.access(VENV_PYTHON, os.X_OK) and not inside:
        os.execv(VENV_PYTHON, [VENV_PYTHON, *sys.argv])
    sys.exit(f"{name}: {reason}: run scripts/demo once, or 'pip install .' in {ROOT}")
