"""ModelDeployments that name a ModelVersion: what it resolves to serves, and an alias that moves rolls out."""

from typing import Any

import pytest

from forebay.kube.resources import MODEL_VERSION
from tests.controller.site import Cluster, Json, Operator, wait_for

pytestmark = pytest.mark.usefixtures("operator")

BY_ALIAS: Json = {"model": {"version": "digits@champion"}, "predictor": {"triton": {}}}


def make_version(cluster: Cluster, namespace: str, number: str, *aliases: str, **fields: Any) -> None:
    spec = {"model": "digits", "version": number, "uri": f"s3://models/digits/{number}", "aliases": list(aliases)}
    body = {"apiVersion": MODEL_VERSION.api_version, "kind": MODEL_VERSION.kind, "spec": spec | fields}
    metadata = {"name": f"digits-{number}", "namespace": namespace}
    cluster.write("POST", MODEL_VERSION.path(namespace=namespace), body | {"metadata": metadata})


def set_aliases(cluster: Cluster, namespace: str, number: str, *aliases: str) -> None:
    cluster.patch(namespace, "ModelVersion", f"digits-{number}", {"spec": {"aliases": list(aliases)}})


def served(cluster: Cluster, namespace: str) -> list[str]:
    """What the pods of digits download."""
    own = [each for name, each in cluster.deployments(namespace).items() if name.startswith("digits-")]
    pods = [each["spec"]["template"]["spec"] for each in own]
    downloads = [each for pod in pods for each in pod["initContainers"] if each["name"] == "download"]
    return sorted(arg.removeprefix("--uri=") for each in downloads for arg in each["args"] if arg.startswith("--uri="))


def wait_version(cluster: Cluster, namespace: str, number: str) -> Json:
    """Until the version is all that serves."""

    def serves() -> bool:
        model = cluster.status(namespace).get("model", {})
        return (
            model.get("version") == f"digits:{number}"
            and served(cluster, namespace) == [f"s3://models/digits/{number}"]
            and cluster.condition(namespace)["status"] == "True"
        )

    wait_for(serves, why=lambda: (cluster.status(namespace), served(cluster, namespace)))
    return cluster.status(namespace)


def version_ready(cluster: Cluster, namespace: str, number: str) -> Json:
    conditions = cluster.find(namespace, "ModelVersion", f"digits-{number}")["status"]["conditions"]
    return next(each for each in conditions if each["type"] == "Ready")


def test_an_alias_that_moves_rolls_out_and_back(cluster: Cluster, operator: Operator, namespace: str) -> None:
    make_version(cluster, namespace, "3", "champion", digest=f"sha256:{'3' * 64}")
    make_version(cluster, namespace, "4", credentials={"secretName": "keys"})
    cluster.create(namespace, BY_ALIAS)
    first = wait_version(cluster, namespace, "3")
    assert first["model"] == {
        "version": "digits:3", "uri": "s3://models/digits/3", "digest": f"sha256:{'3' * 64}",
    }  # fmt: skip
    seen = len(cluster.events(namespace))
    set_aliases(cluster, namespace, "4", "champion")
    set_aliases(cluster, namespace, "3")
    second = wait_version(cluster, namespace, "4")
    assert second["activeRevision"] != first["activeRevision"]
    (pod,) = [each["spec"]["template"]["spec"] for each in cluster.deployments(namespace).values()]
    assert "'name': 'keys'" in str(pod), "the credentials are the version's"
    set_aliases(cluster, namespace, "3", "champion")
    set_aliases(cluster, namespace, "4")
    assert wait_version(cluster, namespace, "3")["activeRevision"] == first["activeRevision"]
    told = [each["reason"] for each in cluster.events(namespace)[seen:]]
    assert "AmbiguousAlias" not in told, "what is between the two writes of a move is nobody's business"
    assert "UnknownModelVersion" not in told
    shown = cluster.plane.kubectl("describe", "md", "digits", "-n", namespace).stdout
    assert "digits:3" in shown
    wide = cluster.plane.kubectl("get", "md", "digits", "-n", namespace, "-o", "wide").stdout
    assert "digits:3" in wide


