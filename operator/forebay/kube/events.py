"""Events of a ModelDeployment, for `kubectl describe` and `kubectl events`."""

import logging
from datetime import datetime
from typing import Any
from uuid import uuid4

from forebay.kube.apply import OwnerReference
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import EVENT
from forebay.status import Event

Json = dict[str, Any]

_log = logging.getLogger(__name__)
_MOST_CHARACTERS = 1024


async def post_event(client: Client, reference: OwnerReference, event: Event, *, now: datetime, reporter: str) -> None:
    """Write an event. One that can't be written is logged: it is told in the status as well."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    owner = reference.owner
    involved = {"apiVersion": reference.api_version, "kind": reference.kind, "uid": reference.uid, **owner._asdict()}
    body: Json = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{owner.name}.{uuid4().hex[:16]}", "namespace": owner.namespace},
        "involvedObject": involved,
        "type": event.type,
        "reason": event.reason,
        "action": event.action,
        "message": event.message[:_MOST_CHARACTERS],
        "source": {"component": "forebay"},
        "reportingComponent": "forebay.dev/operator",
        "reportingInstance": reporter or "forebay",
        "eventTime": None,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
    try:
        await client.write("POST", EVENT.path(namespace=owner.namespace), body)
        client.on_write(EVENT.kind, "create")
    except (ApiError, *UNANSWERED) as error:
        _log.warning("an event of %s/%s was not written: %s", *owner, error or type(error).__name__)
