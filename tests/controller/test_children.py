"""Create, update, delete: exactly what is wanted, and not one write more."""

from collections import Counter

from tests.controller.conftest import SYSTEM
from tests.controller.site import SCALED, TRITON, WITH_TRANSFORMER, Cluster, Operator, wait_for

OWN = {"ServiceAccount/digits", "Service/digits"}


def versions(cluster: Cluster, namespace: str) -> dict[str, str]:
    found = cluster.list_children(namespace) | {"": cluster.find(namespace, "ModelDeployment", "digits")}
    return {name: item["metadata"]["resourceVersion"] for name, item in found.items()}


def parts(role: str, workload: str, *, scaled: bool = False) -> set[str]:
    prefix = f"digits-{role}"
    found = {f"ConfigMap/{prefix}-queue", f"NetworkPolicy/{prefix}", f"Service/{workload}", f"Deployment/{workload}"}
    return found | ({f"PodDisruptionBudget/{prefix}", f"HorizontalPodAutoscaler/{workload}"} if scaled else set())


def test_children_are_exactly_what_is_wanted(cluster: Cluster, operator: Operator, namespace: str) -> None:
    spec = WITH_TRANSFORMER | {"predictor": {"triton": {}, **SCALED}}
    made = cluster.create(namespace, spec, labels={"team": "vision"})
    cluster.wait_reason(namespace, "Ready")
    status, children = cluster.status(namespace), cluster.list_children(namespace)
    workloads = {each["name"]: each["workload"] for each in status["components"]}
    script = next(name for name in children if "transformer-script" in name)
    expected = OWN | parts("predictor", workloads["predictor"], scaled=True) | {script}
    assert set(children) == expected | parts("transformer", workloads["transformer"])
    owner = {
        "apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "name": "digits",
        "uid": made["metadata"]["uid"], "controller": True, "blockOwnerDeletion": False,
    }  # fmt: skip
    for name, child in children.items():
        metadata = child["metadata"]
        assert metadata["ownerReferences"] == [owner], name
        assert "finalizers" not in metadata, name
        labels = metadata["labels"]
        assert labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/managed-by"] == "forebay"
        assert (labels["app.kubernetes.io/instance"], labels["team"]) == ("digits", "vision")
        role = next((each for each in workloads if f"digits-{each}" in name), None)
        assert labels.get("app.kubernetes.io/component") == role
        of_workload = metadata["name"] in workloads.values()
        assert labels.get("forebay.dev/workload") == (metadata["name"] if of_workload else None)
        assert len(metadata["annotations"]["forebay.dev/applied"]) == 8
        managers = {each["manager"] for each in metadata["managedFields"]}
        assert managers - {"nodes", "forebay-scaler"} == {"forebay"}
    found = cluster.find(namespace, "ModelDeployment", "digits")
    assert "finalizers" not in found["metadata"]
    assert "annotations" not in found["metadata"]
    assert status["traffic"] == [
        {"revision": status["activeRevision"], "workload": workloads["transformer"], "weightPct": 100,
         "workloads": [workloads["predictor"], workloads["transformer"]]}
    ]  # fmt: skip
    assert cluster.deployments(namespace)[workloads["predictor"]]["spec"]["replicas"] == 2


def test_one_write_per_child_and_none_in_a_second_pass(cluster: Cluster, operator: Operator, namespace: str) -> None:
    before = Counter(operator.metrics())
    cluster.create(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    writes = Counter(operator.metrics())
    writes.subtract(before)
    made = {
        name: int(number) for name, number in writes.items() if name.startswith("forebay_api_writes_total") and number
    }
    children = Counter(name.partition("/")[0] for name in cluster.list_children(namespace))
    created = {name.split()[1]: number for name, number in made.items() if name.endswith(" create")}
    assert created == children | {"Event": created["Event"], "ControllerRevision": 1}
    assert made.get("forebay_api_writes_total ModelDeployment status", 0) <= 6, made
    seen, count = versions(cluster, namespace), operator.count_writes()
    # Something that concerns nobody: it is looked at, and nothing is written.
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"note": "nothing"}}})
    for name in ("Service/digits", "ConfigMap/digits-predictor-queue"):
        cluster.patch(namespace, *name.split("/"), {"metadata": {"labels": {"theirs": "too"}}})
    operator.wait_quiet()
    assert operator.count_writes() == count
    changed = {name for name, version in versions(cluster, namespace).items() if version != seen[name]}
    assert changed == {"", "Service/digits", "ConfigMap/digits-predictor-queue"}


def test_change_of_what_is_live_changes_one_child(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    seen = versions(cluster, namespace)
    cluster.replace(namespace, TRITON | {"queue": {"depth": 7}})
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    changed = {name for name, version in versions(cluster, namespace).items() if version != seen[name]}
    assert changed == {"", "ConfigMap/digits-predictor-queue"}
    data = cluster.find(namespace, "ConfigMap", "digits-predictor-queue")["data"]
    assert "7" in data.values()


def test_labels_of_the_object_come_and_go(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.create(namespace, TRITON, labels={"team": "vision", "stage": "test"})
    cluster.wait_reason(namespace, "Ready")
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"labels": {"team": None, "stage": "live"}}})

    def have_changed() -> bool:
        labels = [each["metadata"]["labels"] for each in cluster.list_children(namespace).values()]
        return all("team" not in each and each["stage"] == "live" for each in labels)

    wait_for(have_changed)


def test_restart_writes_nothing(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.create(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    seen = versions(cluster, namespace)
    assert operator.stop() == 0
    lease = cluster.client.get(f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/forebay-operator").json()
    assert lease["spec"]["holderIdentity"] == "", "it is given back: the next one need not wait"
    operator.start()
    operator.wait_leading()
    operator.wait_quiet()
    assert operator.metrics()["forebay_reconciles_total done"] >= 1
    assert operator.count_writes() == 0
    assert versions(cluster, namespace) == seen
