"""What others do to the children: what is ours is put back, what is theirs stays."""

import copy
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from forebay.kube.resources import CHILDREN
from tests.controller.site import (
    BY_KIND,
    SCALED,
    TRITON,
    WITH_TRANSFORMER,
    Cluster,
    Json,
    Operator,
    normalize,
    wait_for,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("operator")
Path = tuple[str | int, ...]
SPEC = WITH_TRANSFORMER | {
    "predictor": {
        "triton": {}, **SCALED,
        "podTemplate": {"spec": {"nodeSelector": {"gpu": "yes"}, "tolerations": [{"operator": "Exists"}]}},
    }
}  # fmt: skip


def find_owned(child: Json) -> list[Path]:
    """The places of all that we own in an object, from what the apiserver knows of it."""
    (owned,) = [each for each in child["metadata"]["managedFields"] if each["manager"] == "forebay"]
    assert owned["operation"] == "Apply"
    return list(walk(owned["fieldsV1"], child, ()))


def walk(fields: Json, found: Any, at: Path) -> Iterator[Path]:
    """What tells an item of a list from the others is left out: to change it is to take the item and add another."""
    keys = find_keys(found, at)
    below = {name: each for name, each in fields.items() if name != "." and name not in keys}
    if not below:
        yield at
    for name, each in below.items():
        if name.startswith("f:"):
            step: str | int = name[2:]
        else:
            keys = json.loads(name[2:])
            step = next(i for i, item in enumerate(found) if keys.items() <= item.items())
        yield from walk(each, found[step], (*at, step))


def find_keys(found: Any, at: Path) -> tuple[str, ...]:
    if not at or not isinstance(at[-1], int):
        return ()
    return (
        ("f:port", "f:protocol")
        if at[-2] == "ports" and "port" in found
        else ("f:name", "f:mountPath", "f:containerPort", "f:uid")
    )


def change(value: Any) -> Any:
    """Something else of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}x"
        case list():
            return [*value, value[-1]] if value else value
        case dict():
            return {**value, "theirs": "x"}
    raise AssertionError(value)


def pointer(path: Path) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def edit(cluster: Cluster, child: Json, operation: Json) -> Json | None:
    """Another manager's edit; None where the apiserver refuses it, or where it changes nothing."""
    metadata = child["metadata"]
    path = BY_KIND[child["kind"]].path(namespace=metadata["namespace"], name=metadata["name"])
    answer = cluster.client.patch(
        path, content=json.dumps([operation]), headers={"content-type": "application/json-patch+json"},
        params={"fieldManager": "somebody"},
    )  # fmt: skip
    if not answer.is_success:
        return None
    made: Json = answer.json()
    return made if normalize(made) != normalize({**child, "metadata": {**metadata}}) else None


def check_child(cluster: Cluster, child: Json) -> list[str]:
    """Change and remove each of our fields, one after the other; what was not put back."""
    metadata, wanted = child["metadata"], normalize(child)
    wanted = {name: value for name, value in wanted.items() if name not in ("apiVersion", "kind")}
    done = 0
    # Of the Deployments' many fields each is changed in one of them, and taken out of the other.
    parity = "transformer" in metadata["name"]
    with cluster.follow(child) as versions:
        for index, path in enumerate(find_owned(child)):
            operations = [
                {"op": "remove", "path": pointer(path)},
                {"op": "replace", "path": pointer(path), "value": change(at(child, path))},
            ]
            if child["kind"] == "Deployment":
                operations = [operations[(index + parity) % 2]]
            for operation in operations:
                made = edit(cluster, child, operation)
                if made is None:
                    continue
                done += 1
                try:
                    wait_put_back(cluster, versions, wanted, since=int(made["metadata"]["resourceVersion"]))
                except httpx.TimeoutException:
                    return [f"{child['kind']} {metadata['name']}: {operation}"]
    assert done, f"nothing of {child['kind']} could be changed"
    return []


def wait_put_back(cluster: Cluster, versions: Iterator[Json], wanted: Json, *, since: int) -> None:
    """Until the object is as it was, after somebody's edit. Raises httpx.TimeoutException."""
    for version in versions:
        metadata = version["metadata"]
        if int(metadata["resourceVersion"]) <= since:
            continue
        # A Service that is read has other defaults than one that is watched.
        found = normalize(cluster.find(metadata["namespace"], version["kind"], metadata["name"]))
        if {name: value for name, value in found.items() if name in wanted} == wanted:
            return
    raise AssertionError("the stream ended")


def test_every_field_of_every_child_is_put_back(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.create(namespace, SPEC, labels={"team": "sound"})
    cluster.wait_reason(namespace, "Ready")
    # What was created counts as ours with all defaults; what is applied then, as it was applied.
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"labels": {"team": "vision"}}})
    wait_for(
        lambda: {each["metadata"]["labels"]["team"] for each in cluster.list_children(namespace).values()} == {"vision"}
    )
    operator.wait_quiet()
    children = cluster.list_children(namespace)
    kinds = {name.partition("/")[0] for name in children}
    assert kinds == {each.kind for each in CHILDREN}
    with ThreadPoolExecutor(6) as pool:
        left = [
            each for found in pool.map(lambda child: check_child(cluster, child), children.values()) for each in found
        ]
    assert left == []
    operator.wait_quiet()
    after = cluster.list_children(namespace)
    assert {name: each["metadata"]["uid"] for name, each in after.items()} == {
        name: each["metadata"]["uid"] for name, each in children.items()
    }


