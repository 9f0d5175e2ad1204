"""What is told of Deployments that can't make their pods: captured, and as other clusters say it."""

from copy import deepcopy
from typing import Any

import pytest

from forebay.observation import Reason
from forebay.status.admission import check_deployment
from tests.unit.status.scene import DEPLOYMENTS

SPEC = "predictor.podTemplate.spec"
CAPTURED = {
    "gpu-quota": (Reason.QUOTA_EXCEEDED, ["ResourceQuota team", "asks for requests.nvidia.com/gpu=1"]),
    "mem-quota": (Reason.QUOTA_EXCEEDED, ["limits.memory=2Gi", "limits.memory=1Gi is all"]),
    "must-specify": (Reason.QUOTA_EXCEEDED, ["limits.memory for: predictor", "LimitRange"]),
    "host-network": (
        Reason.FORBIDDEN,
        ["level restricted", f"{SPEC}: hostNetwork, ", "containers[predictor].securityContext.runAsNonRoot and "],
    ),
    "no-account": (Reason.CONFIG_MISSING, ["no ServiceAccount gone"]),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_refusals(name: str) -> None:
    trouble = check_deployment(DEPLOYMENTS[name])
    assert trouble
    reason, parts = CAPTURED[name]
    assert (trouble.reason, trouble.stalled) == (reason, True)
    assert all(part in trouble.message for part in parts), trouble.message
    assert f"{name}-" not in trouble.message, "the pod's name is another one at each try"


def test_nothing_is_told_of_one_that_is_well() -> None:
    assert check_deployment(DEPLOYMENTS["healthy"]) is None
    assert check_deployment({"metadata": {"name": "new"}}) is None


def refuse(message: str) -> dict[str, Any]:
    deployment = deepcopy(DEPLOYMENTS["host-network"])
    next(each for each in deployment["status"]["conditions"] if each["type"] == "ReplicaFailure")["message"] = message
    return deployment


@pytest.mark.parametrize(
    ("message", "reason", "stalled", "part"),
    [
        (
            'pods "x-1" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes (volume "data"), '
            'hostPort (container "predictor" uses hostPort 80)',
            Reason.FORBIDDEN, True, f"level baseline forbids the predictor's pods: change {SPEC}: volumes and "
            "containers[].ports",
        ),
        (
            'pods "x-1" is forbidden: violates PodSecurity "restricted:v1.34": seccompProfile (pod must set it)',
            Reason.FORBIDDEN, True, f"change {SPEC} (",
        ),
        (
            'pods "x-1" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi',
            Reason.FORBIDDEN, True, "the predictor's pods are refused: maximum memory usage per Container is 1Gi",
        ),
        (
            'admission webhook "v.kyverno.svc" denied the request: no tag',
            Reason.FORBIDDEN, True, "denied the request: no tag",
        ),
        (
            'Internal error occurred: failed calling webhook "x": connection refused',
            Reason.APPLY_FAILED, False, "it is tried again",
        ),
    ],
)  # fmt: skip
def test_other_refusals(message: str, reason: Reason, stalled: bool, part: str) -> None:
    trouble = check_deployment(refuse(message))
    assert trouble
    assert (trouble.reason, trouble.stalled) == (reason, stalled)
    assert part in trouble.message
    assert "x-1" not in trouble.message


def test_one_that_does_not_come_up_in_time() -> None:
    deployment = deepcopy(DEPLOYMENTS["healthy"])
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "..."}
    deployment["status"]["conditions"] = [late]
    deployment["spec"]["progressDeadlineSeconds"] = 2400
    trouble = check_deployment(deployment)
    assert trouble
    assert (trouble.reason, trouble.stalled) == (Reason.NOT_READY, True)
    assert "within 40 min" in trouble.message
