"""ModelDeployments that name a version of MLflow's registry: an alias that moves there is noticed, and rolls out."""

from collections.abc import Iterator

import pytest

from tests.controller.gateways import Gateway
from tests.controller.site import Cluster, Json, Nodes, Operator, wait_for
from tests.local.mlflow_server import Mlflow, write_mlmodel

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(600)]

LONG_S = 120.0
FILES = {"MLmodel": write_mlmodel(onnx="model.onnx"), "model.onnx": b"x"}


@pytest.fixture(scope="module")
def mlflow(mlflow_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with Mlflow(tmp_path_factory.mktemp("mlflow"), port=mlflow_port) as server:
        yield server


@pytest.fixture
def model(mlflow: Mlflow, namespace: str) -> str:
    """A registered model of the test's own, with three versions of which the first has the alias champion."""
    name = f"digits-{namespace}"
    for _ in range(3):
        mlflow.log(name, FILES)
    mlflow.set_alias(name, "champion", "1")
    return name


def by(uri: str) -> Json:
    return {"model": {"uri": uri, "credentials": {"secretName": "mlflow"}}, "predictor": {"triton": {}}}


def find_downloads(cluster: Cluster, namespace: str) -> list[Json]:
    """The containers that fetch the model, of all revisions of digits."""
    found = {name: each for name, each in cluster.deployments(namespace).items() if name.startswith("digits-")}
    pods = [each["spec"]["template"]["spec"] for each in found.values()]
    return [each for pod in pods for each in pod["initContainers"] if each["name"] == "download"]


def wait_version(cluster: Cluster, namespace: str, reference: str) -> Json:
    """Until the version is all that serves."""

    def serves() -> bool:
        status, downloads = cluster.status(namespace), find_downloads(cluster, namespace)
        used = status.get("model", {})
        return (
            used.get("version") == reference
            and [f"--uri={used['uri']}"] == [each["args"][0] for each in downloads]
            and [each["revision"] for each in status["traffic"]] == [status["targetRevision"]]
            and cluster.condition(namespace)["status"] == "True"
            and cluster.condition(namespace, type_="ModelResolved")["status"] == "True"
        )

    wait_for(serves, limit_s=LONG_S, why=lambda: (cluster.status(namespace), find_downloads(cluster, namespace)))
    return cluster.status(namespace)


def test_an_alias_that_moves_rolls_out_and_back(cluster: Cluster, mlflow: Mlflow, namespace: str, model: str) -> None:
    uri = f"models:/{model}@champion"
    cluster.create(namespace, by(uri))
    first = wait_version(cluster, namespace, f"models:/{model}/1")
    assert first["model"]["reference"] == uri
    assert first["model"]["uri"].startswith("mlflow-artifacts:/")
    (download,) = find_downloads(cluster, namespace)
    assert download["env"] == [{"name": "MLFLOW_TRACKING_URI", "value": mlflow.url}]
    assert download["envFrom"] == [{"secretRef": {"name": "mlflow"}}]
    mlflow.set_alias(model, "champion", "2")
    second = wait_version(cluster, namespace, f"models:/{model}/2")
    assert second["activeRevision"] != first["activeRevision"]
    mlflow.set_alias(model, "champion", "1")
    assert wait_version(cluster, namespace, f"models:/{model}/1")["activeRevision"] == first["activeRevision"]


def test_a_bad_version_never_takes_traffic(  # noqa: PLR0913, PLR0917 (one argument per fixture)
    cluster: Cluster, mlflow: Mlflow, nodes: Nodes, gateway: Gateway, namespace: str, model: str
) -> None:
    cluster.create(namespace, by(f"models:/{model}@champion"))
    before = wait_version(cluster, namespace, f"models:/{model}/1")
    (good,) = cluster.deployments(namespace)
    nodes.held.add(namespace)  # none of its instances becomes ready
    mlflow.set_alias(model, "champion", "2")
    wait_for(lambda: len(cluster.deployments(namespace)) == 2, limit_s=LONG_S)
    told = cluster.wait_reason(namespace, "Starting", limit_s=LONG_S)
    assert told["message"].startswith(f"still serving {before['activeRevision']}")
    assert cluster.status(namespace)["traffic"] == before["traffic"]
    assert set(gateway.site.routes()[f"{namespace}/digits"]["workloads"]) == {good}
    mlflow.set_alias(model, "champion", "1")
    assert wait_version(cluster, namespace, f"models:/{model}/1")["activeRevision"] == before["activeRevision"]
    assert set(cluster.deployments(namespace)) == {good}
    nodes.release(namespace)


def test_what_names_nothing_is_told_and_what_serves_goes_on(
    cluster: Cluster, mlflow: Mlflow, namespace: str, model: str
) -> None:
    cluster.create(namespace, by(f"models:/{model}@champoin"))
    said = cluster.wait_reason(namespace, "UnknownModelVersion", limit_s=LONG_S)["message"]
    assert f"did you mean models:/{model}@champion (version 1)?" in said
    assert cluster.deployments(namespace) == {}
    cluster.replace(namespace, by(f"models:/{model}@champion"))
    before = wait_version(cluster, namespace, f"models:/{model}/1")
    mlflow.drop_alias(model, "champion")
    said = cluster.wait_reason(namespace, "UnknownModelVersion", limit_s=LONG_S)["message"]
    assert said.startswith(f"still serving {before['activeRevision']}; what spec.model.uri names can't be used")
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    mlflow.register(model, "dbfs:/models/digits")
    mlflow.set_alias(model, "champion", "4")
    said = cluster.wait_reason(namespace, "UnreachableModel", limit_s=LONG_S)["message"]
    assert "dbfs: is no storage that Forebay reads" in said
    mlflow.set_alias(model, "champion", "1")
    wait_version(cluster, namespace, f"models:/{model}/1")


def test_a_server_that_is_down_stops_nothing(
    cluster: Cluster, mlflow: Mlflow, operator: Operator, namespace: str, model: str
) -> None:
    cluster.create(namespace, by(f"models:/{model}@champion"))
    before = wait_version(cluster, namespace, f"models:/{model}/1")
    mlflow.stop()
    try:
        wait_for(lambda: cluster.condition(namespace, type_="ModelResolved")["status"] == "False", limit_s=LONG_S)
        lost = cluster.condition(namespace, type_="ModelResolved")
        assert lost["reason"] == "ModelRegistryUnavailable"
        # Who is asked while it ends may reset the connection, later ones refuse it.
        assert f"{mlflow.url} can't be reached: Connection re" in lost["message"]
        assert f". models:/{model}/1 serves on" in lost["message"]
        assert cluster.condition(namespace)["status"] == "True"
        assert cluster.status(namespace)["traffic"] == before["traffic"]
        # Another change is rolled out meanwhile.
        cluster.replace(namespace, by(f"models:/{model}@champion") | {"queue": {"depth": 5}})
        cluster.wait_reason(namespace, "Ready", limit_s=LONG_S)
        # What was never known isn't made.
        cluster.create(namespace, by(f"models:/{model}/2"), name="letters")
        cluster.wait_reason(namespace, "ModelRegistryUnavailable", name="letters", limit_s=LONG_S)
        operator.wait_quiet()
    finally:
        mlflow.start()
    wait_version(cluster, namespace, f"models:/{model}/1")
    cluster.wait_reason(namespace, "Ready", name="letters", limit_s=LONG_S)
    told = [each["reason"] for each in cluster.events(namespace)]
    assert "ModelRegistryUnavailable" in told
    assert "Resolved" in told


def test_no_more_is_asked_than_is_named(cluster: Cluster, mlflow: Mlflow, operator: Operator, namespace: str) -> None:
    cluster.create(namespace, by("s3://models/digits"))
    cluster.wait_reason(namespace, "Ready")
    assert cluster.condition(namespace, type_="ModelResolved") == {}
    assert "model" not in cluster.status(namespace)
    assert "Traceback" not in operator.log


def test_an_operator_that_comes_new_goes_on_from_the_status(
    crash_cluster: Cluster, mlflow: Mlflow, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, namespace = tmp_path_factory.mktemp("restart"), crash_cluster.make_namespace("mlflow-restart")
    mlflow.log("letters", FILES)
    environment = {"FOREBAY_MLFLOW_URI": mlflow.url, "FOREBAY_MLFLOW_INTERVAL_S": "1"}

    def start() -> Operator:
        kubeconfig = crash_cluster.plane.kubeconfig
        return Operator(folder, kubeconfig, namespace=namespace, watch=namespace, **environment)

    with start():
        crash_cluster.create(namespace, by("models:/letters/1"))
        wait_for(lambda: crash_cluster.status(namespace)["model"]["version"] == "models:/letters/1", limit_s=LONG_S)
        before = crash_cluster.deployments(namespace)
    mlflow.stop()
    try:
        with start():
            wait_for(
                lambda: crash_cluster.condition(namespace, type_="ModelResolved")["status"] == "False", limit_s=LONG_S
            )
            assert crash_cluster.deployments(namespace).keys() == before.keys()
            assert crash_cluster.status(namespace)["model"]["version"] == "models:/letters/1"
    finally:
        mlflow.start()