def test_what_others_add_survives(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    (name,) = cluster.deployments(namespace)
    for child in cluster.list_children(namespace).values():
        added = {"labels": {"theirs": "a"}, "annotations": {"theirs/b": "b"}}
        cluster.patch(namespace, child["kind"], child["metadata"]["name"], {"metadata": added})
    injected = {
        "spec": {"template": {"spec": {
            "containers": [
                {"name": "predictor", "env": [{"name": "THEIRS", "value": "x"}]},
                {"name": "agent", "image": "agent", "env": [{"name": "A", "value": "b"}]},
            ],
            "priority": None,
        }}}
    }  # fmt: skip
    path = BY_KIND["Deployment"].path(namespace=namespace, name=name)
    cluster.write("PATCH", path, injected, form="application/strategic-merge-patch+json", fieldManager="injector")
    operator.wait_quiet()
    # Ours is put back in the midst of it, with all of ours written anew.
    cluster.patch(namespace, "Deployment", name, {"spec": {"revisionHistoryLimit": 3}})
    wait_for(lambda: cluster.find(namespace, "Deployment", name)["spec"]["revisionHistoryLimit"] == 0)
    cluster.replace(namespace, TRITON | {"queue": {"depth": 5}})
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    for child in cluster.list_children(namespace).values():
        assert child["metadata"]["labels"]["theirs"] == "a"
        assert child["metadata"]["annotations"]["theirs/b"] == "b"
    containers = cluster.find(namespace, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    by_name = {each["name"]: each for each in containers}
    assert by_name["agent"]["env"] == [{"name": "A", "value": "b"}]
    assert {"name": "THEIRS", "value": "x"} in by_name["predictor"]["env"]


def test_what_is_ours_goes_from_what_others_applied_to(cluster: Cluster, operator: Operator, namespace: str) -> None:
    """Others applied before our own first change of what we created: their entry comes before ours."""
    cluster.create(namespace, TRITON, labels={"team": "vision", "stage": "test"})
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    children = cluster.list_children(namespace).values()
    for child in children:
        name = child["metadata"]["name"]
        theirs = {"apiVersion": child["apiVersion"], "kind": child["kind"], "metadata": {"labels": {"theirs": "a"}}}
        path = BY_KIND[child["kind"]].path(namespace=namespace, name=name)
        made = cluster.write("PATCH", path, theirs, form="application/apply-patch+yaml", fieldManager="somebody")
        assert [each["manager"] for each in made["metadata"]["managedFields"]][:2] == ["somebody", "forebay"]
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"labels": {"team": "sound", "stage": None}}})

    def read_labels() -> list[tuple[str, ...]]:
        found = [each["metadata"]["labels"] for each in cluster.list_children(namespace).values()]
        return [tuple(labels.get(name, "") for name in ("team", "stage", "theirs")) for labels in found]

    wait_for(lambda: read_labels() == [("sound", "", "a")] * len(children), why=lambda: str(read_labels()))


