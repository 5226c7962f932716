"""What files need that are to outlive a loss of power, and Python does not have."""

from __future__ import annotations

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Bring the names in a directory to the disk: of files that were made, renamed or removed."""
    names = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(names)
    finally:
        os.close(names)


def why(error: OSError) -> str:
    """Why a directory cannot be used, in words."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "there is a file in its place"
    return error.strerror or str(error)


def make_directory(directory: Path) -> None:
    """Create a directory such that it survives a power failure: its parents must know it."""
    if directory.is_dir():
        return
    if directory.parent != directory:
        make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)
