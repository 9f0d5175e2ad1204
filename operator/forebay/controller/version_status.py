"""Tells of each ModelVersion whether its aliases are its own, and on how many nodes it is that are to have it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from forebay.controller.prefetch import Prefetcher
from forebay.controller.registry import MOVE_S, Entry, Model, Registry
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import MODEL_VERSION
from forebay.kube.statuses import write_status
from forebay.observation import Reason
from forebay.status import summarize_version
from forebay.status.versions import add_prefetch

_log = logging.getLogger(__name__)
_PAUSE_S = 5.0
# How soon is looked at nodes that fetch a version, and at those that have it.
_FETCHING_S, _FETCHED_S = 5.0, 60.0


async def tell_versions(
    client: Client,
    registry: Registry,
    prefetcher: Prefetcher,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Write the status of whatever changes, until cancelled."""
    looks: dict[Model, asyncio.TimerHandle] = {}
    while True:
        await registry.changed.wait()
        # As for those who name a version: both writes that move an alias are looked at together.
        await asyncio.sleep(MOVE_S)
        for model in registry.take_changed():
            try:
                again_s = await _tell(client, registry, prefetcher, model, clock())
                if model in looks:
                    looks.pop(model).cancel()
                if again_s:
                    looks[model] = asyncio.get_running_loop().call_later(again_s, registry.mark_changed, model)
            except (ApiError, *UNANSWERED) as error:
                _log.warning("the versions of %s/%s: tried again soon: %s", *model, error)
                registry.mark_changed(model)
                await asyncio.sleep(_PAUSE_S)


async def _tell(client: Client, registry: Registry, prefetcher: Prefetcher, model: Model, now: datetime) -> float:
    """Answers after how many seconds to look again; 0 where only a change would be news."""
    entries = registry.find(model)
    prefetcher.forget_others(model, entries)
    siblings = [entry.version for entry in entries]
    looks = [0.0]
    for entry in entries:
        prefetch = await prefetcher.keep(entry)
        status = summarize_version(entry.version, siblings, entry.generation, entry.status, now)
        if prefetch:
            status = add_prefetch(status, prefetch, entry.status, now)
        if status != entry.status:
            await _write(client, entry, status)
        if prefetch and prefetch.reason is not Reason.NODE_CACHE_DISABLED:
            looks.append(_FETCHED_S if prefetch.reason is Reason.READY else _FETCHING_S)
    return min(filter(None, looks), default=0.0)


async def _write(client: Client, entry: Entry, status: dict[str, Any]) -> None:
    metadata = {"namespace": entry.namespace, "name": entry.name, "uid": entry.uid}
    try:
        await write_status(client, MODEL_VERSION, metadata, status)
    except ApiError as error:
        # Another of its name: that is told soon.
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
