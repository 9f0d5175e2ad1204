"""What hack/cluster says while it works. All of it goes to stderr: stdout is for what scripts read."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

console = Console(stderr=True, highlight=False)


class ClusterError(Exception):
    """What went wrong, and what to do about it."""


def say(text: str) -> None:
    console.print(f"[dim]•[/] {text}", soft_wrap=True)


def complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what was done and how long it took, once it is done."""
    began = time.monotonic()
    with console.status(f"{text} …"):
        yield
    say(f"{text} [dim]{time.monotonic() - began:.1f} s[/]")
