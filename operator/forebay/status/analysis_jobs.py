"""What a Job says of a new revision: from the Job and its pods to a finding in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forebay.api.analysis_jobs import JobCheck
from forebay.rollout.analysis.verdict import Finding, Outcome
from forebay.status.jobs import is_complete, is_failed, list_statuses, sort_pods
from forebay.status.lines import clean, cut, find_last, hide_values
from forebay.status.pods import find_condition

Json = dict[str, Any]

_LONGEST = 200
# A container that has only been begun.
_USUAL = ("ContainerCreating", "PodInitializing")


def is_done(job: Mapping[str, Any]) -> bool:
    """Whether it has ended."""
    return is_complete(job) or is_failed(job)


def judge_job(check: JobCheck, job: Json, pods: Sequence[Json]) -> Finding:
    """What its Job says, and its pods. It says nothing before its end."""
    if is_complete(job):
        return Finding(outcome=Outcome.PASSED, message=f"{check.name} passed")
    logs = f"kubectl logs -n {job['metadata']['namespace']} job/{job['metadata']['name']}"
    if is_failed(job):
        failed = find_condition(job, "Failed")
        return Finding(outcome=Outcome.FAILED, message=f"{check.name} {_explain_failure(check, failed, pods, logs)}")
    waits = next((why for pod in sort_pods(pods)[-1:] for why in _list_waits(pod)), "")
    message = f"{check.name} can't start: {waits}" if waits else f"{check.name} hasn't ended yet: {logs}"
    return Finding(outcome=Outcome.INCONCLUSIVE, message=message)


def judge_missing(check: JobCheck, refusal: str) -> Finding:
    """What there is to say where there is no Job; `refusal` is why it can't be made, in the apiserver's words."""
    why = cut(clean(refusal), 2 * _LONGEST)
    message = f"{check.name} can't start: its Job is refused: {why}" if why else f"{check.name} is about to start"
    return Finding(outcome=Outcome.INCONCLUSIVE, message=message)


def _explain_failure(check: JobCheck, failed: Json, pods: Sequence[Json], logs: str) -> str:
    if failed.get("reason") == "DeadlineExceeded":
        # Its pods are gone by then.
        return f"has not ended within its timeout of {check.timeout}, or never started: see the Events of its Job"
    for pod in reversed(sort_pods(pods)):
        for name, ended in _list_ends(pod):
            if ended.get("reason") == "OOMKilled":
                return (
                    f"failed: it was killed for its memory, of which it may have {check.resources.memory}: see {logs}"
                )
            said = find_last(hide_values(str(ended.get("message") or ""), _read_values(pod, name)))
            return f"failed: {cut(said, _LONGEST) or _describe_end(ended)}: see {logs}"
    return f"failed: {clean(failed.get('message', '')) or 'its pods are gone'}"


def _describe_end(ended: Mapping[str, Any]) -> str:
    return f"it ended with status {ended['exitCode']}"


def _list_ends(pod: Json) -> Iterator[tuple[str, Json]]:
    """The containers that failed, and how."""
    for each in list_statuses(pod):
        ended = (each.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            yield each["name"], ended


def _read_values(pod: Json, container: str) -> dict[str, str]:
    """The variables of a container as they were written, which aren't told; those that we write are."""
    spec = pod.get("spec", {})
    found = (each for each in [*spec.get("initContainers", ()), *spec.get("containers", ())])
    env = next((each.get("env", ()) for each in found if each["name"] == container), ())
    return {each["name"]: each.get("value", "") for each in env if not each["name"].startswith("FOREBAY_")}


def _list_waits(pod: Json) -> Iterator[str]:
    """Why a pod doesn't begin."""
    name, scheduled = pod["metadata"]["name"], find_condition(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        yield f"pod {name} finds no node: {cut(clean(scheduled.get('message', '')), _LONGEST)}"
    for each in list_statuses(pod):
        waiting = (each.get("state") or {}).get("waiting") or {}
        if waiting.get("reason", _USUAL[0]) not in _USUAL:
            said = cut(clean(waiting.get("message", "")), _LONGEST)
            yield f"pod {name}: {waiting['reason']}{f': {said}' if said else ''}"
