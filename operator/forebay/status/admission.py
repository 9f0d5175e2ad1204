"""Why Kubernetes doesn't let a Deployment make its pods."""

import re

from forebay.observation import Json, Reason, Trouble
from forebay.status.containers import name_of, role_of
from forebay.status.lines import clean, cut, list_words
from forebay.status.pods import find_condition

# The name of the pod that wasn't made is another one at each try.
_POD = re.compile(r'^pods? "[^"]*" is (?=forbidden)')
_QUOTA = re.compile(
    r"exceeded quota: (?P<name>\S+), requested: (?P<wants>\S+), used: (?P<used>\S+), limited: (?P<all>\S+)"
)
_UNSAID = re.compile(r"failed quota: (?P<name>[^\s:]+): must specify (?P<what>.+)$")
_ACCOUNT = re.compile(r'service ?account "(?P<name>[^"]+)" not found', re.IGNORECASE)
_SECURITY = re.compile(r'violates PodSecurity "(?P<level>[^":]+)[^"]*": (?P<what>.*)$')
_POD_FIELD = re.compile(r"\b(?P<field>host(?:Network|PID|IPC)|hostProcess)=true")
_CONTAINER_FIELD = re.compile(
    r'containers? (?P<names>"[^"]+"(?:, "[^"]+")*) must (?:not )?(?:set|include|add)[^"]*?'
    r"(?P<field>securityContext\.[\w.]+)"
)
_VOLUMES = re.compile(r"\bvolumes? \"")
_PORTS = re.compile(r"\bhostPort")


def check_deployment(deployment: Json) -> Trouble | None:
    """What keeps a Deployment from having all its pods."""
    failed = find_condition(deployment, "ReplicaFailure")
    if failed.get("status") == "True":
        return _explain_refusal(deployment, _POD.sub("", clean(str(failed.get("message") or ""))))
    progressing = find_condition(deployment, "Progressing")
    if progressing.get("status") == "False" and progressing.get("reason") == "ProgressDeadlineExceeded":
        minutes = int(deployment["spec"].get("progressDeadlineSeconds") or 600) // 60
        message = (
            f"Deployment {name_of(deployment)} has not come up within {minutes} min: look at "
            f"`kubectl describe pod -n {deployment['metadata']['namespace']} "
            f"-l forebay.dev/workload={name_of(deployment)}`"
        )
        return Trouble(reason=Reason.NOT_READY, message=message, stalled=True)
    return None


def _explain_refusal(deployment: Json, words: str) -> Trouble:
    role, name = role_of(deployment), name_of(deployment)
    if found := _QUOTA.search(words):
        message = (
            f"ResourceQuota {found['name']} has too little left for the {role}: a pod asks for {found['wants']}, and "
            f"{found['all']} is all that the namespace has: free some, ask for less in {role}.resources, or have the "
            "quota raised"
        )
        return Trouble(reason=Reason.QUOTA_EXCEEDED, message=message, stalled=True)
    if found := _UNSAID.search(words):
        message = (
            f"ResourceQuota {found['name']} asks every container for what not all say ({cut(found['what'])}): write it "
            f"in {role}.podTemplate.spec, or give the namespace a LimitRange with defaults"
        )
        return Trouble(reason=Reason.QUOTA_EXCEEDED, message=message, stalled=True)
    if found := _ACCOUNT.search(words):
        message = f"the {role}'s pods can't be made: there is no ServiceAccount {found['name']}: create it"
        return Trouble(reason=Reason.CONFIG_MISSING, message=message, stalled=True)
    if found := _SECURITY.search(words):
        message = (
            f"the namespace's Pod Security level {found['level']} forbids the {role}'s pods: change "
            f"{role}.podTemplate.spec{_find_fields(found['what'])} ({cut(found['what'])})"
        )
        return Trouble(reason=Reason.FORBIDDEN, message=message, stalled=True)
    if words.startswith("forbidden") or "denied the request" in words:
        message = f"the {role}'s pods are refused: {cut(words.removeprefix('forbidden: '), 600)}"
        return Trouble(reason=Reason.FORBIDDEN, message=message, stalled=True)
    message = f"the pods of Deployment {name} can't be made: {cut(words, 600)}: it is tried again"
    return Trouble(reason=Reason.APPLY_FAILED, message=message)


def _find_fields(violations: str) -> str:
    """Which fields of the podTemplate are at fault: what Forebay writes itself keeps to the level `restricted`."""
    fields = [found["field"] for found in _POD_FIELD.finditer(violations)]
    for found in _CONTAINER_FIELD.finditer(violations):
        names = found["names"].replace('"', "").split(", ")
        fields += [f"containers[{name}].{found['field']}" for name in names]
    if _VOLUMES.search(violations):
        fields.append("volumes")
    if _PORTS.search(violations):
        fields.append("containers[].ports")
    return f": {list_words(dict.fromkeys(fields))}" if fields else ""
