"""An Envoy's live numbers, in the form of a ConfigMap mount: `..data` points to the folder that holds them."""

import shutil
from collections.abc import Mapping
from pathlib import Path


class RuntimeFiles:
    """Numbers that a running Envoy takes over when the symbolic link is swapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def write(self, numbers: Mapping[str, str]) -> None:
        """Put all numbers in place at once."""
        # The last one stays: an Envoy may be reading it.
        old = self.folder / str(self._version - 1)
        self._version += 1
        new = self.folder / str(self._version)
        new.mkdir()
        for name, value in numbers.items():
            (new / name).write_text(value)
        draft = self.folder / "..draft"
        draft.unlink(missing_ok=True)
        draft.symlink_to(new.name)
        draft.rename(self.folder / "..data")
        shutil.rmtree(old, ignore_errors=True)
