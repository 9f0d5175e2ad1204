"""What the node's cache brings: what the agent tells in the volume, until the files are there.

The volume holds STATE, one JSON object which is replaced as a whole, and when that says so FILES.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.fetch import Fetched
from forebay.serving.storage.progress import OnProgress, Progress

STATE, FILES = "state.json", "files"
DOWNLOADING, CACHED, FAILED = "Downloading", "Cached", "Failed"
# A failure from before this process is the last one's: the kubelet tells the agent to try again, soon.
OLD_FAILURE_S = 20.0
_LOOK_EVERY_S = 0.2


def wait(volume: Path, on_progress: OnProgress, *, old_failure_s: float = OLD_FAILURE_S) -> Fetched:
    """Wait for the files, which the agent brings. Raises the StorageError that it met."""
    state = await_end(volume, on_progress, old_failure_s=old_failure_s)
    if state["state"] == FAILED:
        raise StorageError(Reason(state["reason"]), str(state["message"]))
    return Fetched(volume / FILES, int(state["bytes"]), cached=bool(state["hit"]))


def await_end(volume: Path, on_progress: OnProgress, *, old_failure_s: float = OLD_FAILURE_S) -> dict[str, Any]:
    """Wait until the agent says CACHED or FAILED, and answer all that it says."""
    started_s, told = time.time(), None
    while True:
        state = _read(volume / STATE)
        is_old = float(state.get("at", 0)) < started_s and time.time() < started_s + old_failure_s
        if state.get("state") == CACHED or (state.get("state") == FAILED and not is_old):
            return state
        progress = _read_progress(state)
        if progress is not None and progress != told:
            told = progress
            on_progress(progress)
        time.sleep(_LOOK_EVERY_S)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def _read_progress(state: Mapping[str, Any]) -> Progress | None:
    if state.get("state") != DOWNLOADING or "bytes" not in state:
        return None
    total = state["total"]
    return Progress(
        int(state["bytes"]), None if total is None else int(total), int(state["files"]), int(state["files_total"])
    )
