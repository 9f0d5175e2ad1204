"""How far instances are with their model, and whose log tells more."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forebay.api.status import ModelState
from forebay.observation import Json, Reason, Trouble
from forebay.status.containers import DOWNLOAD, ENVIRONMENT, SCRIPT, Container, list_containers, name_of
from forebay.status.pods import check_pod, is_live, is_ready

# Who is furthest behind comes first.
_STATES = ("Failed", "Pending", "Downloading", "Installing", "Loading", "Ready")
_FAILURES = (
    Reason.MODEL_DOWNLOAD_FAILED,
    Reason.SCRIPT_DOWNLOAD_FAILED,
    Reason.ENVIRONMENT_FAILED,
    Reason.MODEL_LOAD_FAILED,
    Reason.OUT_OF_MEMORY,
    Reason.CRASH_LOOP,
    Reason.NOT_READY,
)


@dataclass(frozen=True, kw_only=True)
class LogRequest:
    """Whose log is worth reading, some 64 KiB of its end: `previous` is that of the run before."""

    pod: str
    container: str
    previous: bool


def describe_model(
    pods: Sequence[Json], *, wanted: int, downloaded_pct: Mapping[str, int], logs: Mapping[str, str]
) -> ModelState:
    """Where the instance of a workload is that is furthest behind."""
    live = [pod for pod in pods if is_live(pod)]
    states = [describe_pod(pod, check_pod(pod, log=logs.get(name_of(pod), "")), downloaded_pct) for pod in live]
    if len(live) < wanted or not live:
        states.append(ModelState(state="Pending"))
    return min(states, key=_sort_key)


def describe_pod(pod: Json, trouble: Trouble | None, downloaded_pct: Mapping[str, int]) -> ModelState:
    """Where one instance is."""
    if trouble:
        state = "Failed" if trouble.reason in _FAILURES else "Pending"
        return ModelState.model_validate({"state": state, "message": trouble.message})
    if is_ready(pod):
        return ModelState(state="Ready")
    containers = list(list_containers(pod))
    if any(_is_downloading(each) for each in containers):
        return ModelState(state="Downloading", progress_pct=downloaded_pct.get(name_of(pod)))
    if any(each.name in (SCRIPT, ENVIRONMENT) and "running" in each.state for each in containers):
        return ModelState(state="Installing")
    loads = any(each.is_server and "running" in each.state for each in containers)
    return ModelState(state="Loading" if loads else "Pending")


def needs_watch(pods: Sequence[Json]) -> list[str]:
    """Names of the pods that download their model: the log of `download` tells how far they are."""
    return sorted(name_of(pod) for pod in pods if is_live(pod) and any(map(_is_downloading, list_containers(pod))))


def needs_log(pods: Sequence[Json]) -> list[LogRequest]:
    """Whose logs tell why the model doesn't load. Triton's reason stands too far up for the pod's own status.

    Read each once per pod and restart while it fails, and now and then while it loads: Triton may wait for ever.
    """
    found: list[LogRequest] = []
    for pod in sorted(filter(is_live, pods), key=name_of):
        for each in list_containers(pod):
            running = "running" in each.state
            loads = running and not each.status.get("started")
            if each.is_triton and not is_ready(pod) and (each.failure or loads):
                previous = running and bool(each.failure)
                found.append(LogRequest(pod=name_of(pod), container=each.name, previous=previous))
    return found


def parse_progress(line: str) -> int | None:
    """How much of a model is there, in percent, by a line of the download's log; None where it doesn't tell."""
    try:
        said = json.loads(line)
        if said["event"] == "done":
            return 100
        done, total = int(said["bytes"]), int(said["total"] or 0)
    except (ValueError, KeyError, TypeError):
        return None
    return min(100, max(0, done * 100 // total)) if said["event"] == "progress" and total > 0 else None


def _is_downloading(container: Container) -> bool:
    return container.name == DOWNLOAD and "running" in container.state


def _sort_key(state: ModelState) -> tuple[int, int, bool, str]:
    return _STATES.index(state.state), state.progress_pct or 0, not state.message, state.message
