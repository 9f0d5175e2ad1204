"""What was written reaches the disk."""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Ten thousand fsyncs take minutes; to write what all of a node's pods have in memory may take as long.
FEW = 100


def sync(folder: Path, files: Sequence[Path]) -> None:
    """Write files that lie in a folder to its disk: one by one, or if they are many all of the file system. OSError."""
    if len(files) <= FEW:
        for path in files:
            _sync_each(path)
    elif sys.platform == "linux":
        _sync_file_system(folder)
    else:
        os.sync()


def _sync_each(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_file_system(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(file) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(file)
