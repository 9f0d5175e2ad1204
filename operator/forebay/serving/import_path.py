"""Where a script's libraries are found: before others of this Python, and after its standard library."""

import site
import sys
from pathlib import Path


def add_environment(folder: Path) -> None:
    """Let modules of a folder be imported, ahead of installed ones: there they may have other versions.

    Not by PYTHONPATH: that comes before the standard library, for which old backports would be taken.
    """
    before = list(sys.path)
    # As for an installed library: its .pth files are read, too.
    site.addsitedir(str(folder))
    added = [each for each in sys.path if each not in before]
    place = next((at for at, each in enumerate(before) if Path(each).name == "site-packages"), len(before))
    sys.path[:] = [*before[:place], *added, *before[place:]]
