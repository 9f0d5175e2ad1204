"""Whose logs `forebay logs` reads: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forebay.cluster.errors import ClusterError
from forebay.plan.names import COMPONENT_LABEL
from forebay.status.containers import DOWNLOAD

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whose log is wanted, and how much of it. Negative `tail` is all."""

    component: str = ""
    container: str = ""
    previous: bool = False
    tail: int = 100


@dataclass(frozen=True, kw_only=True)
class Source:
    """One run of a container. `run` is the container's id; empty for one that never ran."""

    pod: str
    container: str
    run: str
    waiting: str = ""

    @property
    def label(self) -> str:
        """What stands in front of its lines."""
        return f"{self.pod}/{self.container}"


def list_sources(pods: Sequence[Json], wanted: Wanted) -> list[Source]:
    """The containers to read: the model server's, and a failed download's. ClusterError names what there is."""
    chosen = [pod for pod in pods if wanted.component in ("", _component_of(pod))]
    if pods and not chosen:
        there = ", ".join(sorted({_component_of(pod) for pod in pods}))
        raise ClusterError(f"there are no pods of the {wanted.component}: there are those of the {there}")
    names = sorted({each["name"] for pod in chosen for each in _list_containers(pod)})
    if wanted.container and chosen and wanted.container not in names:
        raise ClusterError(f"no container is called {wanted.container}: there are {', '.join(names)}")
    return [
        Source(pod=pod["metadata"]["name"], container=each["name"], run=_find_run(each), waiting=_find_waiting(each))
        for pod in chosen
        for each in _list_containers(pod)
        if (each["name"] == wanted.container if wanted.container else _is_of_interest(pod, each))
    ]


def _component_of(pod: Json) -> str:
    return str(pod["metadata"]["labels"].get(COMPONENT_LABEL, ""))


def _list_containers(pod: Json) -> list[Json]:
    status = pod.get("status", {})
    found = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    known = {each["name"] for each in found}
    specs = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    return [*found, *({"name": each["name"]} for each in specs if each["name"] not in known)]


def _is_of_interest(pod: Json, container: Json) -> bool:
    if container["name"] == DOWNLOAD:
        ends = [container.get(state, {}).get("terminated") or {} for state in ("state", "lastState")]
        done = "terminated" in container.get("state", {}) and ends[0].get("exitCode") == 0
        return not done and any(end.get("exitCode") for end in ends)
    return bool(container["name"] == _component_of(pod))


def _find_run(container: Json) -> str:
    if "running" in container.get("state", {}):
        return str(container.get("containerID", ""))
    for state in ("state", "lastState"):
        ended = container.get(state, {}).get("terminated") or {}
        if ended.get("containerID"):
            return str(ended["containerID"])
    return ""


def _find_waiting(container: Json) -> str:
    return str((container.get("state", {}).get("waiting") or {}).get("reason", ""))
