"""Tells webhooks how rollouts go, beside the work on them: a rollout waits for nobody who listens.

What can't be sent is told by an Event and counted. What waits when the operator ends is lost.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import orjson
from pydantic import ValidationError

from forebay.api.notify import Notification, Webhook
from forebay.controller.webhook import WebhookError, send
from forebay.kube.apply import OwnerReference
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.events import post_event
from forebay.kube.resources import SECRET
from forebay.status import Event
from forebay.status.notices import Notice, build_body, is_wanted

_log = logging.getLogger(__name__)
_MOST_WAITING = 256
_WORKERS = 4
# Before another try.
_PAUSES_S = (1.0, 5.0)
_FAILED = "NotificationFailed"


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A notice on its way."""

    reference: OwnerReference
    index: int
    notification: Notification
    notice: Notice


@dataclass(frozen=True, kw_only=True)
class NotifierSettings:
    """Whether anything is sent, to which hosts, and whether Secrets may be read for it."""

    enabled: bool = True
    hosts: tuple[str, ...] = ("*",)
    secrets: bool = False
    reporter: str = ""


class Notifier:
    """The notices that wait to be sent, the oldest first. `count` is called with what became of each."""

    def __init__(
        self, client: Client, settings: NotifierSettings, *, count: Callable[[str], None], clock: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._settings = settings
        self._count = count
        self._clock = clock
        self._waiting: asyncio.Queue[Errand] = asyncio.Queue(_MOST_WAITING)

    def tell(self, reference: OwnerReference, spec: Mapping[str, Any], notices: Sequence[Notice]) -> None:
        """Have notices sent to whoever a spec says. Beyond what may wait they are dropped."""
        if not self._settings.enabled or not notices:
            return
        for index, notification in enumerate(read_notifications(spec)):
            for notice in notices:
                if not is_wanted(notification, notice):
                    continue
                errand = Errand(reference=reference, index=index, notification=notification, notice=notice)
                try:
                    self._waiting.put_nowait(errand)
                except asyncio.QueueFull:
                    self._count("dropped")
                    _log.warning("%s/%s: a notification was dropped: too many wait", *reference.owner)

    async def run(self) -> NoReturn:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())
        raise AssertionError("workers don't end")

    async def _work(self) -> NoReturn:
        while True:
            errand = await self._waiting.get()
            try:
                await self._deliver(errand)
                self._count("sent")
            except WebhookError as error:
                self._count("failed")
                await self._report(errand, str(error))

    async def _deliver(self, errand: Errand) -> None:
        body = orjson.dumps(build_body(errand.notification, errand.notice))
        for pause_s in (*_PAUSES_S, None):
            try:
                url = await self._find_url(errand.reference.owner.namespace, errand.notification.webhook)
                await send(url, body, self._settings.hosts)
            except WebhookError as error:
                if not error.passing or pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
            else:
                return

    async def _find_url(self, namespace: str, webhook: Webhook) -> str:
        if webhook.url:
            return webhook.url
        name, key = webhook.secret_name or "", webhook.key
        if not self._settings.secrets:
            raise WebhookError(
                "this installation may read no Secret for it: set notifications.secrets of the chart, or write its url"
            )
        try:
            secret = await self._client.find(SECRET.path(namespace=namespace, name=name))
        except (ApiError, *UNANSWERED) as error:
            passing = not isinstance(error, ApiError) or error.status >= 500
            raise WebhookError(f"Secret {name} can't be read ({type(error).__name__})", passing=passing) from None
        if secret is None:
            raise WebhookError(f"there is no Secret {name}")
        try:
            return base64.b64decode((secret.get("data") or {})[key], validate=True).decode().strip()
        except KeyError:
            raise WebhookError(f"Secret {name} has no key {key}") from None
        except (binascii.Error, UnicodeDecodeError):
            raise WebhookError(f"{key} of Secret {name} is no text") from None

    async def _report(self, errand: Errand, said: str) -> None:
        where, owner = f"spec.rollout.notify[{errand.index}].webhook", errand.reference.owner
        message = f"{errand.notice.kind} wasn't told to {where}: {said}"
        _log.warning("%s/%s: %s", *owner, message)
        event = Event(type="Warning", reason=_FAILED, message=message, action="Notify")
        await post_event(self._client, errand.reference, event, now=self._clock(), reporter=self._settings.reporter)


def read_notifications(spec: Mapping[str, Any]) -> list[Notification]:
    """Whom a spec wants to be told, as the apiserver has it; nobody where this operator can't read it."""
    written = (spec.get("rollout") or {}).get("notify") or ()
    try:
        return [Notification.model_validate(each, strict=True, by_alias=True, by_name=False) for each in written]
    except ValidationError:
        return []
