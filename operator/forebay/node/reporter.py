"""Writes this node's NodeCache, where something changed and not too often."""

import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

Json = dict[str, Any]
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
APPLY = {"content-type": "application/apply-patch+yaml"}
LOOK_EVERY_S, PAUSE_S = 2.0, 10.0
_PATH = "/apis/forebay.dev/v1alpha1/nodecaches"
_TIMEOUT_S = 20
_log = logging.getLogger(__name__)


class Reporter:
    """Keeps the NodeCache as `describe` says. It is the Node's, and goes with it."""

    def __init__(self, server: str, node: str, spec: Json, describe: Callable[[], Json]) -> None:
        self._node, self._spec, self._describe = node, spec, describe
        context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        # Never by a proxy: the apiserver is near.
        self._client = httpx.Client(base_url=server, verify=context, timeout=_TIMEOUT_S, trust_env=False)
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
        node = self._client.get(f"/api/v1/nodes/{self._node}", headers=self._authorize())
        uid = node.raise_for_status().json()["metadata"]["uid"]
        return {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": uid}

    def _apply(self, subresource: str, body: Json) -> None:
        body = {"apiVersion": "forebay.dev/v1alpha1", "kind": "NodeCache", **body}
        answer = self._client.patch(
            f"{_PATH}/{self._node}{subresource}",
            params={"fieldManager": "forebay-node", "force": "true"},
            json=body,
            headers={**self._authorize(), **APPLY},
        )
        if answer.is_error:
            _log.warning("the apiserver says: %s", answer.text[:500])
        answer.raise_for_status()

    def _authorize(self) -> dict[str, str]:
        # It is renewed while we live.
        return {"authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}"}
