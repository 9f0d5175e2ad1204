"""What is wrong with a pod, by its own status.

A volume that can't be mounted isn't in there: the kubelet tells of it in Events only, and the pod is just
being created.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from forebay.observation import Json, Reason, Trouble
from forebay.status.containers import Container, list_containers, name_of
from forebay.status.failures import check_crash, check_download, check_load, check_memory
from forebay.status.images import check_image
from forebay.status.lines import clean, cut
from forebay.status.scheduling import check_scheduling
from forebay.status.starting import check_config, check_creation

# The first that finds something is believed.
_CHECKS = (check_image, check_config, check_memory, check_download, check_load, check_creation, check_crash)
_STUCK_AFTER = timedelta(minutes=1)
# A pod that was created so soon after another one's end takes its place.
_SUCCESSION = timedelta(minutes=1)


def check_pod(pod: Json, *, log: str = "") -> Trouble | None:
    """What keeps a pod from being ready; None where it is, or still comes up. `log` is its model server's."""
    if is_ready(pod) or not is_live(pod):
        return None
    if trouble := check_scheduling(pod):
        return trouble
    containers = list(list_containers(pod, log))
    found = (check(container) for container in containers for check in _CHECKS)
    return next((trouble for trouble in found if trouble), None) or _check_readiness(pod, containers)


def check_end(pod: Json, successors: list[Json]) -> Trouble | None:
    """Whether a pod was made to go, and one of those that aren't ready takes its place."""
    told = _find_disruption(pod)
    after = next((each for each in successors if _succeeds(each, pod)), None)
    if not told or after is None:
        return None
    message = f"pod {name_of(pod)} was taken away ({cut(told)}): {name_of(after)} takes its place"
    return Trouble(reason=Reason.EVICTED, message=message)


def check_stopping(pod: Json, now: datetime) -> Trouble | None:
    """Whether a pod that was told to stop doesn't, and keeps what it has: as when its node is gone."""
    told = pod["metadata"].get("deletionTimestamp")
    # The timestamp is when its time to stop is over.
    if not told or now < _parse(told) + _STUCK_AFTER:
        return None
    node, namespace = pod["spec"].get("nodeName", ""), pod["metadata"]["namespace"]
    message = (
        f"pod {name_of(pod)} was told to stop and hasn't: look at its node with `kubectl get node {node}`, and if that "
        f"is gone, run `kubectl delete pod -n {namespace} {name_of(pod)} --force`"
    )
    return Trouble(reason=Reason.NOT_READY, message=message)


def is_live(pod: Json) -> bool:
    """Whether a pod is there to stay: neither told to stop, nor over."""
    return not is_over(pod) and not pod["metadata"].get("deletionTimestamp")


def is_over(pod: Json) -> bool:
    """Whether a pod has ended, and only its object is left."""
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def is_ready(pod: Json) -> bool:
    """Whether requests may go to a pod."""
    return is_live(pod) and find_condition(pod, "Ready").get("status") == "True"


def find_condition(item: Mapping[str, Any], kind: str) -> Json:
    """A condition of an object; empty where it has none of that type."""
    conditions = item.get("status", {}).get("conditions") or []
    return next((dict(each) for each in conditions if each["type"] == kind), {})


def _check_readiness(pod: Json, containers: list[Container]) -> Trouble | None:
    """Whether a pod that was ready is so no more."""
    running = [each for each in containers if "running" in each.state and not each.is_done]
    since = str(find_condition(pod, "Ready").get("lastTransitionTime") or "")
    started = max((str(each.state["running"].get("startedAt") or "") for each in running), default="")
    if not since or not started or since <= started:
        return None  # It has never been ready: it comes up.
    when = f"since {since.replace('T', ' ').removesuffix('Z')} UTC"
    failing = next((each for each in running if each.status.get("started") and not each.status.get("ready")), None)
    if failing:
        more = f"look at `{failing.logs_command}`"
        message = f"{failing.where} has not answered its readiness probe {when}: {more}"
        return Trouble(reason=Reason.NOT_READY, message=message)
    if all(each.status.get("ready") for each in running):
        message = f"pod {name_of(pod)} is not ready {when} though its containers are: {_find_cause(pod)}"
        return Trouble(reason=Reason.NOT_READY, message=message)
    return None


def _find_cause(pod: Json) -> str:
    gates = [each["conditionType"] for each in pod["spec"].get("readinessGates", [])]
    closed = next((each for each in gates if find_condition(pod, each).get("status") != "True"), "")
    if closed:
        return f"its readiness gate {closed} is not open"
    node = pod["spec"].get("nodeName", "")
    return f"its node {node} may not answer: see `kubectl get node {node}`"


def _find_disruption(pod: Json) -> str:
    """Why Kubernetes took a pod away; empty where it didn't."""
    status = pod.get("status", {})
    told = find_condition(pod, "DisruptionTarget")
    if told.get("status") == "True":
        return clean(str(told.get("message") or status.get("message") or told.get("reason") or "disrupted"))
    if status.get("phase") == "Failed" and status.get("reason"):
        return f"{status['reason']}: {clean(str(status.get('message') or ''))}".rstrip(": ")
    return ""


def _succeeds(pod: Json, before: Json) -> bool:
    ended = find_condition(before, "DisruptionTarget") or find_condition(before, "Ready")
    if not ended.get("lastTransitionTime"):
        return False
    waited = _parse(pod["metadata"]["creationTimestamp"]) - _parse(ended["lastTransitionTime"])
    return timedelta(seconds=-1) <= waited <= _SUCCESSION


def _parse(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp).astimezone(UTC)
