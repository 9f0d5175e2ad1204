"""What is kept of a child whose status changes all the time: autoscalers write theirs at every look at the load."""

from collections.abc import Mapping
from typing import Any

from forebay.kube.resources import AUTOSCALER, SCALED_OBJECT

Json = dict[str, Any]
RESTLESS = frozenset({AUTOSCALER.kind, SCALED_OBJECT.kind})
_CONDITION = ("type", "status", "reason", "message")


def trim(body: Mapping[str, Any]) -> Json:
    """The object with no more of its status than its conditions, less what only says when."""
    if body["kind"] not in RESTLESS:
        return dict(body)
    metadata = {name: value for name, value in body["metadata"].items() if name != "resourceVersion"}
    found = body.get("status", {}).get("conditions") or []
    conditions = [{name: each[name] for name in _CONDITION if name in each} for each in found]
    return {**body, "metadata": metadata, "status": {"conditions": conditions}}
