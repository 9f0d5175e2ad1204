"""What is told of autoscaling, from what HorizontalPodAutoscalers say of themselves."""

from dataclasses import replace
from typing import Any

import pytest

from forebay.api.status import ModelDeploymentStatus
from forebay.rollout.state import RevisionState
from forebay.status import is_settled
from tests.unit.status.scene import MANIFEST, TRANSFORMER, Scene, get_condition, told

AUTO = "autoscaling: {min: 2, max: 4}"
SCALED = MANIFEST.replace("replicas: 2", AUTO)
# As kube-controller-manager 1.34 writes them.
GOOD = {
    "AbleToScale": ("True", "ReadyForNewScale", "recommended size matches current size"),
    "ScalingActive": ("True", "ValidMetricFound", "the HPA was able to successfully calculate a replica count"),
    "ScalingLimited": ("False", "DesiredWithinRange", "the desired count is within the acceptable range"),
}
SILENT = ("False", "FailedGetPodsMetric", "the HPA was unable to compute the replica count: unable to get metric m")


def scaler(scene: Scene, role: str = "predictor", kind: str = "HorizontalPodAutoscaler", **says: Any) -> dict[str, Any]:
    name = next(each.name for each in scene.target.workloads if each.role == role)
    conditions = [
        {"type": type_, "status": status, "reason": reason, "message": message}
        for type_, (status, reason, message) in says.items()
    ]
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}
    return {"kind": kind, "metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}}


def tell(text: str = SCALED, **says: Any) -> dict[str, Any]:
    scene = Scene(text)
    scene.scalers = [scaler(scene, **(GOOD | says))]
    status = scene.summarize()
    assert is_settled(status), "autoscaling doesn't make it ready or not"
    return status


def test_it_follows() -> None:
    status = tell()
    assert told(status, "Autoscaling") == ("True", "Following")
    assert get_condition(status, "Autoscaling")["message"] == "predictor: 2 to 4 instances, by forebay_queue"
    (component,) = status["components"]
    assert (component["replicas"], component["minReplicas"], component["maxReplicas"]) == (2, 2, 4)
    assert ModelDeploymentStatus.model_validate(status)


def test_nothing_is_told_where_nothing_is_scaled() -> None:
    status = Scene().summarize()
    assert "Autoscaling" not in {each["type"] for each in status["conditions"]}
    assert "minReplicas" not in status["components"][0]


@pytest.mark.parametrize(
    ("says", "expected", "words"),
    [
        ({"ScalingLimited": ("True", "TooManyReplicas", "the desired replica count is more than the maximum")},
         ("True", "AtMaximum"), "raise predictor.autoscaling.max"),
        ({"ScalingLimited": ("True", "TooFewReplicas", "the desired replica count is less than the minimum")},
         ("True", "Following"), "2 to 4"),
        ({"ScalingActive": SILENT}, ("False", "NoMetrics"), "kubectl get apiservice v1beta2.custom.metrics.k8s.io"),
        ({"ScalingActive": ("False", "FailedGetResourceMetric", "no")}, ("False", "NoMetrics"), "metrics-server"),
        ({"ScalingActive": ("False", "FailedGetExternalMetric", "no")}, ("False", "NoMetrics"), "scaledobject"),
        ({"ScalingActive": ("False", "InvalidMetricSourceType", "no")}, ("False", "NoMetrics"), "autoscaling.metrics"),
        ({"ScalingActive": ("False", "AmbiguousSelector", "pods by selector x are controlled by multiple HPAs")},
         ("False", "Contended"), "kubectl get hpa"),
        ({"AbleToScale": ("False", "FailedGetScale", "deployments/scale is forbidden")},
         ("False", "UnableToScale"), "forbidden"),
    ],
)  # fmt: skip
def test_what_the_autoscaler_says(says: dict[str, Any], expected: tuple[str, str], words: str) -> None:
    status = tell(**says)
    assert told(status, "Autoscaling") == expected
    assert words in get_condition(status, "Autoscaling")["message"]


def test_before_there_is_an_instance_nothing_can_be_told() -> None:
    scene = Scene(SCALED, ready={"predictor": 0})
    assert told(scene.summarize(), "Autoscaling") == ("Unknown", "Starting")
    scene.scalers = [scaler(scene)]
    assert told(scene.summarize(), "Autoscaling") == ("Unknown", "Starting")
    scene.scalers = [scaler(scene, **GOOD | {"ScalingActive": SILENT})]
    assert told(scene.summarize(), "Autoscaling") == ("Unknown", "Starting")


def test_scaled_to_zero() -> None:
    scene = Scene(SCALED)
    deployment = scene.build_deployment(scene.target.entry)
    deployment["spec"]["replicas"] = 0
    scene.deployments = {scene.target.entry.name: deployment}
    disabled = ("False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
    scene.scalers = [scaler(scene, **GOOD | {"ScalingActive": disabled})]
    assert told(scene.summarize(), "Autoscaling") == ("Unknown", "NoInstance")
    # It was woken, of which the autoscaler hears at its next look.
    scene.deployments = {}
    assert told(scene.summarize(), "Autoscaling") == ("Unknown", "Starting")


def test_of_two_the_one_that_is_worse_off_is_told() -> None:
    text = SCALED + TRANSFORMER.replace("transformer: {", "transformer: {autoscaling: {max: 3}, ")
    scene = Scene(text)
    bad = scaler(scene, "transformer", **GOOD | {"ScalingActive": SILENT})
    scene.scalers = [scaler(scene, **GOOD), bad]
    status = scene.summarize()
    assert told(status, "Autoscaling") == ("False", "NoMetrics")
    assert get_condition(status, "Autoscaling")["message"].startswith("transformer: ")


def test_somebody_elses_autoscaler_is_left_alone() -> None:
    scene = Scene(SCALED)
    scene.rivals = {scene.target.entry.name: "mine"}
    status = scene.summarize()
    assert told(status, "Autoscaling") == ("Unknown", "GaveWay")
    assert "kubectl delete hpa mine -n" in get_condition(status, "Autoscaling")["message"]


def test_keda() -> None:
    scene = Scene(SCALED, lacks_keda=True)
    assert told(scene.summarize(), "Autoscaling") == ("False", "NoKeda")
    scene = Scene(SCALED)
    scene.scalers = [scaler(scene, kind="ScaledObject", Ready=("False", "ScaledObjectCheckFailed", "no scaler"))]
    assert told(scene.summarize(), "Autoscaling") == ("False", "UnableToScale")
    ready = scaler(scene, kind="ScaledObject", Ready=("True", "ScaledObjectReady", "defined correctly"))
    scene.scalers = [scaler(scene, **GOOD), ready]
    assert told(scene.summarize(), "Autoscaling") == ("True", "Following")


def test_what_serves_is_told_of_and_not_what_was_aborted() -> None:
    old = "digits-predictor-0123abcd"
    scene = Scene(SCALED, active=RevisionState(name="old", workloads=(old,)))
    planned = replace(scene.target.entry, name=old)
    aborted = scene.build_deployment(scene.target.entry) | {"spec": {"replicas": 0}}
    scene.deployments = {old: scene.build_deployment(planned), scene.target.entry.name: aborted}
    assert "Autoscaling" not in {each["type"] for each in scene.summarize()["conditions"]}, "it wasn't scaled"
    for says, expected in ((GOOD, ("True", "Following")), (GOOD | {"ScalingActive": SILENT}, ("False", "NoMetrics"))):
        made = scaler(scene, **says)
        made["spec"]["scaleTargetRef"]["name"] = old
        scene.scalers = [made]
        assert told(scene.summarize(), "Autoscaling") == expected
