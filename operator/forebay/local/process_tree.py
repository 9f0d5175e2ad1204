"""What a process and its children took, as the kernel counts it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def read_peak_memory_mib(pid: int) -> int:
    """The most memory that a process held, and its children that still run; 0 where the system does not say."""
    peaks = (re.search(r"VmHWM:\s+(\d+) kB", _read(each, "status")) for each in list_tree(pid))
    return sum(int(found[1]) for found in peaks if found) // 1024


def read_cpu_s(pid: int) -> float:
    """Seconds of CPU time that a process has used, and its children."""
    return sum(_read_ticks(each) for each in list_tree(pid)) / _TICKS_PER_S


def list_tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for child in _read(pid, f"task/{pid}/children").split():
        yield from list_tree(int(child))


def _read_ticks(pid: int) -> int:
    # The name, in brackets, may hold anything. Then utime, stime, and those of children that ended.
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return sum(int(each) for each in fields[11:15])


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text()
    except OSError:
        return ""
