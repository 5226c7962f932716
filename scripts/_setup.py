"""The part of scripts/setup that needs Python: is the environment up to date, and if not, make it.

Needs the standard library only. The environment is up to date if its stamp says so: made for this
place, by this Python, from this pyproject.toml, with at least these extras.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "dafka-setup.json"


def main(arguments: list[str]) -> int:
    """Make the environment; with --check, only tell by the exit code whether it is up to date."""
    if arguments[:1] == ["--check"]:
        return 0 if is_current(set(arguments[1:])) else 1
    lock = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # Until the process ends.
    wanted = set(arguments)
    return 0 if is_current(wanted) else make(wanted)


def is_current(extras: set[str]) -> bool:
    """Whether the environment has these extras and is not outdated."""
    stamp = read_stamp()
    return is_usable(stamp) and stamp["project"] == project() and extras <= set(stamp["extras"])


def is_usable(stamp: dict) -> bool:
    """Whether the environment can be kept, if need be with other packages."""
    return bool(stamp) and stamp["place"] == place() and os.access(PYTHON, os.X_OK)


def place() -> list[str]:
    """What an environment cannot outlive: where it is, and the Python it was made by."""
    return [str(VENV), sys.version, sys.base_prefix]


def project() -> str:
    """What decides which packages are needed."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def read_stamp() -> dict:
    """What was installed, or nothing."""
    try:
        return json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def write_stamp(done: str, extras: set[str]) -> None:
    """Note what is installed: these extras of the project `done`."""
    stamp = {"place": place(), "project": done, "extras": sorted(extras)}
    STAMP.write_text(json.dumps(stamp), "utf-8")


def make(extras: set[str]) -> int:
    """Install what is missing; returns the exit code."""
    stamp = read_stamp()
    usable = is_usable(stamp)
    extras |= set(stamp["extras"]) if usable else set()
    names = f"[{','.join(sorted(extras))}]" if extras else ""
    version = ".".join(map(str, sys.version_info[:3]))
    say(f"installing dafka{names} into .venv, with Python {version}; the first time takes a while")
    try:
        if not usable:
            venv.create(VENV, clear=True, symlinks=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"cannot make {VENV}: {error}")
        return 1
    write_stamp("", extras)  # Usable, but not up to date until pip has succeeded.
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    done = subprocess.run(
        [*pip, "install", "--editable", f"{ROOT}{names}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, end="", file=sys.stderr)
        say("pip could not install the packages, see above; is the package index reachable?")
        return 1
    write_stamp(project(), extras)
    return 0


def say(text: str) -> None:
    """A line on stderr: stdout belongs to whatever is run next."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
