"""GPU use of pods, which Prometheus has of NVIDIA's DCGM exporter."""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from forebay.metrics_api.instances import Instance
from forebay.metrics_api.metrics import Value
from forebay.plan.queries import build_pods_gpu_query

_log = logging.getLogger(__name__)
# Of a thousand pods it has a quarter.
_MOST_BYTES = 1024 * 1024
_MOST_PCT = 100.0


class Prometheus:
    """A Prometheus server at a URL; who isn't told of within `timeout_s` is left out, which is another thing than 0."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url.rstrip("/") + "/api/v1/query"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """One connection is kept."""
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def measure_gpus(self, namespace: str, instances: Iterable[Instance]) -> dict[str, Value]:
        """GPU use in percent, by the names of pods."""
        asked = {each.name for each in instances}
        # A dot would be any letter.
        pods = "|".join(sorted(name.replace(".", "[.]") for name in asked))
        try:
            found = await self._ask(build_pods_gpu_query(namespace, pods))
            return {name: Value(value=value) for name, value in read_gpus(found).items() if name in asked}
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            _log.warning("%s: no GPU use: %s", self._url, error or type(error).__name__)
            return {}

    async def _ask(self, query: str) -> Any:
        assert self._session is not None  # noqa: S101  (entered)
        # Posted, as the names of hundreds of pods don't fit into a path.
        async with self._session.post(self._url, data={"query": query}, allow_redirects=False) as response:
            text = await response.content.read(_MOST_BYTES)
            if response.status != HTTPStatus.OK or not response.content.at_eof():
                raise ValueError(f"it answers {response.status}: {text[:200].decode(errors='replace')}")
            return json.loads(text)


def read_gpus(answer: Any) -> dict[str, float]:
    """The values by pod; ValueError where it is no answer to such a query. What is no percentage is left out."""
    try:
        pairs = [(str(each["metric"]["pod"]), float(each["value"][1])) for each in answer["data"]["result"]]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"it answers without {error}") from None
    found: Mapping[str, float] = dict(pairs)
    return {pod: value for pod, value in found.items() if math.isfinite(value) and 0 <= value <= _MOST_PCT}
