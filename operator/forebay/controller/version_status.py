"""Tells of each ModelVersion whether its aliases are its own."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from forebay.controller.registry import MOVE_S, Entry, Model, Registry
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import MODEL_VERSION
from forebay.kube.statuses import write_status
from forebay.status import summarize_version

_log = logging.getLogger(__name__)
_PAUSE_S = 5.0


async def tell_versions(
    client: Client, registry: Registry, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> None:
    """Write the status of whatever changes, until cancelled."""
    while True:
        await registry.changed.wait()
        # As for those who name a version: both writes that move an alias are looked at together.
        await asyncio.sleep(MOVE_S)
        for model in registry.take_changed():
            try:
                await _tell(client, registry, model, clock())
            except (ApiError, *UNANSWERED) as error:
                _log.warning("the versions of %s/%s: tried again soon: %s", *model, error)
                registry.mark_changed(model)
                await asyncio.sleep(_PAUSE_S)


async def _tell(client: Client, registry: Registry, model: Model, now: datetime) -> None:
    entries = registry.find(model)
    siblings = [entry.version for entry in entries]
    for entry in entries:
        status = summarize_version(entry.version, siblings, entry.generation, entry.status, now)
        if status != entry.status:
            await _write(client, entry, status)


async def _write(client: Client, entry: Entry, status: dict[str, Any]) -> None:
    metadata = {"namespace": entry.namespace, "name": entry.name, "uid": entry.uid}
    try:
        await write_status(client, MODEL_VERSION, metadata, status)
    except ApiError as error:
        # Another of its name: that is told soon.
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
