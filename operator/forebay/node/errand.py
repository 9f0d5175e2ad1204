"""What every worker does: it gives up root, ends with the agent, and answers in JSON lines.

A process of its own, as nobody in particular: what comes from a source is read where neither the node nor the
credentials of others are. It takes a JSON object on stdin and ends when stdin does; on stdout are JSON lines.
"""

import json
import os
import signal
import sys
import threading
from typing import Any


def begin() -> dict[str, Any]:
    """What is asked for, once this process can do no harm."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    _become(asked["user"])
    threading.Thread(target=_end_with_agent, daemon=True).start()
    return asked


def say(**event: object) -> None:
    """Tell the agent; the last is what became of it."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def end() -> None:
    """End at once, with whatever was started: the agent made this process the leader of a group."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(128 + signal.SIGKILL)


def _become(user: int | None) -> None:
    """Give up all that root may, for good."""
    if user is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _end_with_agent() -> None:
    sys.stdin.read()
    end()
