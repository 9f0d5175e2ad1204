"""Why a container isn't even created: what it refers to is missing, or Kubernetes won't run it so."""

import re

from forebay.observation import Reason, Trouble
from forebay.status.containers import Container
from forebay.status.lines import clean, cut

_NO_OBJECT = re.compile(r'^(?P<kind>secret|configmap) "(?P<name>[^"]+)" not found$', re.IGNORECASE)
_NO_KEY = re.compile(r"^couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) \S+?/(?P<name>\S+)$")
_KINDS = {"secret": "Secret", "configmap": "ConfigMap"}
_CREATE = {"Secret": "secret generic", "ConfigMap": "configmap"}
# The kubelet's own haste: it tries again by itself.
_PASSING = re.compile(r"failed to sync|timed out|deadline exceeded|is reserved for", re.IGNORECASE)
_WAITING = ("PodInitializing", "ContainerCreating", "CrashLoopBackOff")
_USERS = re.compile(r"non-?root|runAsUser|runAsGroup", re.IGNORECASE)


def check_config(container: Container) -> Trouble | None:
    """Whether a Secret or a ConfigMap that it needs is missing, or a key of one."""
    words = clean(str(container.waiting.get("message") or ""))
    if container.waiting.get("reason") != "CreateContainerConfigError":
        return None
    if found := _NO_OBJECT.match(words):
        kind, name = _KINDS[found["kind"].lower()], found["name"]
        namespace = container.pod["metadata"]["namespace"]
        create = f"kubectl create {_CREATE[kind]} {name} -n {namespace} --from-literal=KEY=VALUE"
        return _missing(container, f"the {kind} {name} isn't there: create it, as with `{create}`")
    if found := _NO_KEY.match(words):
        what = f"the {found['kind']} {found['name']} has no key {found['key']}"
        return _missing(container, f"{what}: add it, or name one that is there")
    if _PASSING.search(words):
        return Trouble(reason=Reason.STARTING, message=f"{container.where}: {cut(words)}: it is tried again")
    words = re.sub(r" \(pod: .*\)$", "", words)
    field = "securityContext" if _USERS.search(words) else "containers"
    message = f"{container.where}: {cut(words)}: change {container.role}.podTemplate.spec.{field}"
    return Trouble(reason=Reason.INVALID_POD_TEMPLATE, message=message, stalled=True)


def check_creation(container: Container) -> Trouble | None:
    """Whether the container can't be created or started for some other reason."""
    ended, reason = container.failure, str(container.waiting.get("reason") or "")
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        words = cut(container.hide(_find_cause(str(ended.get("message") or ""))))
        advice = "check the command, and the image for this machine's architecture"
        message = f"{container.where} can't be started ({words}): {advice}"
        return Trouble(reason=Reason.CRASH_LOOP, message=message, stalled=True)
    if not reason or reason in _WAITING:
        return None
    words = cut(container.hide(_find_cause(str(container.waiting.get("message") or ""))))
    return Trouble(
        reason=Reason.STARTING,
        message=f"{container.where} isn't created yet ({reason}{': ' if words else ''}{words}): it is tried again",
    )


def _missing(container: Container, message: str) -> Trouble:
    return Trouble(reason=Reason.CONFIG_MISSING, message=f"{container.where}: {message}", stalled=True)


def _find_cause(words: str) -> str:
    """What runc says, without those who pass it on."""
    words = clean(words)
    return words.rpartition("unable to start container process: ")[2].removesuffix(": unknown")
