"""The volumes of pods on this disk: what each was asked for, and the folder that its pod sees."""

import json
import re
import shutil
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from forebay.node.trees import write_json
from forebay.serving.environments.errors import InstallError
from forebay.serving.storage.cached import CACHED, DOWNLOADING, FAILED, FILES, STATE
from forebay.serving.storage.errors import StorageError, redact
from forebay.serving.storage.progress import Progress

MODEL, ENVIRONMENT = "model", "environment"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True)
class Asked:
    """What a pod wants in its volume: a model, whose `uri` may hold a signature, or libraries from an index."""

    kind: str
    uri: str
    digest: str
    namespace: str
    pod: str
    target: str
    requirements: tuple[str, ...] = ()
    index: str = ""
    account: str = ""

    @property
    def title(self) -> str:
        """What people know it by. It holds no secret."""
        if self.kind != ENVIRONMENT:
            return redact(self.uri)
        where = f" from {redact(self.index)}" if self.index else ""
        return f"libraries {' + '.join(self.requirements)}{where}"


class Volume:
    """One volume. Its folder holds what was asked for, and `shown`, which is mounted into the pod."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def shown(self) -> Path:
        """What the pod sees."""
        return self.folder / "shown"

    @property
    def files(self) -> Path:
        """Where the pod finds the files when they are complete."""
        return self.shown / FILES

    @property
    def asked(self) -> Asked | None:
        """What was asked for; None where the agent was killed before it was written."""
        try:
            found = json.loads((self.folder / "asked.json").read_text("utf-8"))
            # An agent of a later version may have written more.
            known = {each.name: found[each.name] for each in fields(Asked) if each.name in found}
            return Asked(**{**known, "requirements": tuple(found.get("requirements", ()))})
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def make(self, asked: Asked) -> None:
        """Make its folder."""
        self.shown.mkdir(parents=True, exist_ok=True)
        self.shown.chmod(0o755)
        write_json(self.folder / "asked.json", asdict(asked))

    def read_state(self) -> dict[str, Any]:
        """What was told last."""
        try:
            found: dict[str, Any] = json.loads((self.shown / STATE).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    @property
    def is_complete(self) -> bool:
        """Whether the files are there."""
        return self.read_state().get("state") == CACHED

    def tell_progress(self, progress: Progress | None) -> None:
        """Say how far the download is; None: that it is about to begin, and what came of the last try."""
        done = self._read_failure() if progress is None else {
            "bytes": progress.bytes_done, "total": progress.bytes_total,
            "files": progress.files_done, "files_total": progress.files_total,
        }  # fmt: skip
        self._tell(state=DOWNLOADING, **done)

    def tell_waiting(self) -> None:
        """Say that others are downloaded first; what came of the last try is worth more."""
        self._tell(state=DOWNLOADING, **(self._read_failure() or {"message": "waits for other downloads of this node"}))

    def tell_failure(self, error: StorageError | InstallError) -> None:
        """Say why there are no files."""
        self._tell(state=FAILED, reason=str(error.reason.value), message=error.message)

    def tell_complete(self, size: int, *, hit: bool, model: str) -> None:
        """Say that the files are there: their bytes, and whether they were on the node already."""
        self._tell(state=CACHED, bytes=size, hit=hit, model=model)

    def show(self, folder: Path) -> None:
        """Let the pod find the files, which were made beside."""
        # Left by an agent that was killed before it could say so.
        shutil.rmtree(self.files, ignore_errors=True)
        folder.rename(self.files)

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_failure(self) -> dict[str, Any]:
        last = self.read_state()
        return {key: last[key] for key in ("reason", "message")} if "reason" in last else {}

    def _tell(self, **state: object) -> None:
        if self.shown.is_dir():  # else it is gone
            write_json(self.shown / STATE, {**state, "at": time.time()}, mode=0o644)


def find_volume(folder: Path, volume_id: str) -> Volume:
    """The volume that the kubelet calls so. Raises ValueError for what can be no folder's name."""
    if not _ID.fullmatch(volume_id):
        raise ValueError(f"{volume_id!r} can't be a volume's name")
    return Volume(folder / volume_id)


def list_volumes(folder: Path) -> list[Volume]:
    """All volumes."""
    return [Volume(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
