"""What is found of a rollout in the cluster, and what there is to do for it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from forebay.controller.applying import SCALERS
from forebay.plan.names import COMPONENT_LABEL, WORKLOAD_LABEL, Role, cut_digest
from forebay.plan.strategy import Strategy
from forebay.plan.workloads import Planned, Revision, take_for_following
from forebay.rollout.analysis.verdict import Outcome, Verdict
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, RevisionState, RolloutState, Warm, WorkloadState
from forebay.status.pods import check_stopping, is_live, is_over, is_ready

Json = dict[str, Any]
_TIMED = (Phase.RUNNING, Phase.HOLDING, Phase.ENDING, Phase.STARTING)


def read_active(status: Mapping[str, Any]) -> RevisionState | None:
    """Who serves, from the status: of several the first, which the others are to take over from."""
    traffic = status.get("traffic") or []
    if not traffic:
        return None
    return RevisionState(name=traffic[0]["revision"], workloads=tuple(traffic[0]["workloads"]))


def read_progress(status: Mapping[str, Any]) -> Progress | None:
    """How far the rollout was, from the status."""
    told = status.get("rollout")
    if not told:
        return None
    return Progress(
        revision=told["revision"],
        phase=Phase(told["phase"]),
        step=told["step"],
        weight_pct=told["weightPct"],
        shadow_pct=told.get("shadowPct", 0),
        since_s=_read_time(told.get("since")),
        held_s=_read_time(told.get("heldSince")),
        instances=told.get("instancesBefore") or {},
        verdict=_read_verdict(told.get("analysis")),
        attempt=told.get("attempt", 1),
        falls=told.get("falls", 0),
        partial_falls=told.get("partialFalls", 0),
        message=told.get("message", ""),
    )


def _read_verdict(told: Mapping[str, Any] | None) -> Verdict | None:
    if not told:
        return None
    return Verdict(
        outcome=Outcome(told["verdict"]),
        message=told["message"],
        requests=told["requests"],
        stable_requests=told["stableRequests"],
    )


def _read_time(told: str | None) -> float | None:
    return datetime.fromisoformat(told).timestamp() if told else None


def read_warm(status: Mapping[str, Any]) -> Warm | None:
    """Who served before, and is kept, from the status."""
    told = status.get("warm")
    if not told:
        return None
    revision = RevisionState(name=told["revision"], workloads=tuple(told["workloads"]))
    return Warm(revision=revision, since_s=datetime.fromisoformat(told["since"]).timestamp())


def is_as_told(decision: Decision, status: Mapping[str, Any]) -> bool:
    """Whether the gateway was told these shares already, of requests and of copies."""
    told = [(each["revision"], each["weightPct"]) for each in status.get("traffic") or ()]
    copied = decision.progress.shadow_pct if decision.progress else 0
    if copied != (status.get("rollout") or {}).get("shadowPct", 0):
        return False
    return told == [(revision.name, share_pct) for revision, share_pct in decision.shares_pct]


def count_all(deployments: Mapping[str, Json], pods: Sequence[Json]) -> dict[str, WorkloadState]:
    """The instances of all Deployments."""
    return {name: _count(each, [pod for pod in pods if _is_of(pod, name)]) for name, each in deployments.items()}


def _count(deployment: Mapping[str, Any], pods: Sequence[Json]) -> WorkloadState:
    """The instances of a Deployment. Until its controller has seen the latest spec none counts."""
    spec, status = deployment["spec"], deployment.get("status", {})
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0)) if current else 0
    return WorkloadState(
        wanted=spec.get("replicas", 1),
        ready=ready,
        crashed=sum(map(_is_crashed, pods)),
        found=status.get("replicas", 0),
        is_current=current,
    )


def count_pods(pods: Sequence[Json]) -> dict[str, int]:
    """The pods that have a place on a node, or may get one, by their workloads; those that are about to end as well."""
    labels = (each["metadata"].get("labels", {}) for each in pods if not is_over(each))
    return dict(Counter(each[WORKLOAD_LABEL] for each in labels if WORKLOAD_LABEL in each))


def count_transformers(deployments: Mapping[str, Json], pods: Sequence[Json], now: datetime) -> dict[str, int]:
    """The same of transformers alone, of which some may have none; less those that don't end: nobody asks them."""
    found = dict.fromkeys((name for name, each in deployments.items() if _is_transformer(each)), 0)
    return found | count_pods([each for each in pods if _is_transformer(each) and not check_stopping(each, now)])


def _is_transformer(body: Json) -> bool:
    return bool(body["metadata"].get("labels", {}).get(COMPONENT_LABEL) == Role.TRANSFORMER)


def _is_of(pod: Json, workload: str) -> bool:
    return bool(pod["metadata"].get("labels", {}).get(WORKLOAD_LABEL) == workload)


def _is_crashed(pod: Json) -> bool:
    """Whether its server, or the queue in front of it, ended and isn't back yet."""
    containers = pod.get("status", {}).get("containerStatuses") or ()
    return is_live(pod) and not is_ready(pod) and any(each.get("restartCount") for each in containers)


def find_beside(target: Revision, active: RevisionState | None) -> list[Planned]:
    """The workloads that serve on beside the target, taken for those that are to follow them."""
    own = {each.name for each in target.workloads}
    return take_for_following(target, [name for name in (active.workloads if active else ()) if name not in own])


def without_instances(manifests: Sequence[Json], ended: frozenset[str]) -> list[Json]:
    """The manifests, with no instances of these workloads, and nobody who would scale them."""
    made = []
    for each in manifests:
        kind, is_ended = each["kind"], each["metadata"]["name"] in ended
        if kind == "Deployment" and is_ended:
            made.append({**each, "spec": {**each["spec"], "replicas": 0}})
        elif not (kind in SCALERS and is_ended):
            made.append(each)
    return made


def measure_due_s(decision: Decision, strategy: Strategy, now: datetime) -> float:
    """Until the next step is due, or too late, or a revision is kept no more; infinite where nobody waits for time."""
    progress, due_s = decision.progress, decision.warm_until_s
    if progress and progress.phase in _TIMED and progress.until_s is not None:
        due_s = min(due_s, progress.until_s)
    now_s = now.astimezone(UTC).timestamp()
    if progress and progress.held_s is not None and now_s < progress.held_s + strategy.hold_s:
        due_s = min(due_s, progress.held_s + strategy.hold_s)
    return max(0.0, due_s - now_s)


def choose_replicas(target: Revision, state: RolloutState, decision: Decision, *, asleep: bool) -> dict[str, int]:
    """With how many instances a workload begins that is scaled: as many as it has, or as the one that serves has, or
    had. What is asleep stays so.
    """
    if asleep:
        return {each.name: 0 for each in target.workloads}
    chosen, before = {}, decision.progress.instances if decision.progress else {}
    for planned in target.workloads:
        scaling = planned.workload.scaling
        names = [planned.name, *(state.active.workloads if state.active else ())]
        same_role = [name for name in names if cut_digest(name) == cut_digest(planned.name)]
        # An aborted one that is tried again had none.
        running = [each.wanted for name in same_role if (each := state.workloads.get(name)) and each.wanted]
        running += [before[name] for name in same_role if before.get(name)]
        chosen[planned.name] = max(scaling.least, min(running[0] if running else scaling.least, scaling.most))
    return chosen
