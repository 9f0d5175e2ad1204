"""Writes this node's NodeCache, where something changed and not too often."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import httpx

from forebay.node.apiserver import Apiserver

Json = dict[str, Any]
LOOK_EVERY_S, PAUSE_S = 2.0, 10.0
_PATH = "/apis/forebay.dev/v1alpha1/nodecaches"
_log = logging.getLogger(__name__)


class Reporter:
    """Keeps the NodeCache as `describe` says. It is the Node's, and goes with it."""

    def __init__(self, server: Apiserver, node: str, spec: Json, describe: Callable[[], Json]) -> None:
        self._server, self._node, self._spec, self._describe = server, node, spec, describe
        self._written: Json | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and don't wait for long."""
        self._ended.set()
        self._thread.join(2)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._ended.wait(pause_s):
            pause_s = LOOK_EVERY_S
            try:
                self._look()
            except (httpx.HTTPError, OSError) as error:
                _log.warning("the NodeCache can't be written, tried again soon: %s", error)
                self._written, pause_s = None, PAUSE_S
            except Exception:  # noqa: BLE001  (or nothing would be written any more)
                _log.exception("the NodeCache can't be written, tried again soon")
                self._written, pause_s = None, PAUSE_S

    def _look(self) -> None:
        status = self._describe()
        if status == self._written:
            return
        if self._written is None:
            self._apply("", {"metadata": {**self._name, "ownerReferences": [self._find_owner()]}, "spec": self._spec})
        self._apply("/status", {"metadata": self._name, "status": status})
        self._written = status

    @property
    def _name(self) -> Json:
        return {"name": self._node}

    def _find_owner(self) -> Json:
        node = self._server.get(f"/api/v1/nodes/{self._node}")
        uid = node.raise_for_status().json()["metadata"]["uid"]
        return {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": uid}

    def _apply(self, subresource: str, body: Json) -> None:
        body = {"apiVersion": "forebay.dev/v1alpha1", "kind": "NodeCache", **body}
        answer = self._server.apply(f"{_PATH}/{self._node}{subresource}", body)
        if answer.is_error:
            _log.warning("the apiserver says: %s", answer.text[:500])
        answer.raise_for_status()
