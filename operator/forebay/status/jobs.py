"""What Jobs tell, and their pods."""

from collections.abc import Mapping, Sequence
from typing import Any

from forebay.status.pods import find_condition

Json = dict[str, Any]


def is_complete(job: Mapping[str, Any]) -> bool:
    """Whether it has ended well."""
    return find_condition(job, "Complete").get("status") == "True"


def is_failed(job: Mapping[str, Any]) -> bool:
    """Whether it has ended, and not well."""
    return find_condition(job, "Failed").get("status") == "True"


def sort_pods(pods: Sequence[Json]) -> list[Json]:
    """The latest last."""
    return sorted(pods, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))


def list_statuses(pod: Mapping[str, Any]) -> list[Json]:
    """Of its containers, in the order in which they start."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
