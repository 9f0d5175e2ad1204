"""The status of an ImageBuild whose script is at an address: what its download says."""

from datetime import UTC, datetime
from typing import Any

import pytest

from forebay.status.builds import BuildObservation, summarize_build

NOW = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
ERROR = '{"event": "error", "reason": "AccessDenied", "message": "s3://models/a.py: grant s3:GetObject"}'
WAITS = {"name": "build", "state": {"waiting": {"reason": "PodInitializing"}}}


def explain(script: dict[str, Any], *, failed: bool) -> tuple[str, str]:
    """Ready's reason and message, with the state of the container that downloads."""
    statuses = {"initContainerStatuses": [{"name": "script", "state": script}], "containerStatuses": [WAITS]}
    pod = {"metadata": {"name": "a-1", "creationTimestamp": "2026-11-21T16:59:00Z"}, "status": statuses}
    ended = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]} if failed else {}
    job = {"metadata": {"name": "a"}, "status": ended}
    status = summarize_build(BuildObservation(generation=1, job_name="a", job=job, pods=[pod]), {}, NOW)
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    return ready["reason"], ready["message"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (f"{{}}\n{ERROR}\n", "the script can't be downloaded: AccessDenied: s3://models/a.py: grant s3:GetObject"),
        ("Traceback\nMemoryError: no more\n", "the script can't be downloaded: MemoryError: no more"),
    ],
)
def test_a_download_that_failed_is_told_in_its_words(words: str, message: str) -> None:
    assert explain({"terminated": {"exitCode": 1, "message": words}}, failed=True) == ("BuildFailed", message)


def test_a_download_that_was_killed() -> None:
    assert explain({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, failed=True)[1].endswith("OOMKilled")


def test_what_a_download_waits_for_comes_before_what_the_build_does() -> None:
    missing = {"reason": "CreateContainerConfigError", "message": 'secret "git" not found'}
    reason, message = explain({"waiting": missing}, failed=False)
    assert (reason, message) == ("ConfigMissing", 'pod a-1 can\'t start: secret "git" not found')
    assert explain({"running": {}}, failed=False)[0] == "Building"