def test_what_names_nothing_is_told_and_comes_up_when_it_does(cluster: Cluster, namespace: str) -> None:
    make_version(cluster, namespace, "3", "candidate")
    cluster.create(namespace, BY_ALIAS)
    ready = cluster.wait_reason(namespace, "UnknownModelVersion")
    assert "no version of digits has the alias of digits@champion" in ready["message"]
    assert "digits@candidate (digits:3)" in ready["message"]
    assert cluster.condition(namespace, type_="Stalled")["status"] == "True"
    assert cluster.deployments(namespace) == {}
    set_aliases(cluster, namespace, "3", "champion", "candidate")
    wait_version(cluster, namespace, "3")


def test_the_running_revision_serves_on(cluster: Cluster, operator: Operator, namespace: str) -> None:
    make_version(cluster, namespace, "3", "champion")
    cluster.create(namespace, BY_ALIAS)
    before = wait_version(cluster, namespace, "3")
    cluster.delete(namespace, "ModelVersion", "digits-3")
    ready = cluster.wait_reason(namespace, "UnknownModelVersion")
    assert ready["message"].startswith(f"still serving {before['activeRevision']}; what spec.model.version names")
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    status = cluster.status(namespace)
    assert (status["traffic"], status["model"]) == (before["traffic"], before["model"])
    operator.wait_quiet()
    assert served(cluster, namespace) == ["s3://models/digits/3"]
    cluster.replace(namespace, BY_ALIAS | {"model": {"uri": "s3://models/digits/3"}})
    cluster.wait_reason(namespace, "Ready")
    assert "model" not in cluster.status(namespace)


def test_an_alias_of_two_is_told_to_all_and_names_neither(cluster: Cluster, namespace: str) -> None:
    make_version(cluster, namespace, "3", "champion")
    cluster.create(namespace, BY_ALIAS)
    wait_version(cluster, namespace, "3")
    make_version(cluster, namespace, "4", "champion")
    said = cluster.wait_reason(namespace, "AmbiguousAlias")["message"]
    assert "digits:4 and digits:3 both claim digits@champion" in said
    for number in "34":
        wait_for(lambda number=number: version_ready(cluster, namespace, number)["reason"] == "AmbiguousAlias")
        assert "both claim digits@champion" in version_ready(cluster, namespace, number)["message"]
    assert served(cluster, namespace) == ["s3://models/digits/3"], "neither: what serves stays"
    set_aliases(cluster, namespace, "3")
    wait_version(cluster, namespace, "4")
    for number in "34":
        wait_for(lambda number=number: version_ready(cluster, namespace, number)["status"] == "True")


def test_only_who_names_it_is_looked_at(cluster: Cluster, operator: Operator, namespace: str) -> None:
    make_version(cluster, namespace, "3", "champion")
    cluster.create(namespace, BY_ALIAS)
    cluster.create(namespace, BY_ALIAS | {"model": {"uri": "s3://models/letters"}}, name="letters")
    wait_version(cluster, namespace, "3")
    cluster.wait_reason(namespace, "Ready", name="letters")
    operator.wait_quiet()
    looks = operator.metrics()["forebay_reconciles_total done"]
    make_version(cluster, namespace, "4", "candidate")
    cluster.patch(namespace, "ModelVersion", "digits-3", {"spec": {"metrics": {"accuracy": 0.9}}})
    wait_for(lambda: version_ready(cluster, namespace, "4")["status"] == "True")
    operator.wait_quiet()
    assert operator.metrics()["forebay_reconciles_total done"] == looks


def test_rights_suffice(operator: Operator) -> None:
    assert "is forbidden" not in operator.log
