"""Whether the numbers of instances follow the load: what HorizontalPodAutoscalers, and KEDA's objects, say of it.

Of a ModelDeployment that isn't scaled nothing is told, and what is told doesn't make it ready or not.
Source of the reasons: pkg/controller/podautoscaler/horizontal.go in kubernetes/kubernetes.
"""

from collections.abc import Mapping, Sequence

from forebay.api.status import ConditionStatus
from forebay.observation import Json, Observation, Reason, Trouble
from forebay.plan.autoscale import list_pod_targets
from forebay.plan.resolve import Scaling
from forebay.status.components import Part
from forebay.status.conditions import AUTOSCALING, Finding
from forebay.status.pods import find_condition
from forebay.status.sleep import is_asleep

_HPA, _SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
_API = "kubectl get apiservice v1beta2.custom.metrics.k8s.io"
# The first of these is told where the components differ.
_ORDER = ("False", "Unknown", "True")
_UNKNOWN = (Reason.STARTING, Reason.NO_INSTANCE, Reason.GAVE_WAY)


def find_autoscaling(observation: Observation, parts: Sequence[Part]) -> list[Finding]:
    """The condition, of the component that is worst off; none where nothing is scaled. `parts` are of what serves, and
    of the target where nothing does yet.
    """
    found = [_judge(observation, part) for part in parts if _is_scaled(observation, part)]
    if found and is_asleep(observation, observation.decision.active):
        message = "0 instances: the number follows the load again as soon as a request wakes it"
        return [Finding(type=AUTOSCALING, status="True", reason=Reason.ASLEEP, message=message)]
    return sorted(found, key=_rank)[:1]


def _rank(finding: Finding) -> tuple[int, bool]:
    return _ORDER.index(finding.status), finding.reason is Reason.FOLLOWING


def _is_scaled(observation: Observation, part: Part) -> bool:
    """What the target follows gets no autoscaler where it had none."""
    scaling = part.planned.workload.scaling
    is_own = part.planned in observation.target.workloads
    return (scaling.automatic or bool(scaling.unmet)) and (is_own or bool(_find_own(observation, part)))


def _find_own(observation: Observation, part: Part) -> list[Json]:
    return [each for each in observation.scalers if _target_of(each) == part.planned.name]


def _judge(observation: Observation, part: Part) -> Finding:
    scaling, role = part.planned.workload.scaling, part.role
    own = _find_own(observation, part)
    hpas = [each for each in own if each["kind"] == _HPA]
    trouble = _check_plan(observation, part) or _check_scaler(own, hpas, part) or _check_hpa(hpas, part)
    if trouble is not None:
        status: ConditionStatus = "Unknown" if trouble.reason in _UNKNOWN else "False"
        return Finding(type=AUTOSCALING, status=status, reason=trouble.reason, message=f"{role}: {trouble.message}")
    limits = f"{scaling.least} to {scaling.most} instances"
    if _says(hpas, "ScalingLimited").get("reason") == "TooManyReplicas":
        message = f"{role}: the load asks for more than {scaling.most} instances: raise {role}.autoscaling.max"
        return Finding(type=AUTOSCALING, status="True", reason=Reason.AT_MAXIMUM, message=message)
    return Finding(
        type=AUTOSCALING, status="True", reason=Reason.FOLLOWING, message=f"{role}: {limits}, {_describe(scaling)}"
    )


def _check_plan(observation: Observation, part: Part) -> Trouble | None:
    """What nobody in this cluster can follow, or what is somebody else's to follow."""
    scaling, rival = part.planned.workload.scaling, observation.rivals.get(part.planned.name)
    if rival:
        message = (
            f"the HorizontalPodAutoscaler {rival} scales it, which isn't Forebay's: two would undo each other's work. "
            f"For Forebay's own: kubectl delete hpa {rival} -n {observation.serving.namespace}"
        )
        return Trouble(reason=Reason.GAVE_WAY, message=message)
    if scaling.unmet:
        return Trouble(reason=Reason.NOT_FOLLOWED, message=scaling.unmet)
    return _NO_KEDA if observation.lacks_keda and scaling.follows_queue else None


_NO_KEDA = Trouble(
    reason=Reason.NO_KEDA,
    message="the cluster doesn't know ScaledObjects (keda.sh), or the operator may not read them: install KEDA, or set "
    "autoscaling.provider of the chart to forebay",
)


def _check_scaler(own: Sequence[Json], hpas: Sequence[Json], part: Part) -> Trouble | None:
    """Whether there is somebody who scales, and something to scale."""
    failed = next((each for each in own if each["kind"] == _SCALED_OBJECT), None)
    ready = find_condition(failed, "Ready") if failed else {}
    if ready.get("status") == "False":
        message = f"KEDA says: {ready.get('message') or ready.get('reason')}"
        return Trouble(reason=Reason.UNABLE_TO_SCALE, message=message)
    if part.wanted == 0:
        return Trouble(reason=Reason.NO_INSTANCE, message="scaled to 0: it follows the load again from 1 on")
    if not hpas:
        return Trouble(reason=Reason.STARTING, message="its HorizontalPodAutoscaler is about to be made")
    return None


def _check_hpa(hpas: Sequence[Json], part: Part) -> Trouble | None:
    active, able = _says(hpas, "ScalingActive"), _says(hpas, "AbleToScale")
    if not active and not able:
        return Trouble(reason=Reason.STARTING, message="the autoscaler is about to look at it")
    if active.get("reason") == "ScalingDisabled" and part.wanted:
        return Trouble(reason=Reason.STARTING, message="the autoscaler is about to look at it again, from 1 on")
    if active.get("reason") == "AmbiguousSelector":
        message = "another HorizontalPodAutoscaler scales the same pods, and so none does: delete one (kubectl get hpa)"
        return Trouble(reason=Reason.CONTENDED, message=message)
    if able.get("status") == "False":
        return Trouble(reason=Reason.UNABLE_TO_SCALE, message=str(able.get("message") or able.get("reason")))
    if active.get("status") == "False":
        return _explain_silence(active, part)
    return None


def _explain_silence(active: Mapping[str, str], part: Part) -> Trouble:
    """What to do where an autoscaler isn't told a metric."""
    if part.ready == 0:
        return Trouble(reason=Reason.STARTING, message="no instance is ready yet, of which the load could be told")
    reason, said = active.get("reason"), active.get("message", "")
    advice = {
        "FailedGetPodsMetric": f"look whether the metrics API answers, and whose it is: {_API}",
        "FailedGetExternalMetric": "look at what KEDA says of it, and at its Prometheus: kubectl describe scaledobject",
        "FailedGetResourceMetric": "cpu and memory need metrics-server: kubectl top pods",
    }.get(str(reason), "mend autoscaling.metrics")
    message = f"the number of instances stays, as a metric isn't told; {advice}. Kubernetes says: {said}"
    return Trouble(reason=Reason.NO_METRICS, message=message)


def _describe(scaling: Scaling) -> str:
    names = [name for name, number in list_pod_targets(scaling) if number]
    names += ["cpu"] * bool(scaling.cpu_pct) + ["memory"] * bool(scaling.memory_pct)
    names += ["autoscaling.metrics"] * bool(scaling.metrics)
    return f"by {', '.join(names)}"


def _says(hpas: Sequence[Json], type_: str) -> Mapping[str, str]:
    """A condition of the autoscaler; empty where it has none yet."""
    return find_condition(hpas[0], type_) if hpas else {}


def _target_of(scaler: Json) -> str:
    return str(scaler["spec"]["scaleTargetRef"]["name"])
