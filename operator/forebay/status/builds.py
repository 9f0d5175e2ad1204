"""The status of an ImageBuild: pure, from its Job and the pods of that to what people and their tools read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from forebay.api.status import ImageBuildStatus
from forebay.observation import Reason, Trouble
from forebay.plan.builds import CONTAINER, SCRIPT
from forebay.status.conditions import READY, STALLED, build_conditions, find, find_previous
from forebay.status.jobs import is_complete, is_failed, list_statuses, sort_pods
from forebay.status.lines import clean, find_event, find_last
from forebay.status.pods import find_condition

Json = dict[str, Any]

_PULL_PROBLEMS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


@dataclass(frozen=True, kw_only=True)
class BuildObservation:
    """What was found of one ImageBuild. `job` is empty where there is none (any more)."""

    generation: int
    job_name: str
    job: Json = field(default_factory=dict)
    pods: Sequence[Json] = ()
    troubles: Sequence[Trouble] = ()


def is_done(previous: Mapping[str, Any], job_name: str) -> bool:
    """Whether the status says how this Job ended: it is forgotten after a day, and that isn't."""
    return previous.get("job") == job_name and bool(previous.get("completionTime"))


def find_result(pods: Sequence[Json]) -> Json | None:
    """What the pod that pushed the image said at its end."""
    for pod in pods:
        ended = _find_end(pod)
        if ended.get("exitCode") == 0:
            try:
                said = json.loads(ended.get("message", ""))
            except ValueError:
                continue
            if isinstance(said, dict) and said.get("image"):
                return said
    return None


def summarize_build(observation: BuildObservation, previous: Mapping[str, Any], now: datetime) -> Json:
    """The status. It equals `previous` where nothing changed."""
    result = find_result(observation.pods) if is_complete(observation.job) else None
    if observation.troubles:
        reason = observation.troubles[0]
    elif result:
        reason = Trouble(reason=Reason.READY, message=f"{result['image']} is pushed")
    elif is_complete(observation.job):
        message = (
            f"the Job {observation.job_name} is done, but its pods are gone, and nobody knows what they pushed: "
            f"kubectl delete job {observation.job_name}, and it is built again"
        )
        reason = Trouble(reason=Reason.BUILD_FAILED, message=message, stalled=True)
    elif is_failed(observation.job):
        reason = Trouble(reason=Reason.BUILD_FAILED, message=_explain_failure(observation), stalled=True)
    else:
        reason = _explain_wait(observation)
    ended = result or is_failed(observation.job)
    status = ImageBuildStatus(
        observed_generation=observation.generation,
        conditions=build_conditions(
            [find(READY, result is not None, reason), find(STALLED, reason.stalled, reason)],
            generation=observation.generation,
            previous=previous,
            now=now,
        ),
        # The one before is still there, and may be served.
        image=result["image"] if result else previous.get("image", ""),
        digest=result["digest"] if result else previous.get("digest", ""),
        job=observation.job_name,
        start_time=observation.job.get("status", {}).get("startTime", ""),
        completion_time=_find_completion(observation.job) if ended else "",
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def summarize_invalid_build(generation: int, trouble: Trouble, previous: Mapping[str, Any], now: datetime) -> Json:
    """The status of an ImageBuild that can't be read, or of which nothing changed but the generation."""
    findings = [find(READY, False, trouble), find(STALLED, trouble.stalled, trouble)]
    conditions = build_conditions(findings, generation=generation, previous=previous, now=now)
    kept = {name: previous[name] for name in ("image", "digest", "job", "startTime") if name in previous}
    status = ImageBuildStatus.model_validate({**kept, "observedGeneration": generation})
    made = status.model_copy(update={"conditions": conditions})
    return made.model_dump(mode="json", by_alias=True, exclude_none=True)


def renew(previous: Mapping[str, Any], generation: int, now: datetime) -> Json:
    """The status of a build that is done, for a generation of the same spec."""
    ready = find_previous(previous, READY)
    if previous.get("observedGeneration") == generation:
        return dict(previous)
    trouble = Trouble(reason=Reason(ready["reason"]), message=ready["message"], stalled=ready["status"] != "True")
    findings = [find(READY, ready["status"] == "True", trouble), find(STALLED, trouble.stalled, trouble)]
    conditions = build_conditions(findings, generation=generation, previous=previous, now=now)
    told = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in conditions]
    return {**previous, "observedGeneration": generation, "conditions": told}


def _explain_failure(observation: BuildObservation) -> str:
    failed = find_condition(observation.job, "Failed")
    if failed.get("reason") == "DeadlineExceeded":
        return "the build did not end within spec.timeout: give it more, or look at the registry and the package index"
    pods = sort_pods(observation.pods)
    for pod in reversed(pods):
        if told := _explain_download(_find_container(pod, SCRIPT)):
            return told
        if last := _find_end(pod):
            if last.get("reason") == "OOMKilled":
                return "the build was killed for its memory: give it more in spec.resources.memory"
            if said := clean(last.get("message", "")):
                return said
            break
    return f"the Job {observation.job_name} failed: {failed.get('message') or 'its pods are gone'}"


def _explain_download(container: Json) -> str:
    """Why the script at an address can't be had; empty where it could, or isn't at one."""
    ended = container.get("state", {}).get("terminated", {})
    if not ended.get("exitCode"):
        return ""
    words = ended.get("message", "")
    event = find_event(words)
    told = f"{event.get('reason')}: {event.get('message')}" if event else find_last(words)
    return f"the script can't be downloaded: {clean(told) or ended.get('reason', '')}"


def _explain_wait(observation: BuildObservation) -> Trouble:
    if not observation.job:
        return Trouble(reason=Reason.STARTING, message=f"the Job {observation.job_name} is being made")
    for pod in sort_pods(observation.pods):
        name, scheduled = pod["metadata"]["name"], find_condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            message = f"pod {name} finds no node: {scheduled.get('message', '')}"
            return Trouble(reason=Reason.UNSCHEDULABLE, message=message)
        waiting = _find_waiting(pod)
        if waiting.get("reason") in _PULL_PROBLEMS:
            message = f"pod {name} can't pull its image: {clean(waiting.get('message', ''))}"
            return Trouble(reason=Reason.IMAGE_PULL_FAILED, message=message)
        if waiting.get("reason") == "CreateContainerConfigError":
            message = f"pod {name} can't start: {clean(waiting.get('message', ''))}"
            return Trouble(reason=Reason.CONFIG_MISSING, message=message)
    return Trouble(
        reason=Reason.BUILDING,
        message=f"the Job {observation.job_name} builds: `kubectl logs job/{observation.job_name}`",
    )


def _find_end(pod: Json) -> Json:
    ended: Json = _find_container(pod).get("state", {}).get("terminated", {})
    return ended


def _find_waiting(pod: Json) -> Json:
    """Why a container of the pod can't be started; the builder's waits for the download's."""
    states = [_find_container(pod, name).get("state", {}) for name in (SCRIPT, CONTAINER)]
    return next((state["waiting"] for state in states if "waiting" in state), {})


def _find_container(pod: Json, name: str = CONTAINER) -> Json:
    return next((each for each in list_statuses(pod) if each["name"] == name), {})


def _find_completion(job: Json) -> str:
    ended = find_condition(job, "Complete") or find_condition(job, "Failed")
    return str(job.get("status", {}).get("completionTime") or ended.get("lastTransitionTime", ""))
