"""Libraries that the node's agent installs, once for all pods that ask for the same: waited for, and used in place."""

import shutil
from collections.abc import Callable
from pathlib import Path

from forebay.serving.environments.environment import Environment
from forebay.serving.environments.errors import InstallError, Reason
from forebay.serving.environments.install import Installed, read_installed
from forebay.serving.storage.cached import FAILED, FILES, OLD_FAILURE_S, await_end
from forebay.serving.storage.errors import show_bytes

_REASONS = {str(each.value): each for each in Reason}


def take(
    environment: Environment,
    volume: Path,
    into: Path,
    on_progress: Callable[[str], None],
    *,
    old_failure_s: float = OLD_FAILURE_S,
) -> Installed | None:
    """Wait for the libraries, and make `into` a link to them. Raises the InstallError that the agent met, or OSError.

    None, and no link, where they are for another Python, or lie beside another Forebay: the agent and the pod have one
    image, but while that is being replaced.
    """
    state = await_end(
        volume,
        lambda progress: on_progress(f"{show_bytes(progress.bytes_done)} are there"),
        old_failure_s=old_failure_s,
    )
    if state["state"] == FAILED:
        reason = _REASONS.get(str(state["reason"]), Reason.INSTALL_FAILED)
        raise InstallError(reason, str(state["message"]))
    found = read_installed(volume / FILES, environment)
    if into.is_symlink():
        into.unlink()
    if found is None:
        return None
    # What an earlier run of this container installed by itself.
    shutil.rmtree(into, ignore_errors=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    into.symlink_to(found.path)
    return Installed(into, found.packages, cached=bool(state["hit"]))
