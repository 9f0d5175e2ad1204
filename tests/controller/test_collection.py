"""What is deleted leaves nothing behind, with the operator there or gone."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller.site import SCALED, TRITON, WITH_TRANSFORMER, Cluster, Operator, wait_for


@pytest.fixture(scope="module")
def collector(crash_cluster: Cluster) -> Iterator[Cluster]:
    """With Kubernetes' controllers: garbage, namespaces, Deployments."""
    plane = crash_cluster.plane
    plane.start_component("kube-controller-manager")
    try:
        yield crash_cluster
    finally:
        plane.stop_component("kube-controller-manager")


def test_nothing_is_left(collector: Cluster, tmp_path: Path) -> None:
    cluster = collector
    names = [cluster.make_namespace(f"gone-{name}") for name in ("first", "second", "whole")]
    spec = WITH_TRANSFORMER | {"predictor": {"triton": {}, **SCALED}}
    with Operator(tmp_path, cluster.plane.kubeconfig, namespace="default", watch=",".join(names)) as operator:
        operator.wait_leading()
        for name in names:
            cluster.create(name, spec)
        for name in names:
            wait_for(lambda name=name: len(cluster.list_children(name)) >= 13)
        operator.wait_quiet(for_s=2)
        cluster.delete(names[0], "ModelDeployment", "digits")
        wait_for(lambda: not cluster.list_children(names[0]))
        # Another of the same name, while the first one's children may still be on their way out.
        for _ in range(3):
            cluster.create(names[0], TRITON)
            wait_for(lambda: cluster.deployments(names[0]))
            cluster.delete(names[0], "ModelDeployment", "digits")
        made = cluster.create(names[0], TRITON)
        time.sleep(3)
        owners = {each["metadata"]["ownerReferences"][0]["uid"] for each in cluster.list_children(names[0]).values()}
        assert owners == {made["metadata"]["uid"]}
        cluster.client.delete(f"/api/v1/namespaces/{names[2]}")
        wait_for(lambda: cluster.client.get(f"/api/v1/namespaces/{names[2]}").status_code == 404)
        assert "Traceback" not in operator.log
        assert operator.stop() == 0
    # Uninstalled: nobody is there who would have to agree.
    for name in names[:2]:
        cluster.delete(name, "ModelDeployment", "digits")
        wait_for(lambda name=name: not cluster.find(name, "ModelDeployment", "digits"))
        wait_for(lambda name=name: not cluster.list_children(name))