def test_deleted_children_come_back(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.create(namespace, SPEC)
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    before = cluster.list_children(namespace)
    for child in before.values():
        cluster.delete(namespace, child["kind"], child["metadata"]["name"])
    wait_for(lambda: set(cluster.list_children(namespace)) == set(before))
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    after = cluster.list_children(namespace)
    assert {name: normalize(each) for name, each in after.items()} == {
        name: normalize(each) for name, each in before.items()
    }


def test_orphans_are_taken_back(cluster: Cluster, operator: Operator, namespace: str) -> None:
    """As after `kubectl delete --cascade=orphan`, or from a backup that keeps no owners."""
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    before = cluster.list_children(namespace)
    cluster.delete(namespace, "ModelDeployment", "digits")
    wait_for(lambda: not cluster.find(namespace, "ModelDeployment", "digits"))
    for child in before.values():
        cluster.patch(namespace, child["kind"], child["metadata"]["name"], {"metadata": {"ownerReferences": None}})
    made = cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    after = cluster.list_children(namespace)
    assert {name: each["metadata"]["uid"] for name, each in after.items()} == {
        name: each["metadata"]["uid"] for name, each in before.items()
    }
    owners = {each["metadata"]["ownerReferences"][0]["uid"] for each in after.values()}
    assert owners == {made["metadata"]["uid"]}


def build_theirs(kind: str, name: str, namespace: str) -> Json:
    """Somebody's own object, which happens to have the name."""
    pods = {"matchLabels": {"app": "theirs"}}
    template = {"metadata": {"labels": {"app": "theirs"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}
    spec: dict[str, Json] = {
        "ServiceAccount": {},
        "Service": {"spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}}},
        "ConfigMap": {"data": {"theirs": "x"}},
        "NetworkPolicy": {"spec": {"podSelector": pods, "policyTypes": ["Egress"]}},
        "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": pods}},
        "Deployment": {"spec": {"selector": pods, "template": template}},
        "HorizontalPodAutoscaler": {"spec": {"maxReplicas": 3, "scaleTargetRef": target}},
    }
    made = copy.deepcopy(spec[kind])
    return made | {"apiVersion": BY_KIND[kind].api_version, "kind": kind, "metadata": {"name": name}}


def check_conflict(cluster: Cluster, kind: str) -> None:
    namespace = cluster.make_namespace(f"conflict-{kind.lower()}")
    spec = TRITON | {"predictor": {"triton": {}, **SCALED}}
    cluster.create(namespace, spec)
    cluster.wait_reason(namespace, "Ready")
    names = [each.partition("/")[2] for each in cluster.list_children(namespace) if each.startswith(f"{kind}/")]
    cluster.drop(namespace)
    for name in names:
        cluster.write("POST", BY_KIND[kind].path(namespace=namespace), build_theirs(kind, name, namespace))
    theirs = [cluster.find(namespace, kind, name)["metadata"]["resourceVersion"] for name in names]
    cluster.create(namespace, spec)
    ready = cluster.wait_reason(namespace, "ChildConflict")
    assert f"{kind} {names[0]}" in ready["message"]
    assert f"kubectl delete {kind.lower()} {names[0]} -n {namespace}" in ready["message"]
    assert cluster.condition(namespace, type_="Stalled")["status"] == "True"
    time.sleep(1)
    assert [cluster.find(namespace, kind, name)["metadata"]["resourceVersion"] for name in names] == theirs
    for name in names:
        cluster.delete(namespace, kind, name)
    cluster.wait_reason(namespace, "Ready")
    cluster.drop(namespace)


def test_somebody_elses_object_is_left_alone(cluster: Cluster) -> None:
    with ThreadPoolExecutor(len(CHILDREN)) as pool:
        for check in [pool.submit(check_conflict, cluster, each.kind) for each in CHILDREN]:
            check.result()
