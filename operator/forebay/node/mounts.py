"""Bind mounts, by the system calls: the image has no mount(8)."""

import ctypes
import os
import threading
from contextlib import suppress
from pathlib import Path

_NOSUID, _NODEV, _READ_ONLY, _REMOUNT, _BIND = 0x2, 0x4, 0x1, 0x20, 0x1000
_DETACH = 0x2
_libc = ctypes.CDLL(None, use_errno=True)
_staging = threading.Lock()


def bind_read_only(source: Path, target: Path, stage: Path) -> None:
    """Show the folder `source` at `target`, where nobody can write to it. Raises OSError.

    What a mount is allowed isn't propagated when it changes: so the mount is made read-only at `stage`, an empty
    folder which others don't see, and shown at `target` from there.
    """
    with _staging:
        stage.mkdir(exist_ok=True)
        _mount(source, stage, _BIND)
        try:
            _mount(Path("none"), stage, _BIND | _REMOUNT | _READ_ONLY | _NOSUID | _NODEV)
            target.mkdir(parents=True, exist_ok=True)
            _mount(stage, target, _BIND)
        finally:
            _unmount(stage)


def unmount(target: Path) -> None:
    """Take away what is mounted at a path, and the path. Nothing there is fine. Raises OSError."""
    while is_mounted(target):
        _unmount(target)
    with suppress(FileNotFoundError):
        target.rmdir()


def is_mounted(target: Path) -> bool:
    """Whether something is mounted right there."""
    return str(target) in list_mounts()


def list_mounts() -> set[str]:
    """All places where something is mounted, as this process sees it."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8", errors="surrogateescape").splitlines()
    return {_unescape(line.split(" ")[4]) for line in lines}


def _unescape(path: str) -> str:
    for code in ("040", "011", "012", "134"):
        path = path.replace(f"\\{code}", chr(int(code, 8)))
    return path


def _mount(source: Path, target: Path, flags: int) -> None:
    if _libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None):
        raise _last_error(target)


def _unmount(target: Path) -> None:
    if _libc.umount2(os.fsencode(target), _DETACH):
        raise _last_error(target)


def _last_error(path: Path) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), str(path))
