"""Streams that break, and an apiserver that goes: what happened meanwhile is made up for."""

import json
import time
from pathlib import Path

from tests.controller.proxy import Proxy
from tests.controller.site import TRITON, Cluster, Nodes, Operator, wait_for, write_kubeconfig
from tests.unit.controller.listener import Listener


def test_what_happened_meanwhile_is_made_up_for(crash_cluster: Cluster, tmp_path: Path) -> None:
    cluster = crash_cluster
    namespace = cluster.make_namespace("interrupted")
    with Proxy(cluster.plane) as proxy, Nodes(cluster.plane):
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", url=proxy.url, token="interrupted")
        with Operator(tmp_path, kubeconfig, namespace=namespace, watch=namespace) as operator:
            operator.wait_leading()
            for name in ("gone", "stays"):
                cluster.create(namespace, TRITON, name=name)
                wait_for(lambda name=name: cluster.status(namespace, name).get("activeRevision"))
            operator.wait_quiet()
            proxy.cut()
            time.sleep(0.3)
            cluster.drop(namespace, "gone")
            cluster.replace(namespace, TRITON | {"queue": {"depth": 77}}, name="stays")
            cluster.delete(namespace, "ServiceAccount", "stays")
            cluster.create(namespace, TRITON, name="comes")
            # So much has happened since that the apiserver no longer knows of it.
            cluster.plane.stop_component("kube-apiserver")
            cluster.plane.start_component("kube-apiserver")
            proxy.mend()
            if operator.process.poll() is None:
                wait_for(lambda: cluster.status(namespace, "comes").get("activeRevision"))
            else:  # it took too long to be sure of its lease: it begins anew, as its pod does
                assert operator.process.poll() == 1
                operator.start()
            wait_for(lambda: cluster.find(namespace, "ServiceAccount", "stays"))
            queue = "stays-predictor-queue"
            wait_for(lambda: "77" in cluster.find(namespace, "ConfigMap", queue)["data"].values())
            operator.wait_quiet()
            left = [name for name in cluster.list_children(namespace) if "/gone" in name]
            assert left == []
            deployments = {name: value for name, value in operator.metrics().items() if "deployments" in name}
            assert sum(deployments.values()) == 2


def test_who_listens_is_told_though_an_event_cant_be_written(crash_cluster: Cluster, tmp_path: Path) -> None:
    cluster = crash_cluster
    namespace = cluster.make_namespace("eventless")
    with Proxy(cluster.plane) as proxy, Nodes(cluster.plane), Listener() as listener:
        proxy.broken = "/events"
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", url=proxy.url, token="eventless")
        hosts = {"FOREBAY_NOTIFICATION_HOSTS": "127.0.0.1"}
        with Operator(tmp_path, kubeconfig, namespace=namespace, watch=namespace, **hosts) as operator:
            operator.wait_leading()
            cluster.create(namespace, TRITON | {"rollout": {"notify": [{"webhook": {"url": listener.url}}]}})
            wait_for(lambda: [json.loads(each.body)["kind"] for each in listener.seen] == ["Completed"], limit_s=20)
            operator.wait_quiet()
            assert "was not written" in operator.log
            assert operator.metrics().get("forebay_reconciles_total retried", 0) == 0


def test_a_namespace_that_is_gone_holds_no_other_up(crash_cluster: Cluster, tmp_path: Path) -> None:
    """Nobody has a right in it then: the roles lie in the namespaces."""
    cluster = crash_cluster
    stays, goes = (cluster.make_namespace(f"rights-{name}") for name in ("stay", "go"))

    def see_to(namespace: str, *, depth: int) -> None:
        spec = TRITON | {"queue": {"depth": depth}}
        (cluster.replace if cluster.status(namespace) else cluster.create)(namespace, spec)
        queue = "digits-predictor-queue"
        wait_for(lambda: str(depth) in cluster.find(namespace, "ConfigMap", queue)["data"].values(), limit_s=30)

    with Proxy(cluster.plane) as proxy, Nodes(cluster.plane):
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", url=proxy.url, token="rights")
        proxy.forbidden = f"/namespaces/{goes}/"
        with Operator(tmp_path, kubeconfig, namespace=stays, watch=f"{goes},{stays}") as operator:
            operator.wait_leading()
            see_to(stays, depth=71)
            proxy.forbidden = ""
            see_to(goes, depth=72)
            proxy.forbidden = f"/namespaces/{goes}/"
            proxy.cut()
            proxy.mend()
            wait_for(lambda: "nobody looks after its ModelDeployments" in operator.log, limit_s=90)
            see_to(stays, depth=73)
            assert operator.process.poll() is None
            proxy.forbidden = ""
            see_to(goes, depth=74)
            assert operator.stop() == 0
