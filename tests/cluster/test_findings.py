"""What `forebay check` makes of what it reads."""

from datetime import UTC, datetime
from typing import Any

import pytest

from forebay.cluster.findings import State
from forebay.cluster.kubernetes_checks import describe_nodes, describe_version
from forebay.cluster.own_checks import describe_leader
from tests.api.apiserver import ControlPlane
from tests.cluster.conftest import Command

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minor", "state"), [("29", State.MISSING), ("29+", State.MISSING), ("30", State.OK), ("34+", State.OK)]
)
def test_pods_need_a_version(minor: str, state: State) -> None:
    found = describe_version({"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.0"}, "https://a")
    assert found.state is state


@pytest.mark.parametrize(
    ("spec", "state", "what"),
    [
        ({}, State.MISSING, "no operator leads: nothing is looked after"),
        ({"holderIdentity": ""}, State.MISSING, "no operator leads: nothing is looked after"),
        (
            {"holderIdentity": "a", "renewTime": "2026-01-01T00:00:10.5Z", "leaseDurationSeconds": 15},
            State.MISSING,
            "no operator leads: a renewed its lease 50 s ago",
        ),
        (
            {"holderIdentity": "a", "renewTime": "2026-01-01T00:00:50.5Z", "leaseDurationSeconds": 15},
            State.OK,
            "operator a leads",
        ),
    ],
)
def test_who_leads(spec: Json, state: State, what: str) -> None:
    found = describe_leader({"spec": spec}, namespace="forebay-system", now=NOW)
    assert (found.state, found.what) == (state, what)


def build_node(*, ready: str = "True", **allocatable: str) -> Json:
    return {"status": {"conditions": [{"type": "Ready", "status": ready}], "allocatable": allocatable}}


def test_gpus_of_nodes_that_are_ready_are_added_up() -> None:
    nodes = [
        build_node(**{"cpu": "4", "nvidia.com/gpu": "2", "hugepages-2Mi": "0", "attachable-volumes-aws-ebs": "9"}),
        build_node(**{"nvidia.com/gpu": "1", "nvidia.com/mig-1g.10gb": "7", "smarter-devices.k8s.io/fuse": "9"}),
        build_node(ready="False", **{"nvidia.com/gpu": "8"}),
    ]
    assert [(each.state, each.what) for each in describe_nodes(nodes)] == [
        (State.OK, "2 of 3 nodes are ready"),
        (State.OK, "allocatable: 3 nvidia.com/gpu, 7 nvidia.com/mig-1g.10gb"),
    ]
    assert [each.state for each in describe_nodes(nodes[2:])] == [State.MISSING]
    assert [each.state for each in describe_nodes([build_node(cpu="4")])] == [State.OK, State.NOTE]


def test_an_empty_cluster_lacks_everything(plane: ControlPlane, forebay: Command) -> None:
    plane.kubectl("delete", "crd", "modeldeployments.forebay.dev", "--ignore-not-found")
    done = forebay("check", "-n", "nowhere")
    assert done.returncode == 1
    for line in (
        f"✓ the apiserver at {plane.url} answers: Kubernetes v1.",
        "✗ the CRD modeldeployments.forebay.dev is not installed\n  run `forebay install`",
        "✗ there is no namespace nowhere\n  kubectl create namespace nowhere",
        "! the metrics API is not served\n  only autoscaling.target.cpu and .memory need it",
        "✓ you may create ModelDeployments in namespace nowhere",
        "? whether this cluster's network heeds NetworkPolicies can't be asked",
    ):
        assert line in done.stdout


def test_a_crd_of_another_version(plane: ControlPlane, forebay: Command) -> None:
    plane.install_crds()
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend"
    patch = f'[{{"op": "remove", "path": "{path}"}}]'
    plane.kubectl("patch", "crd", "modeldeployments.forebay.dev", "--type=json", "-p", patch)
    done = forebay("check")
    assert "✗ the CRD modeldeployments.forebay.dev is of version another, this command of 0.1.0" in done.stdout
    assert "run `forebay install`, or `helm upgrade`, with this version of forebay" in done.stdout


def test_one_with_few_rights(plane: ControlPlane, forebay: Command) -> None:
    """What one may not see is unknown, and hides nothing else."""
    plane.kubectl("create", "serviceaccount", "guest")
    token = plane.kubectl("create", "token", "guest").stdout.strip()
    file = forebay.home / "kubeconfig"
    file.write_text(plane.kubeconfig.read_text().replace(plane.token, token))
    done = forebay("check", "--kubeconfig", file)
    assert "? crds: customresourcedefinitions.apiextensions.k8s.io " in done.stdout
    assert "✗ you may not create modeldeployments or get modeldeployments or get pods/log in names" in done.stdout
    assert "ask for the ClusterRole `edit` in namespace default" in done.stdout
    refused = forebay("status", "--kubeconfig", file)
    assert 'cannot list resource "modeldeployments"' in refused.stderr
    assert "ask the cluster's administrator for this right" in refused.stderr
