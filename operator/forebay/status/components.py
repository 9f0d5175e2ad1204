"""The predictor and the transformer of the target revision: how many there are, and what is wrong with them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from forebay.api.status import ComponentStatus, ModelState
from forebay.observation import Json, Observation, Reason, Trouble
from forebay.plan.names import WORKLOAD_LABEL
from forebay.plan.workloads import Planned, take_for_following
from forebay.status.admission import check_deployment
from forebay.status.containers import name_of
from forebay.status.models import describe_model
from forebay.status.pods import check_end, check_pod, check_stopping, is_live, is_ready
from forebay.status.sleep import is_target_asleep

# What explains others comes first.
_ORDER = (
    Reason.CONFIG_MISSING,
    Reason.INVALID_POD_TEMPLATE,
    Reason.IMAGE_PULL_FAILED,
    Reason.MODEL_DOWNLOAD_FAILED,
    Reason.SCRIPT_DOWNLOAD_FAILED,
    Reason.ENVIRONMENT_FAILED,
    Reason.MODEL_LOAD_FAILED,
    Reason.OUT_OF_MEMORY,
    Reason.CRASH_LOOP,
    Reason.QUOTA_EXCEEDED,
    Reason.FORBIDDEN,
    Reason.UNSCHEDULABLE,
    Reason.WAITING_FOR_GPU,
    Reason.EVICTED,
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A workload of the target revision. `found` instances are there; of the `wanted`, `ready` are ready.

    `is_told` is whether these numbers are of the Deployment as it stands. `trouble` is what keeps it from being up.
    """

    planned: Planned
    wanted: int
    found: int
    ready: int
    is_told: bool
    model: ModelState
    trouble: Trouble | None
    may_sleep: bool = False

    @property
    def role(self) -> str:
        """Whose instances these are."""
        return str(self.planned.role)

    @property
    def is_up(self) -> bool:
        """Whether all that are wanted are ready."""
        return self.is_told and 0 < self.wanted <= self.ready

    @property
    def status(self) -> ComponentStatus:
        """As the status tells of it."""
        scaling = self.planned.workload.scaling
        return ComponentStatus(
            name=self.role,
            workload=self.planned.name,
            replicas=self.wanted,
            ready_replicas=self.ready,
            min_replicas=(0 if self.may_sleep else scaling.least) if scaling.automatic else None,
            max_replicas=scaling.most if scaling.automatic else None,
            model=self.model,
        )


def build_parts(observation: Observation, now: datetime) -> list[Part]:
    """The workloads of the target revision, the predictor first."""
    return [_build_part(observation, planned, now) for planned in observation.target.workloads]


def build_active_parts(observation: Observation, parts: Sequence[Part], now: datetime) -> Sequence[Part]:
    """The same of the revision that serves, as far as the target follows it; `parts` are the target's."""
    active = observation.decision.active
    if active is None or active.name == observation.target.name:
        return parts
    return [_build_part(observation, each, now) for each in take_for_following(observation.target, active.workloads)]


def choose(troubles: Iterable[Trouble]) -> Trouble | None:
    """The one that is told: what won't go away by itself, and of that what explains others. Of equals the first."""
    return min(troubles, key=_rank, default=None)


def _rank(trouble: Trouble) -> tuple[bool, int]:
    return not trouble.stalled, _ORDER.index(trouble.reason) if trouble.reason in _ORDER else len(_ORDER)


def _build_part(observation: Observation, planned: Planned, now: datetime) -> Part:
    deployment = observation.deployments.get(planned.name) or {}
    pods = sorted((pod for pod in observation.pods if _workload_of(pod) == planned.name), key=name_of)
    status = deployment.get("status") or {}
    wanted = int(deployment.get("spec", {}).get("replicas", planned.workload.replicas))
    ready = int(status.get("readyReplicas") or 0)
    is_told = int(status.get("observedGeneration") or 0) >= int(deployment.get("metadata", {}).get("generation", 1))
    is_up = is_told and 0 < wanted <= ready
    if is_target_asleep(observation):
        # Pods that are about to end are nobody's trouble.
        model, trouble = ModelState(state="Asleep"), None
    elif is_up:
        # More pods than are wanted may come and go: as long as enough are ready, nobody misses them.
        model, trouble = ModelState(state="Ready"), None
    else:
        model = describe_model(pods, wanted=wanted, downloaded_pct=observation.downloaded_pct, logs=observation.logs)
        trouble = _find_trouble(observation, pods, deployment, now)
    return Part(
        planned=planned,
        wanted=wanted,
        found=int(status.get("replicas") or 0),
        ready=ready,
        is_told=is_told,
        model=model,
        trouble=trouble,
        may_sleep=bool(observation.serving.idle_s),
    )


def _find_trouble(observation: Observation, pods: list[Json], deployment: Json, now: datetime) -> Trouble | None:
    coming = [pod for pod in pods if is_live(pod) and not is_ready(pod)]
    troubles = [check_pod(pod, log=observation.logs.get(name_of(pod), "")) for pod in pods]
    troubles += [check_end(pod, coming) for pod in pods if not is_live(pod)]
    troubles += [check_deployment(deployment)] if deployment else []
    troubles += [check_stopping(pod, now) for pod in pods]
    return choose(trouble for trouble in troubles if trouble)


def _workload_of(pod: Json) -> str:
    return str(pod["metadata"].get("labels", {}).get(WORKLOAD_LABEL, ""))
