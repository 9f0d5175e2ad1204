"""The DaemonSet of a ModelVersion that is to be fetched ahead, on a real apiserver."""

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from forebay.controller.prefetch import Prefetcher
from forebay.controller.registry import Entry, read_entry
from forebay.kube.client import Client
from forebay.kube.kubeconfig import load_login
from forebay.kube.resources import DAEMON_SET
from forebay.observation import Reason, Trouble
from forebay.plan.site import Site
from tests.controller.site import Cluster, Json

WANTED: Json = {"nodeSelector": {"gpu": "yes"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """One in which nobody looks at ModelVersions."""
    return cluster.make_namespace(f"prefetch-{uuid4().hex[:8]}")


def build_entry(namespace: str, name: str, prefetch: Json) -> Entry:
    """A version as it would be known: the operator of other tests, whose nodes have no cache, hears of none."""
    model, _, version = name.partition("-")
    spec = {"model": model, "version": version, "uri": "s3://models/digits/3", "prefetch": prefetch}
    metadata = {"name": name, "namespace": namespace, "uid": str(uuid4()), "generation": 1}
    return read_entry({"metadata": metadata, "spec": spec})


async def keep(cluster: Cluster, entry: Entry) -> tuple[Trouble | None, dict[str, int]]:
    """What is said, and what was written."""
    login = await load_login(kubeconfig=str(cluster.plane.kubeconfig))
    written = Counter[str]()
    on_write = lambda kind, verb: written.update([f"{verb} {kind}"])  # noqa: E731
    async with Client(login.connection, on_write=on_write) as client:
        return await Prefetcher(client, Site(node_cache=True)).keep(entry), dict(written)


def find(cluster: Cluster, entry: Entry) -> Any:
    path = DAEMON_SET.path(namespace=entry.namespace, name=f"{entry.name}-prefetch")
    answer = cluster.client.get(path)
    return answer.json() if answer.status_code == 200 else None


async def test_it_is_put_back_where_somebody_edits_it(cluster: Cluster, namespace: str) -> None:
    for name, prefetch in (("digits-3", WANTED), ("digits-4", {})):
        entry = build_entry(namespace, name, prefetch)
        said, written = await keep(cluster, entry)
        assert said
        assert (said.reason, written) == (Reason.STARTING, {"create DaemonSet": 1})
        made = find(cluster, entry)
        assert made["metadata"]["ownerReferences"][0]["uid"] == entry.uid
        # Nothing is written where nothing has changed.
        assert (await keep(cluster, entry))[1] == {}
        path = DAEMON_SET.path(namespace=namespace, name=made["metadata"]["name"])
        edit = [
            {"op": "replace", "path": "/spec/template/spec/nodeSelector", "value": {"gpu": "no"}},
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "theirs"},
        ]
        edit[0]["op"] = "replace" if prefetch else "add"
        cluster.write("PATCH", path, edit, form="application/json-patch+json", fieldManager="somebody")
        assert sum((await keep(cluster, entry))[1].values()) > 0
        spec = find(cluster, entry)["spec"]["template"]["spec"]
        assert spec["containers"][0]["image"] == made["spec"]["template"]["spec"]["containers"][0]["image"]
        if prefetch:
            assert spec["nodeSelector"] == {"gpu": "yes"}
        assert (await keep(cluster, entry))[1] == {}


async def test_it_goes_when_nobody_wants_it_any_more(cluster: Cluster, namespace: str) -> None:
    entry = build_entry(namespace, "digits-3", WANTED)
    await keep(cluster, entry)
    told = {"conditions": [{"type": "Prefetched", "status": "False", "reason": "Starting", "message": ""}]}
    said, written = await keep(cluster, entry._replace(prefetch=None, status=told))
    assert (said, written) == (None, {"delete DaemonSet": 1})
    assert find(cluster, entry) is None or "deletionTimestamp" in find(cluster, entry)["metadata"]


async def test_somebody_elses_is_left_alone(cluster: Cluster, namespace: str) -> None:
    entry = build_entry(namespace, "digits-3", WANTED)
    labels = {"app": "theirs"}
    container = {"name": "c", "image": "i"}
    cluster.write("POST", DAEMON_SET.path(namespace=namespace), {
        "apiVersion": DAEMON_SET.api_version, "kind": DAEMON_SET.kind, "metadata": {"name": "digits-3-prefetch"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })  # fmt: skip
    said, written = await keep(cluster, entry)
    assert said
    assert said.reason is Reason.CHILD_CONFLICT
    assert "rename the ModelVersion, or delete the DaemonSet" in said.message
    assert written == {}
    told = {"conditions": [{"type": "Prefetched", "status": "False", "reason": "ChildConflict", "message": ""}]}
    await keep(cluster, entry._replace(prefetch=None, status=told))
    assert find(cluster, entry)["spec"]["selector"]["matchLabels"] == labels
