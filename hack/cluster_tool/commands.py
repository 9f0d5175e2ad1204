"""Run other programs, in bounded time, and show what they said when they fail."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster_tool.speech import ClusterError

TIMEOUT_S = 60


def call(*command: str | Path, given: str | None = None, timeout_s: float = TIMEOUT_S) -> str:
    """What the command wrote, or an error that tells its last lines."""
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=timeout_s, check=False, errors="replace"
        )
    except FileNotFoundError:
        raise ClusterError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"`{shorten(command)}` took more than {timeout_s:.0f} s") from None
    if done.returncode:
        said = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise ClusterError(f"`{shorten(command)}` failed:\n  {said}")
    return done.stdout


def succeeds(*command: str | Path, timeout_s: float = TIMEOUT_S) -> bool:
    try:
        call(*command, timeout_s=timeout_s)
    except ClusterError:
        return False
    return True


def shorten(command: Sequence[str | Path]) -> str:
    text = " ".join(map(str, command))
    return text if len(text) <= 160 else f"{text[:159]}…"
