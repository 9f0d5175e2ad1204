"""What is told of a manifest that holds on a cluster only."""

from pathlib import Path

import pytest

from forebay.api.load import load_text
from forebay.local.differences import find_differences, take_variables
from forebay.local.errors import LocalError
from forebay.plan.resolve import Serving, resolve

HEADER = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: a}\nspec:\n"
SCRIPT = 'custom: {script: "class A:\\n    pass\\n"}'


def read(spec: str, folder: Path) -> Serving:
    (made,) = load_text(HEADER + spec, file="a.yaml", folder=folder)
    return resolve(made)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("", []),
        (", autoscaling: {max: 4, target: {cpu: 70}}", ["autoscaling is for a cluster: here 1 instance runs"]),
        (", autoscaling: {min: 0, max: 4}", ["here nothing sleeps", "here 1 instance runs"]),
        (", autoscaling: {min: 2, max: 4, metrics: [{}]}", ["here 2 instances run, which is its min"]),
        (", podTemplate: {metadata: {labels: {a: b}}, spec: {nodeSelector: {}, tolerations: []}}",
         ["predictor: for the pods of a cluster only: labels, nodeSelector and tolerations"]),
        (", podTemplate: {spec: {runtimeClassName: , initContainers: whatever}}", []),
        (", podTemplate: {spec: {volumes: []}}", ["predictor: for the pods of a cluster only: volumes"]),
        (", podTemplate: {spec: {containers: [{name: predictor, env: [{name: A, value: b}], args: [c]}]}}", []),
        (", podTemplate: {spec: {containers: [{name: predictor, image: b, volumeMounts: [], lifecycle: }]}}",
         ["predictor: for the container of a cluster only: image and volumeMounts; env and args are used here"]),
        (", podTemplate: {spec: {containers: [{name: b, image: c}], initContainers: [{name: queue}, 1]}}",
         ["predictor: for a cluster only: the containers b and queue; here the model's process runs alone"]),
        (", resources: {cpu: '2', gpu: {}}", ["nvidia.com/gpu is for a cluster", "cpu and memory are for a cluster"]),
        ("}\n  access: {apiKeys: {secretName: b}, rateLimit: {requests: 1}",
         ["access.apiKeys is for a cluster: here no key is asked for", "access.rateLimit is for a cluster"]),
        ("}\n  fallback: {deployment: b", ["fallback: b is not served here, so there is none"]),
        ("}\n  fallback: {response: {body: b}", []),
        ('}\n  drill: {fault: Slow, revision: a, since: "2026-01-02T03:04:05Z", until: "2026-01-02T03:05:05Z"',
         ["drill is for a cluster"]),
        ("}\n  shadow: {deployment: b", ["shadow is for a cluster: here b gets no copies"]),
    ],
)  # fmt: skip
def test_everything_is_told_once(spec, told, tmp_path):
    found = [each.text for each in find_differences(read(f"  predictor: {{{SCRIPT}{spec}}}\n", tmp_path))]
    assert len(found) == len(told), found
    for line, words in zip(found, told, strict=True):
        assert words in line


def test_a_fallback_that_is_served_beside_it_is_none(tmp_path):
    serving = read(f"  predictor: {{{SCRIPT}}}\n  fallback: {{deployment: b}}\n", tmp_path)
    assert not list(find_differences(serving, beside=["default/b"]))


ENV = (
    f"  predictor: {{{SCRIPT}, podTemplate: {{spec: {{containers: [{{name: predictor, env: [{{name: A, value: plain}}, "
    "{name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: NODE, valueFrom: {fieldRef: {}}}, "
    "{name: MAYBE, valueFrom: {configMapKeyRef: {name: s, key: k, optional: true}}}]}]}}}\n"
)


def test_variables_come_from_the_environment(tmp_path):
    workload = read(ENV, tmp_path).predictor
    environment = {"TOKEN": "t", "NODE": "", "OTHER": "o"}
    assert take_variables(workload, environment) == {"TOKEN": "t", "NODE": ""}
    assert take_variables(workload, {**environment, "MAYBE": "m"})["MAYBE"] == "m"


def test_variables_that_are_not_set(tmp_path):
    workload = read(ENV, tmp_path).predictor
    with pytest.raises(LocalError, match="predictor: TOKEN and NODE come from the cluster") as caught:
        take_variables(workload, {})
    assert str(caught.value).endswith("in which they aren't set: export TOKEN=... NODE=...")
    with pytest.raises(LocalError, match=r"NODE comes from the cluster .* it isn't set: export NODE"):
        take_variables(workload, {"TOKEN": "t"})
