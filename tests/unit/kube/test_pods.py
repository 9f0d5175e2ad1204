"""What the operator keeps of a pod, and what is told of that."""

import pytest

from forebay.kube.pods import trim
from forebay.status import check_pod, describe_model, needs_log
from tests.unit.status.scene import PODS, capture


@pytest.mark.parametrize("kind", PODS)
def test_of_what_is_kept_the_same_is_told(kind: str) -> None:
    whole = capture(kind)
    kept = trim(whole)
    assert check_pod(kept) == check_pod(whole)
    assert needs_log([kept]) == needs_log([whole])
    assert describe_model([kept], wanted=1, downloaded_pct={}, logs={}) == describe_model(
        [whole], wanted=1, downloaded_pct={}, logs={}
    )


def test_a_script_is_told_from_an_image_and_a_variables_value_from_other_words() -> None:
    pod = capture("crash")
    (container,) = pod["spec"]["containers"]
    container |= {"command": ["python", "-m", "forebay.serving"], "env": [{"name": "TOKEN", "value": "swordfish"}]}
    (status,) = pod["status"]["containerStatuses"]
    ended = {"exitCode": 2, "reason": "Error", "message": "/mnt/script/script.py:1: expected ':' swordfish"}
    status |= {"lastState": {"terminated": ended}, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    told = check_pod(trim(pod))
    assert told
    assert told == check_pod(pod)
    assert "can't load the model: script.py:1: expected ':' $TOKEN" in told.message
