"""What containers say, where their pod's status doesn't tell it: how far a download is, why a model doesn't load."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from forebay.kube.client import ApiError, Client
from forebay.kube.resources import POD
from forebay.status import LogRequest, needs_log, needs_watch, parse_progress

Json = dict[str, Any]

_LINES = "400"
_BYTES = str(64 * 1024)
# A thousand pods that fail are explained by some of them.
_MOST_PODS = 3
_MOST_KEPT = 256
# A container that still runs may have said more since.
_FRESH_S = 10.0


class PodLogs:
    """Reads logs, and remembers the last ones: what a container said at its end doesn't change."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: OrderedDict[tuple[str, str, int, bool], tuple[float, str]] = OrderedDict()

    async def read_progress(self, pods: Sequence[Json]) -> dict[str, int]:
        """Percent downloaded, by pod, of those that download."""
        namespaces = {pod["metadata"]["name"]: pod["metadata"]["namespace"] for pod in pods}
        progress = {}
        for name in needs_watch(pods)[:_MOST_PODS]:
            said = await self._fetch(namespaces[name], name, container="download", tailLines="1")
            pct = parse_progress(said.strip())
            if pct is not None:
                progress[name] = pct
        return progress

    async def read_ends(self, pods: Sequence[Json]) -> dict[str, str]:
        """The end of a model server's log, by pod, of those that don't get ready."""
        by_name = {pod["metadata"]["name"]: pod for pod in pods}
        return {
            request.pod: await self._read(by_name[request.pod], request) for request in needs_log(pods)[:_MOST_PODS]
        }

    async def _read(self, pod: Json, request: LogRequest) -> str:
        key = (pod["metadata"]["uid"], request.container, _restarts(pod, request.container), request.previous)
        now = time.monotonic()
        read_at, said = self._kept.get(key, (0.0, ""))
        if key not in self._kept or (not request.previous and now - read_at > _FRESH_S):
            previous = {"previous": "true"} if request.previous else {}
            said = await self._fetch(
                pod["metadata"]["namespace"],
                request.pod,
                container=request.container,
                tailLines=_LINES,
                limitBytes=_BYTES,
                **previous,
            )
            self._kept[key] = (now, said)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return said

    async def _fetch(self, namespace: str, pod: str, **params: str) -> str:
        try:
            return await self._client.read_text(POD.path(namespace=namespace, name=pod, subresource="log"), **params)
        except ApiError:
            return ""  # the container has ended meanwhile, or has not begun


def _restarts(pod: Json, container: str) -> int:
    statuses = pod["status"].get("containerStatuses", ())
    return next((each.get("restartCount", 0) for each in statuses if each["name"] == container), 0)
