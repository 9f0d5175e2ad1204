"""What is made of a Job's end, and of what its pods wait for."""

from typing import Any

import pytest

from forebay.api.analysis_jobs import JobCheck
from forebay.rollout.analysis.verdict import Finding, Outcome
from forebay.status.analysis_jobs import is_done, judge_job, judge_missing

Json = dict[str, Any]
SMOKE = JobCheck(name="smoke", image="x", timeout="90s")
LOGS = "kubectl logs -n ns job/digits-analysis-1"


def job(type_: str = "", reason: str = "", message: str = "") -> Json:
    conditions = [{"type": type_, "status": "True", "reason": reason, "message": message}] if type_ else []
    conditions.append({"type": "Suspended", "status": "False"})
    return {"metadata": {"namespace": "ns", "name": "digits-analysis-1"}, "status": {"conditions": conditions}}


def pod(state: Json, *, name: str = "a", at: str = "2026-01-01T00:00:00Z", **more: Any) -> Json:
    env = [{"name": "KEY", "value": "s3cret-word"}, {"name": "FOREBAY_NAME", "value": "digits"}, {"name": "REF"}]
    return {
        "metadata": {"name": name, "creationTimestamp": at},
        "spec": {"containers": [{"name": "check", "env": env}]},
        "status": {"containerStatuses": [{"name": "check", "state": state}], **more},
    }


def ended(code: int, message: str = "", reason: str = "Error") -> Json:
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


def test_one_that_completes_has_passed() -> None:
    assert judge_job(SMOKE, job("Complete"), []) == Finding(outcome=Outcome.PASSED, message="smoke passed")
    assert is_done(job("Complete"))


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        (
            [pod(ended(1, "it began\n3 of 4 answers of digits differ\n"))],
            f"3 of 4 answers of digits differ: see {LOGS}",
        ),
        ([pod(ended(1, "bad login s3cret-word"))], f"bad login $KEY: see {LOGS}"),
        ([pod(ended(3))], f"it ended with status 3: see {LOGS}"),
        ([pod(ended(1, "x" * 999))], f"{'x' * 199}…: see {LOGS}"),
        ([pod(ended(137, "", "OOMKilled"))], f"it was killed for its memory, of which it may have 256Mi: see {LOGS}"),
        (
            [pod(ended(1, "second"), name="b", at="2026-01-02T00:00:00Z"), pod(ended(1, "first"), name="c")],
            f"second: see {LOGS}",
        ),
        ([pod(ended(0))], "Job has reached the specified backoff limit"),
        ([], "Job has reached the specified backoff limit"),
    ],
)
def test_the_last_words_of_one_that_fails(pods: list[Json], said: str) -> None:
    failed = job("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    assert is_done(failed)
    assert judge_job(SMOKE, failed, pods) == Finding(outcome=Outcome.FAILED, message=f"smoke failed: {said}")


def test_an_init_container_fails_first() -> None:
    broken = pod({"waiting": {"reason": "PodInitializing"}})
    broken["spec"]["initContainers"] = [{"name": "first"}]
    broken["status"]["initContainerStatuses"] = [{"name": "first", "state": ended(1, "no data")}]
    assert judge_job(SMOKE, job("Failed"), [broken]).message == f"smoke failed: no data: see {LOGS}"


def test_one_whose_pods_are_gone_and_one_that_takes_too_long() -> None:
    assert judge_job(SMOKE, job("Failed"), []).message == "smoke failed: its pods are gone"
    late = judge_job(SMOKE, job("Failed", "DeadlineExceeded"), [])
    said = "smoke has not ended within its timeout of 90s, or never started: see the Events of its Job"
    assert late == Finding(outcome=Outcome.FAILED, message=said)


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([], f"hasn't ended yet: {LOGS}"),
        ([pod({"running": {}})], f"hasn't ended yet: {LOGS}"),
        ([pod({"waiting": {"reason": "ContainerCreating"}})], f"hasn't ended yet: {LOGS}"),
        ([pod({"waiting": {}})], f"hasn't ended yet: {LOGS}"),
        ([pod(ended(1))], f"hasn't ended yet: {LOGS}"),
        (
            [pod({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})],
            "can't start: pod a: ImagePullBackOff: not found",
        ),
        ([pod({"waiting": {"reason": "InvalidImageName"}})], "can't start: pod a: InvalidImageName"),
        (
            [
                pod({}, conditions=[
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ])
            ],
            "can't start: pod a finds no node: 0/3 nodes",
        ),
    ],
)  # fmt: skip
def test_before_its_end_it_says_nothing(pods: list[Json], said: str) -> None:
    assert not is_done(job())
    assert judge_job(SMOKE, job(), pods) == Finding(outcome=Outcome.INCONCLUSIVE, message=f"smoke {said}")


def test_one_that_is_not_there() -> None:
    assert judge_missing(SMOKE, "") == Finding(outcome=Outcome.INCONCLUSIVE, message="smoke is about to start")
    refused = judge_missing(SMOKE, "jobs is forbidden:\nexceeded quota")
    assert refused.outcome is Outcome.INCONCLUSIVE
    assert refused.message == "smoke can't start: its Job is refused: jobs is forbidden: exceeded quota"
