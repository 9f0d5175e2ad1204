"""Operators that begin at once: forked from a process that has imported all they need, which takes two seconds.

python -m tests.controller.nursery        (a line of JSON in: log, environment; a line out: pid)
"""

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Self

from forebay.controller.__main__ import main
from forebay.local.process import die_with_parent
from tests.api.apiserver import ROOT


class Nursery:
    """The process that forks them."""

    def __enter__(self) -> Self:
        self._asking = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.controller.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=ROOT, preexec_fn=die_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def start(self, log: Path, **environment: str) -> int:
        """Start an operator; its pid."""
        assert self._process.stdin
        assert self._process.stdout
        with self._asking:  # or one is told another's pid
            print(json.dumps({"log": str(log), "environment": environment}), file=self._process.stdin, flush=True)
            return int(self._process.stdout.readline())


def fork_operators() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            file = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for number in (1, 2):
                os.dup2(file, number)
            os.environ.update(order["environment"])
            os._exit(main())
        print(pid, flush=True)


if __name__ == "__main__":
    fork_operators()
