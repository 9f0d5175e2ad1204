"""The volumes of a node: made, filled in the background, and taken away. It may be killed at any moment."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from forebay.node import mounts
from forebay.node.child import Cancel, Cancelled
from forebay.node.counts import Counts
from forebay.node.store import Store
from forebay.node.volumes import Asked, Volume, find_volume, list_volumes
from forebay.serving.environments.errors import InstallError
from forebay.serving.storage.errors import Reason, StorageError, from_os_error

_log = logging.getLogger(__name__)
# The kubelet publishes again whenever it looks at a pod.
RETRY_S = 5.0
_END_S = 30.0


class Fill(Protocol):
    """Brings what a kind of volume holds. Raises StorageError, InstallError, OSError or Cancelled."""

    def __call__(self, volume: Volume, asked: Asked, secret: Mapping[str, str], cancel: Cancel) -> None:
        """Make `volume.files`, and tell that it is complete."""


class Agent:
    """Publishes volumes as the kubelet wants them. `fills` are the kinds of volumes, by name."""

    def __init__(self, store: Store, fills: Mapping[str, Fill], counts: Counts) -> None:
        self._store, self._fills, self._counts = store, fills, counts
        self._running: dict[str, tuple[Cancel, threading.Thread]] = {}
        self._lock = threading.Lock()

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of volumes that there are."""
        return frozenset(self._fills)

    def publish(self, volume_id: str, asked: Asked, secret: Mapping[str, str]) -> None:
        """Mount a volume, and begin to fill it if it isn't full. Again is fine. Raises ValueError or OSError."""
        volume = find_volume(self._store.volumes, volume_id)
        with self._lock:
            if volume.asked != asked:
                volume.make(asked)
            if volume_id not in self._running and self._is_due(volume):
                self._start(volume_id, volume, asked, secret)
            if not mounts.is_mounted(Path(asked.target)):
                mounts.bind_read_only(volume.shown, Path(asked.target), self._store.stage)

    def unpublish(self, volume_id: str, target: Path) -> None:
        """Unmount a volume and delete it. Again is fine. Raises ValueError or OSError."""
        volume = find_volume(self._store.volumes, volume_id)
        with self._lock:
            running = self._running.get(volume_id)
        if running:
            running[0].set()
            running[1].join(_END_S)
        with self._lock:
            mounts.unmount(target)
            self._remove(volume)

    def reconcile(self) -> None:
        """Delete what an agent before left: volumes whose pod is gone, files that nothing speaks of."""
        there = mounts.list_mounts()
        for volume in list_volumes(self._store.volumes):
            asked = volume.asked
            if asked is None or asked.target not in there:
                _log.info("the volume %s is mounted nowhere: deleted", volume.folder.name)
                self._remove(volume)
        self._store.forget_lost()
        try:
            self._store.make_room()
        except StorageError as error:
            _log.warning("%s", error.message)

    def stop(self) -> None:
        """End all downloads: they go on where they were with the next agent."""
        with self._lock:
            running = [*self._running.values()]
        for cancel, _ in running:
            cancel.set()
        for _, thread in running:
            thread.join(_END_S)

    def _remove(self, volume: Volume) -> None:
        self._store.touch(str(volume.read_state().get("model", "")))
        volume.remove()

    def _is_due(self, volume: Volume) -> bool:
        state = volume.read_state()
        failed = state.get("state") == "Failed"
        return not volume.is_complete and not (failed and time.time() < float(state["at"]) + RETRY_S)

    def _start(self, volume_id: str, volume: Volume, asked: Asked, secret: Mapping[str, str]) -> None:
        cancel = Cancel()
        # At once: a container that starts now is not to read of the failure before.
        volume.tell_progress(None)
        work: Callable[[], None] = lambda: self._fill(volume_id, volume, asked, (secret, cancel))  # noqa: E731
        thread = threading.Thread(target=work, name=volume_id, daemon=True)
        self._running[volume_id] = (cancel, thread)
        thread.start()

    def _fill(self, volume_id: str, volume: Volume, asked: Asked, how: tuple[Mapping[str, str], Cancel]) -> None:
        secret, cancel = how
        try:
            self._fills[asked.kind](volume, asked, secret, cancel)
        except Cancelled:
            _log.info("%s/%s is gone before its volume was full", asked.namespace, asked.pod)
        except (StorageError, InstallError) as error:
            self._fail(volume, asked, error)
        except OSError as error:
            self._fail(volume, asked, from_os_error(error, self._store.root))
        except Exception as error:  # noqa: BLE001  (or the pod would wait for ever)
            _log.exception("%s/%s", asked.namespace, asked.pod)
            self._fail(volume, asked, _unforeseen(error))
        finally:
            with self._lock:
                self._running.pop(volume_id, None)

    def _fail(self, volume: Volume, asked: Asked, error: StorageError | InstallError) -> None:
        _log.warning("%s/%s: %s: %s", asked.namespace, asked.pod, error.reason, error.message)
        self._counts.failed()
        volume.tell_failure(error)


def _unforeseen(error: Exception) -> StorageError:
    # By its kind alone: its text may hold what is secret.
    return StorageError(
        Reason.SERVER_ERROR,
        f"the node's agent met what it isn't made for ({type(error).__name__}), and tries again: `kubectl logs` of the "
        "node's agent has more",
    )
