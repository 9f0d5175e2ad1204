"""The folder of one served ModelDeployment: its logs, configs and address; held by one `forebay serve` at a time."""

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from forebay.local.errors import LocalError
from forebay.local.paths import file_name, state_dir


@dataclass(frozen=True, kw_only=True)
class Record:
    """What other commands need to know of a served ModelDeployment. `url` is the base of its paths."""

    name: str
    url: str
    grpc: str
    metrics: str
    model: str
    entry: str
    pid: int


class RunFolder:
    """Holds the folder until it is closed."""

    def __init__(self, name: str) -> None:
        self.path = state_dir() / file_name(name)
        self.path.mkdir(parents=True, exist_ok=True)
        self._name = name
        self._lock = _lock(self.path / ".lock", name)

    @property
    def logs(self) -> Path:
        """Folder of the logs, one file a process."""
        return self.path / "logs"

    def publish(self, record: Record) -> None:
        """Let other commands find the ModelDeployment."""
        (self.path / "record.json").write_text(json.dumps(asdict(record), indent=1))

    def close(self) -> None:
        """Let go of the folder. Logs stay."""
        (self.path / "record.json").unlink(missing_ok=True)
        self._lock.close()


def _lock(path: Path, name: str) -> IO[str]:
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        if holder == str(os.getpid()):
            raise LocalError(f"{name} stands in two of the files: give one of them another name") from error
        raise LocalError(f"{name} is served already, by process {holder}: end that one first (Ctrl-C)") from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def find_record(name: str) -> Record:
    """The record of a served ModelDeployment by `name` or `namespace/name`. Raises LocalError with what there is."""
    records = list(_read_records())
    for record in records:
        if name in (record.name, record.name.split("/")[-1]):
            return record
    served = ", ".join(record.name for record in records)
    raise LocalError(
        f"{name} is not served here. "
        + (f"Served: {served}" if served else "Nothing is: run `forebay serve FILE.yaml` first")
    )


def _read_records() -> list[Record]:
    records = []
    for path in sorted(state_dir().glob("*/record.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            record = Record(**json.loads(path.read_text()))
            if Path(f"/proc/{record.pid}").exists():
                records.append(record)
    return records
