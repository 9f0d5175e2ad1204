"""The cluster's processes on this machine: started once, found again, watched while they get ready."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cluster_tool.places import LOGS, STATE
from cluster_tool.speech import ClusterError

PIDS = STATE / "pids"
END_S = 10
TAIL_LINES = 12
LINE_WIDTH = 300


class Component(NamedTuple):
    name: str
    command: list[str]
    # None when it is ready, else what is missing.
    check: Callable[[], str | None]
    timeout_s: float = 60


def start(component: Component) -> bool:
    """Start it unless just this runs already. True if it was started."""
    if find(component.name):
        if json.loads((PIDS / component.name).read_text())["command"] == component.command:
            return False
        end(component.name)
    PIDS.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{component.name}.log").open("ab") as log:
        process = subprocess.Popen(
            component.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    record = {"pid": process.pid, "born": born(process.pid), "command": component.command}
    (PIDS / component.name).write_text(json.dumps(record))
    return True


def find(name: str) -> int | None:
    """Process id of a component that runs."""
    try:
        record = json.loads((PIDS / name).read_text())
    except (FileNotFoundError, ValueError):
        return None
    # A pid alone could by now be somebody else's.
    return record["pid"] if record["born"] and born(record["pid"]) == record["born"] else None


def born(pid: int) -> str | None:
    """When the process began, in the machine's own count; None for one that has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def end(name: str) -> None:
    pid = find(name)
    if pid is not None:
        end_pid(pid)
    (PIDS / name).unlink(missing_ok=True)


def end_pid(pid: int) -> None:
    """Nothing of a test cluster is worth a graceful end: kill, and see that it is gone."""
    began = born(pid)
    deadline = time.monotonic() + END_S
    try:
        os.kill(pid, signal.SIGKILL)
        while began and born(pid) == began:
            if time.monotonic() > deadline:
                raise ClusterError(f"process {pid} doesn't end")
            time.sleep(0.01)
    except ProcessLookupError:
        return


def await_ready(component: Component) -> None:
    deadline = time.monotonic() + component.timeout_s
    while (missing := component.check()) is not None:
        if find(component.name) is None:
            raise ClusterError(f"{component.name} ended. {tail(component.name)}")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{component.name} is not ready after {component.timeout_s:.0f} s: {missing}. {tail(component.name)}"
            )
        time.sleep(0.1)


def tail(name: str) -> str:
    log = LOGS / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return f"Last lines of {log}:\n  " + "\n  ".join(line[:LINE_WIDTH] for line in lines or ["(none)"])
