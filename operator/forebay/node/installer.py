"""`python -m forebay.node.installer`: installs a script's libraries, with one volume's credentials in its environment.

Of what it installs nothing runs: wheels are unpacked, and compiled.
"""

import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from forebay.node.errand import begin, end, say
from forebay.node.folders import measure
from forebay.serving.environments.environment import Environment
from forebay.serving.environments.errors import InstallError, Reason
from forebay.serving.environments.install import install
from forebay.serving.storage.errors import show_bytes
from forebay.serving.storage.progress import Progress

_LOOK_EVERY_S = 0.5


def main() -> int:
    """Install what is asked for."""
    asked = begin()
    to = Path(asked["to"])
    threading.Thread(target=_watch, args=(to.parent, asked["most_bytes"]), daemon=True).start()
    environment = Environment(tuple(asked["requirements"]), asked["index"])
    try:
        installed = install(environment, to, allow_loopback=asked["allow_loopback"])
    except InstallError as error:
        say(event="error", reason=str(error.reason.value), message=error.message)
        return 1
    say(event="installed", packages=installed.packages)
    return 0


def _watch(folder: Path, most_bytes: int) -> None:
    """Tell how much is there, and end where it is too much: what a wheel unpacks to nobody knows before."""
    told = 0
    while True:
        time.sleep(_LOOK_EVERY_S)
        size = measure(folder)
        if size > most_bytes:
            message = (
                f"the node's cache has {show_bytes(most_bytes)} beside what is in use, and the libraries take more: "
                "raise nodeCache.sizeLimit, or serve an image of your own (custom.image)"
            )
            say(event="error", reason=str(Reason.DISK_FULL.value), message=message)
            end()
        if size != told:
            told = size
            say(event="progress", **asdict(Progress(size, None, 0, 0)))


if __name__ == "__main__":
    sys.exit(main())
