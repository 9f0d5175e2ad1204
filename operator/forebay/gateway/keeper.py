"""`python -m forebay.gateway.keeper`: starts the pilot, and starts it again whenever it ends or hangs.

A pod is ready while all its containers run: a pilot that ended with its container would take an Envoy out of the
Service that serves well by what it was told last, and one that ends again and again would take out all of them.
"""

import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from forebay.environment import CommonSettings, SettingsError, read
from forebay.logs import set_up_logs

_STOP = frozenset({signal.SIGTERM, signal.SIGINT})
_FIRST_S, _LONGEST_S = 0.1, 10.0
# One that ran for so long is started again as if it were the first time.
_PROVEN_S = 60.0
_LOOK_S, _ANSWER_S, _MISSES = 10.0, 5.0, 6
_UNUSABLE_SETTINGS = 2
_log = logging.getLogger("forebay.gateway.keeper")


def keep(command: Sequence[str], *, port: int, look_s: float = _LOOK_S) -> int:
    """Run a command until told to stop; its exit status then. One that hangs doesn't answer GET /healthz on `port`.

    It blocks SIGTERM, SIGINT and SIGCHLD in this thread, which must be the only one, with no other child.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOP, signal.SIGCHLD})
    wait_s = _FIRST_S
    while True:
        began_s = time.monotonic()
        child = subprocess.Popen(command, preexec_fn=_unblock)  # noqa: PLW1509  (there is one thread)
        if _follow(child, port=port, look_s=look_s) or child.returncode == _UNUSABLE_SETTINGS:
            # As a shell tells of one that a signal ended.
            return child.returncode if child.returncode >= 0 else 128 - child.returncode
        lasted_s = time.monotonic() - began_s
        wait_s = _FIRST_S if lasted_s >= _PROVEN_S else wait_s
        _log.error(
            "the pilot ended with %d after %.1f s, and starts again in %.1f s; Envoy serves by what it was told last",
            child.returncode, lasted_s, wait_s,
        )  # fmt: skip
        if signal.sigtimedwait(_STOP, wait_s):
            return 0
        wait_s = min(2 * wait_s, _LONGEST_S)


def _follow(child: subprocess.Popen[bytes], *, port: int, look_s: float) -> bool:
    """Until it has ended. Whether that was wanted."""
    misses = 0
    while True:
        heard = signal.sigtimedwait({*_STOP, signal.SIGCHLD}, look_s)
        if heard and heard.si_signo in _STOP:
            child.terminate()
            child.wait()
            return True
        if child.poll() is not None:
            return False
        if heard is None:
            misses = 0 if _is_alive(port) else misses + 1
        if misses >= _MISSES:
            _log.error("the pilot hangs: %d times it didn't answer /healthz", misses)
            child.kill()
            child.wait()
            return False


def _is_alive(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_S) as connection:
            connection.settimeout(_ANSWER_S)
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main() -> int:
    """Keep a pilot running."""
    try:
        settings = read(CommonSettings)
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return _UNUSABLE_SETTINGS
    set_up_logs(form=settings.log_format, level=settings.log_level)
    return keep([sys.executable, "-m", "forebay.gateway"], port=settings.port)


if __name__ == "__main__":
    sys.exit(main())
