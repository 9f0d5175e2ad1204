"""uv as a process: its lines as they come, and what it says when it fails."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from forebay.serving.environments.errors import InstallError, Reason

# An index that trickles: nobody waits longer for libraries.
_LIMIT_S = 3600
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class UvError(Exception):
    """uv ended with another status than 0; `text` is what it said."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def run_uv(arguments: Sequence[str], *, folder: Path, cache: Path, on_line: Callable[[str], None]) -> None:
    """Run `uv ARGUMENTS` in a folder; each line that it says is passed on. Raises UvError, InstallError."""
    from uv import find_uv_bin  # noqa: PLC0415  (where uv isn't installed, all else works)

    try:
        argv = [find_uv_bin(), *arguments]
    except FileNotFoundError as error:
        message = f"uv is not installed beside {sys.executable}: `{sys.executable} -m pip install uv`"
        raise InstallError(Reason.INSTALL_FAILED, message) from error
    process = subprocess.Popen(
        argv, cwd=folder, env=_build_env(os.environ, cache), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    limit = threading.Timer(_LIMIT_S, process.kill)
    limit.daemon = True
    limit.start()
    lines = []
    try:
        assert process.stderr is not None  # noqa: S101  (asked for above)
        for line in process.stderr:
            lines.append(line)
            on_line(line.strip())
        status = process.wait()
    finally:
        limit.cancel()
        process.kill()
        process.wait()
    if status:
        raise UvError("".join(lines) or f"uv ended with status {status}")


def _build_env(environment: Mapping[str, str], cache: Path) -> dict[str, str]:
    settings = {"UV_CACHE_DIR": str(cache), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    paths = ssl.get_default_verify_paths()
    if paths.cafile or _CERTIFICATES.exists():
        # Where the network has a certificate authority of its own, the system knows it.
        settings["UV_SYSTEM_CERTS"] = "1"
    # A virtual environment that somebody is in is not where anything goes.
    return {**environment, **settings} | {"VIRTUAL_ENV": ""}
