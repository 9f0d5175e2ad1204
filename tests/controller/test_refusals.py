"""What the apiserver refuses, and an apiserver that is gone: told in a sentence, tried again, and nothing is lost."""

import time

import pytest

from tests.controller.site import (
    SCALED,
    TRITON,
    WITH_TRANSFORMER,
    Cluster,
    Json,
    Operator,
    wait_for,
)  # fmt: skip


def with_template(spec: Json) -> Json:
    return TRITON | {"predictor": {"triton": {}, "podTemplate": {"spec": spec}}}


BAD_TEMPLATES = {
    "dnsPolicy": ({"dnsPolicy": "Sometimes"}, 'spec.template.spec.dnsPolicy: Unsupported value: "Sometimes"'),
    "misspelt": ({"nodeSelectr": {"a": "b"}}, 'unknown field "spec.template.spec.nodeSelectr"'),
    "type": ({"priority": "high"}, "PodSpec.spec.template.spec.priority of type int32"),
    "toleration": ({"tolerations": [{"key": "a", "operator": "Is"}]}, "spec.template.spec.tolerations[0].operator"),
}


@pytest.mark.parametrize("name", BAD_TEMPLATES)
def test_pod_template(cluster: Cluster, operator: Operator, namespace: str, name: str) -> None:
    template, said = BAD_TEMPLATES[name]
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    active = cluster.status(namespace)["activeRevision"]
    cluster.replace(namespace, with_template(template))
    ready = cluster.wait_reason(namespace, "InvalidPodTemplate")
    assert ready["status"] == "False"
    assert said in ready["message"]
    assert "spec.predictor.podTemplate" in ready["message"]
    assert ready["message"].startswith(f"still serving {active}; ")
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    assert cluster.condition(namespace, type_="Stalled")["status"] == "True"
    assert set(cluster.deployments(namespace)) == {old}
    told = [each for each in cluster.events(namespace) if each["reason"] == "InvalidPodTemplate"]
    assert [each["type"] for each in told] == ["Warning"]
    cluster.replace(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    assert set(cluster.deployments(namespace)) == {old}


def put_quota(cluster: Cluster, namespace: str, **hard: str) -> None:
    """A quota, and the status that its controller would write."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    cluster.write("POST", path, {"metadata": {"name": "few"}, "spec": {"hard": hard}})
    status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    cluster.write("PATCH", f"{path}/few/status", {"status": status}, form="application/merge-patch+json")


def test_quota(cluster: Cluster, operator: Operator, namespace: str) -> None:
    put_quota(cluster, namespace, services="1")
    time.sleep(0.5)
    cluster.create(namespace, TRITON)
    ready = cluster.wait_reason(namespace, "QuotaExceeded")
    assert "Service digits-predictor-" in ready["message"]
    assert "requested: services=1, used: services=1, limited: services=1" in ready["message"]
    # What there is room for is there.
    wait_for(lambda: cluster.deployments(namespace))
    cluster.client.delete(f"/api/v1/namespaces/{namespace}/resourcequotas/few")
    cluster.wait_reason(namespace, "Ready")


def test_refused_autoscaler(cluster: Cluster, operator: Operator, namespace: str) -> None:
    metrics = [{"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "Sometimes"}}}]
    bad = {"autoscaling": SCALED["autoscaling"] | {"metrics": metrics}}
    cluster.create(namespace, TRITON | {"predictor": {"triton": {}, **bad}})
    ready = cluster.wait_reason(namespace, "ApplyFailed")
    assert "HorizontalPodAutoscaler digits-predictor-" in ready["message"]
    assert "spec.metrics[1].pods.target.type" in ready["message"]
    cluster.replace(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")


CANARY = "kanarienvogel"


def test_secrets_are_told_nowhere(cluster: Cluster, operator: Operator, namespace: str) -> None:
    for name in ("models", "keys"):
        body = {"metadata": {"name": name}, "stringData": {"AWS_SECRET_ACCESS_KEY": f"{CANARY}-{name}"}}
        cluster.write("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    env = [{"name": "TOKEN", "value": f"{CANARY}-env"}]
    bad = {"containers": [{"name": "predictor", "env": env, "ports": [{"containerPort": 70000}]}]}
    for template in ({}, bad):
        spec = with_template(template) | {
            "model": {"uri": "s3://models/a", "credentials": {"secretName": "models"}},
            "access": {"apiKeys": {"secretName": "keys"}},
        }
        (cluster.replace if template else cluster.create)(namespace, spec)
        cluster.wait_reason(namespace, "InvalidPodTemplate" if template else "Ready")
    operator.wait_quiet()
    assert CANARY not in operator.log
    assert CANARY not in operator.metrics_text()
    assert CANARY not in str(cluster.status(namespace))
    assert CANARY not in str(cluster.events(namespace))
    # What the spec itself says of variables is in the Deployment, and nothing of a Secret.
    for name in ("models", "keys"):
        assert f"{CANARY}-{name}" not in str(cluster.list_children(namespace))


def test_charts_rights_suffice(cluster: Cluster, operator: Operator, namespace: str) -> None:
    """The operator of all these tests has them, and no others."""
    cluster.create(namespace, WITH_TRANSFORMER | {"predictor": {"triton": {}, **SCALED}})
    cluster.wait_reason(namespace, "Ready")
    cluster.replace(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    assert "cannot get" not in operator.log
    assert "is forbidden" not in operator.log
    assert "Forbidden" not in operator.log
