"""The libraries of a script: installed by the same command that is a pod's init container, and kept."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from forebay.local.display import Display
from forebay.local.errors import LocalError
from forebay.local.paths import cache_dir
from forebay.local.process import die_with_parent
from forebay.plan.resolve import Packages
from forebay.serving.environments.environment import Environment
from forebay.serving.environments.errors import InstallError
from forebay.serving.environments.install import read_installed

# So many are kept; of more, those that were used longest ago go.
_MOST_KEPT = 12
_USED = ".used"


def environment_folder(packages: Packages) -> Path:
    """Where an environment lies. Raises LocalError where the requirements can't be read."""
    return _root() / _parse(packages)[1]


def list_environment_args(packages: Packages, folder: Path) -> list[str]:
    """Arguments of `python -m forebay.serving.environments` on this machine."""
    args = ["--to", str(folder), "--cache", str(cache_dir() / "uv"), "--allow-loopback"]
    args += [f"--requirement={each}" for each in packages.requirements]
    return [*args, f"--index={packages.index_url}"] if packages.index_url else args


async def install_environment(packages: Packages, display: Display, *, of: str) -> Path:
    """Install the libraries that the component `of` needs, unless they are there. Raises LocalError with the reason."""
    environment, digest = _parse(packages)
    folder = _root() / digest
    if read_installed(folder, environment) is None:
        display.say(f"{of}: installing {', '.join(packages.requirements)} (once)")
        last = await _run(list_environment_args(packages, folder), display, of=of)
        if last.get("event") != "done":
            message = last.get("message") or f"the installation ended: {last.get('status')}"
            raise LocalError(f"{of}.custom.requirements: {last.get('reason', 'Failed')}: {message}")
        display.say(f"{of}: installed {', '.join(last['packages']) or 'nothing: all is there already'}")
    return folder


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep an environment from being forgotten while a server runs on it."""
    with _open_use(folder) as use:
        fcntl.flock(use, fcntl.LOCK_SH)
        os.utime(use.name)
        forget_unused()
        yield


def forget_unused(most: int = _MOST_KEPT) -> list[Path]:
    """Remove the environments that were used longest ago and that nothing runs on, and answer which."""
    uses = sorted(_root().glob(f"*{_USED}"), key=lambda path: path.stat().st_mtime, reverse=True)
    forgotten = []
    for path in uses[most:]:
        folder = path.with_suffix("")
        with contextlib.suppress(BlockingIOError), _open_use(folder) as use:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            forgotten.append(folder)
    return forgotten


def _open_use(folder: Path) -> IO[str]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.with_name(folder.name + _USED).open("a")


def _root() -> Path:
    return cache_dir() / "environments"


def _parse(packages: Packages) -> tuple[Environment, str]:
    environment = Environment(packages.requirements, packages.index_url)
    try:
        return environment, environment.digest()
    except InstallError as error:
        raise LocalError(error.message) from error


async def _run(arguments: list[str], display: Display, *, of: str) -> Mapping[str, Any]:
    """Run the command, show what it says, and answer the last of it."""
    # A session of its own: Ctrl-C reaches forebay alone, which then ends it.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "forebay.serving.environments", *arguments,
        stdout=asyncio.subprocess.PIPE, start_new_session=True, preexec_fn=die_with_parent,
    )  # fmt: skip
    last: Mapping[str, Any] = {}
    try:
        assert process.stdout is not None  # noqa: S101  (asked for above)
        async for line in process.stdout:
            last = json.loads(line)
            if last["event"] == "progress" and last["text"].startswith("Downloading"):
                display.say(f"{of}: {last['text'].lower()}")
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return last or {"status": process.returncode}
