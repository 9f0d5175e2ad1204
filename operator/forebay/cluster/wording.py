"""How `forebay status` says what it found: pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from forebay.cluster.deployments import is_current
from forebay.observation import Reason
from forebay.status.pods import find_condition

# The CRD's own default says so too.
_UNSEEN_REASON = "Pending"
_UNSEEN = "the operator has not looked at it yet: `forebay check` says whether one runs"
# What shows more, where the message itself doesn't say it.
_HINTS: dict[str, str] = {
    _UNSEEN_REASON: "forebay check{flags}",
    Reason.CRASH_LOOP: "forebay logs {name} --previous{flags}",
    Reason.OUT_OF_MEMORY: "forebay logs {name} --previous{flags}",
    Reason.MODEL_LOAD_FAILED: "forebay logs {name}{flags}",
    Reason.MODEL_DOWNLOAD_FAILED: "forebay logs {name} --container download{flags}",
    Reason.SCRIPT_DOWNLOAD_FAILED: "forebay logs {name} --container script{flags}",
    Reason.ENVIRONMENT_FAILED: "forebay logs {name} --container environment{flags}",
    Reason.NOT_READY: "forebay logs {name}{flags}",
    Reason.LOADING: "forebay logs {name} --follow{flags}",
    Reason.DOWNLOADING: "forebay logs {name} --container download --follow{flags}",
    Reason.INSTALLING: "forebay logs {name} --container environment --follow{flags}",
    Reason.WAITING_FOR_GPU: "forebay check{flags}",
    Reason.UNSCHEDULABLE: "kubectl get events{flags}",
    Reason.GATEWAY_NOT_READY: "forebay check{flags}",
    Reason.ROUTING: "forebay check{flags}",
    Reason.STARTING: "forebay status {name} --watch{flags}",
    Reason.ROLLING_OUT: "forebay rollout {name} --watch{flags}",
    Reason.ROLLOUT_PAUSED: "forebay rollout {name}{flags}",
    Reason.ROLLBACK_FAILED: "forebay history {name}{flags}",
    Reason.ROLLOUT_FAILED: "forebay rollout {name}{flags}",
    Reason.ANALYSIS_FAILED: "forebay rollout {name}{flags}",
    Reason.READY: "forebay predict {name} FILE{flags}",
    Reason.ASLEEP: "forebay predict {name} FILE{flags}",
    Reason.WAKING: "forebay status {name} --watch{flags}",
}


def describe_ready(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Its Ready condition; Unknown where nobody has looked at the present spec."""
    found = find_condition(deployment, "Ready")
    if not found:
        return {"status": "Unknown", "reason": _UNSEEN_REASON, "message": _UNSEEN}
    if deployment["status"].get("observedGeneration") and not is_current(deployment):
        return {"status": "Unknown", "reason": "SpecChanged", "message": f"the spec was changed, and {_UNSEEN}"}
    return {"status": found["status"], "reason": found["reason"], "message": found.get("message", "")}


def build_hint(reason: str, *, name: str, flags: str) -> str:
    """A command that shows more, or goes on."""
    return _HINTS.get(reason, "").format(name=name, flags=flags)


def describe_age(timestamp: str, now: datetime) -> str:
    """How long ago, as kubectl says it."""
    then = datetime.fromisoformat(timestamp)
    if then.year == 1970:  # as in the CRD's default status
        return ""
    seconds = max(0, int((now - then).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def describe_model(model: Mapping[str, Any]) -> str:
    """How far the model is: "Downloading 40 %"."""
    progress = model.get("progressPct")
    return model["state"] if progress is None else f"{model['state']} {progress} %"


def describe_pod(pod: Mapping[str, Any]) -> str:
    """A pod's state in a word, as kubectl's STATUS column."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for prefix, key in (("Init:", "initContainerStatuses"), ("", "containerStatuses")):
        for each in status.get(key, []):
            state = each.get("state", {})
            reason = (state.get("waiting") or {}).get("reason")
            if reason and reason != "PodInitializing":
                return f"{prefix}{reason}"
            if (state.get("terminated") or {}).get("exitCode"):
                return f"{prefix}{state['terminated'].get('reason', 'Error')}"
    return str(status.get("reason") or status.get("phase", "Unknown"))
