"""Why a pod has no node: in the scheduler's words, and what to do about it."""

import re
from collections.abc import Iterable

from forebay.observation import Json, Reason, Trouble
from forebay.status.containers import name_of, role_of
from forebay.status.lines import clean, cut, list_words

# "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}. preemption: ..."
_CAUSES = re.compile(r"^\d+/\d+ nodes are available: (?P<causes>.*?)(\. |\.?$)")
_COUNT = re.compile(r"^\d+ ")
_EXTENDED = re.compile(r"^Insufficient (?P<resource>[\w.-]+/[\w.-]+)$")
_ADVICE = (
    (r"persistentvolumeclaim .* not found", "create the PersistentVolumeClaim"),
    (r"persistentvolumeclaim|PersistentVolume|volume", "look at its volumes: `kubectl describe pvc -n {namespace}`"),
    (
        r"resource ?claim|all claims",
        "look at {role}.resources.gpu.claim: kubectl describe resourceclaims -n {namespace}",
    ),
    (r"Insufficient cpu", "lower {role}.resources.cpu, or add a node"),
    (r"Insufficient memory", "lower {role}.resources.memory, or add a node"),
    (r"Insufficient ephemeral-storage", "ask for less ephemeral storage, or add a node"),
    (r"Too many pods", "add a node"),
    (r"untolerated taint", "write the taint in {role}.podTemplate.spec.tolerations, if the pod may run there"),
    (r"affinity/selector|node affinity|node selector", "look at {role}.podTemplate.spec.nodeSelector and affinity"),
    (r"topology spread", "look at {role}.podTemplate.spec.topologySpreadConstraints"),
    (r"affinity", "look at {role}.podTemplate.spec.affinity"),
    (r"free ports", "take the hostPort out of {role}.podTemplate.spec, or add a node"),
    (r"unschedulable", "uncordon a node, or add one"),
)


def check_scheduling(pod: Json) -> Trouble | None:
    """Whether the scheduler finds no node for the pod. It tries again by itself, so this never stalls."""
    conditions = pod.get("status", {}).get("conditions") or []
    told = next((each for each in conditions if each["type"] == "PodScheduled" and each["status"] == "False"), None)
    if told is None:
        return None
    where = f"pod {name_of(pod)}"
    if told.get("reason") == "SchedulingGated":
        gates = list_words(each["name"] for each in pod["spec"].get("schedulingGates", []))
        message = f"{where} isn't scheduled before its scheduling gates are lifted: {gates}"
        return Trouble(reason=Reason.UNSCHEDULABLE, message=message)
    causes = _list_causes(clean(str(told.get("message") or "")))
    lacking = [found["resource"] for cause in causes if (found := _EXTENDED.match(cause))]
    wanted = [resource for resource in dict.fromkeys(lacking) if _wants(pod, resource)]
    if wanted:
        return Trouble(reason=Reason.WAITING_FOR_GPU, message=_describe_wait(pod, wanted, causes))
    message = f"no node takes {where} ({cut('; '.join(causes))}): {_advise(pod, causes)}"
    return Trouble(reason=Reason.UNSCHEDULABLE, message=message)


def _list_causes(message: str) -> list[str]:
    """What keeps nodes from taking it, without how many they are: these numbers change all the time."""
    found = _CAUSES.match(message)
    if not found:
        return [message.partition(" preemption:")[0].rstrip(". ")]
    # A comma inside braces is a taint's own.
    causes = re.split(r", (?=\d+ )", found["causes"])
    return sorted({_COUNT.sub("", cause).strip(" .") for cause in causes} - {""}) or ["there is no node"]


def _describe_wait(pod: Json, resources: list[str], causes: list[str]) -> str:
    wants = list_words(f"{_wants(pod, each)} {each}" for each in resources)
    others = [cause for cause in causes if not _EXTENDED.match(cause)]
    beside = f" (of the other nodes: {cut('; '.join(others))})" if others else ""
    return (
        f"pod {name_of(pod)} waits for {wants}: no node has so many free{beside}. It starts as soon as one has; else "
        f"add a node, or ask for fewer in {role_of(pod)}.resources.gpu (`kubectl describe nodes` tells what there is)"
    )


def _wants(pod: Json, resource: str) -> str:
    """How much of an extended resource a pod's containers ask for; empty where none does."""
    asked = (each.get("resources", {}).get("limits", {}).get(resource) for each in pod["spec"].get("containers", []))
    return " + ".join(str(each) for each in asked if each)


def _advise(pod: Json, causes: Iterable[str]) -> str:
    text = "; ".join(causes)
    values = {"role": role_of(pod), "namespace": pod["metadata"]["namespace"]}
    found = [advice for pattern, advice in _ADVICE if re.search(pattern, text)]
    return (found[0] if found else "add a node, or look at {role}.podTemplate.spec").format(**values)
