"""Bad values, each refused with words that name the value; and good ones that look odd."""

import json
import subprocess

import pytest
import yaml

from forebay.local.envoy_binary import find_envoy
from tests.chart.charts import CHART, PROMETHEUS, find, nest, of_kind, refuse, render
from tests.chart.edges import read_edges

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("replicas", 3, "Additional property replicas is not allowed"),
        ("operator.replica", 3, "Additional property replica is not allowed"),
        ("operator.replicas", 0, "greater than or equal to 1"),
        ("operator.replicas", "two", "Expected: integer, given: string"),
        ("images.operator", "ghcr.io/forebay/operator", "Does not match pattern"),
        ("images.operator", "localhost:5000/operator", "Does not match pattern"),
        ("images.envoy", "envoy@sha256:short", "Does not match pattern"),
        ("images.pullPolicy", "Sometimes", '"Always", "IfNotPresent", "Never"'),
        ("imagePullSecrets", ["registry"], "Expected: object, given: string"),
        ("watchNamespaces", "vision", "Expected: array, given: string"),
        ("watchNamespaces", ["vision", "vision"], "must be unique"),
        ("watchNamespaces", ["Vision"], "Does not match pattern"),
        ("runAsUser", 0, "greater than or equal to 1"),
        ("log.level", "loud", '"debug", "info", "warning", "error"'),
        ("gateway.externalUrl", "models.example.com", "Does not match pattern"),
        ("gateway.externalUrl", "https://models.example.com/v2", "Does not match pattern"),
        ("gateway.service.type", "ExternalName", '"ClusterIP", "NodePort", "LoadBalancer"'),
        ("gateway.service.port", 70000, "less than or equal to 65535"),
        ("gateway.podDisruptionBudget.maxUnavailable", "half", "Must validate one and only one schema"),
        ("gateway.tolerations", [{"kye": "infra"}], "Additional property kye is not allowed"),
        ("gateway.nodeSelector", {"gpu": True}, "Expected: string, given: boolean"),
        ("httpRoute", {"enabled": True}, "Array must have at least 1 items"),
        ("mlflow.trackingUri", "databricks", "Does not match pattern"),
        ("mlflow.trackingUri", "https://me:secret@mlflow", "Does not match pattern"),
        ("mlflow.intervalSeconds", 0, "greater than or equal to 1"),
        ("monitoring.monitors", True, "Expected: string, given: boolean"),
        ("monitoring.rules", "On", '"Auto", "Enabled", "Disabled"'),
        ("monitoring.interval", "15", "Does not match pattern"),
        ("monitoring.alerts.errorRatio", 5, "less than or equal to 1"),
    ],
)
def test_bad_values_are_refused(path: str, value: object, words: str):
    said = refuse(nest({path: value}))
    place = next(line for line in said.splitlines() if words in line)
    # An unknown value is named, and the place where it stands.
    assert path in place or path.rpartition(".")[2] in place


@pytest.mark.parametrize(
    "image", ["operator:1", f"ghcr.io/a/b@{DIGEST}", f"localhost:5000/a:1@{DIGEST}", "10.0.0.1:5000/a/b_c:v1.0"]
)
def test_images_may_have_a_tag_or_a_digest(image: str):
    containers = find(render({"images": {"operator": image}}), "Deployment", "operator")["spec"]["template"]["spec"]
    assert containers["containers"][0]["image"] == image


def test_each_value_is_explained():
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def look(path: str, schema: dict, value: object) -> None:
        if "default" in schema:
            assert schema["default"] == value, path
            assert len(schema["description"]) > 5, path
            return
        assert schema["additionalProperties"] is False, path
        assert set(schema["properties"]) - {"global"} == set(value), path
        for name, child in value.items():
            look(f"{path}.{name}", schema["properties"][name], child)

    look("", schema, defaults)
    assert read_edges().keys() == {key for key in read_edges() if f"`{key}`" in (CHART / "README.md").read_text()}


def test_null_leaves_the_user_to_openshift():
    for deployment in of_kind(render({"runAsUser": None}), "Deployment"):
        assert "runAsUser" not in deployment["spec"]["template"]["spec"]["securityContext"]


def test_crds_are_kept_and_may_be_left_out():
    kept = of_kind(render(), "CustomResourceDefinition")
    assert {each["metadata"]["name"].partition(".")[0] for each in kept} == {
        "imagebuilds",
        "modeldeployments",
        "modelversions",
        "nodecaches",
    }
    assert all(each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for each in kept)
    left = of_kind(render({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert not any("annotations" in each["metadata"] for each in left)
    assert not of_kind(render({"crds": {"enabled": False}}), "CustomResourceDefinition")


@pytest.mark.parametrize(
    ("mode", "apis", "there"),
    [("Auto", [], False), ("Auto", PROMETHEUS, True), ("Enabled", [], True), ("Disabled", PROMETHEUS, False)],
)
def test_monitoring_is_there_where_its_api_is(mode: str, apis: list[str], there: bool):
    values = {"monitoring": {"monitors": mode, "rules": mode, "dashboard": mode}}
    kinds = [each["kind"] for each in render(values, apis=apis)]
    wanted = {"PodMonitor": 2, "ServiceMonitor": 1, "PrometheusRule": 1, "ConfigMap": 2}
    none = {"PodMonitor": 0, "ServiceMonitor": 0, "PrometheusRule": 0, "ConfigMap": 1}
    assert {kind: kinds.count(kind) for kind in wanted} == (wanted if there else none)


def test_services_have_what_their_type_takes():
    asked = {"nodePort": 30080, "loadBalancerClass": "a/b", "externalTrafficPolicy": "Local"}
    specs = {
        kind: find(render({"gateway": {"service": {**asked, "type": kind}}}), "Service", "gateway")["spec"]
        for kind in ("ClusterIP", "NodePort", "LoadBalancer")
    }
    assert not {"externalTrafficPolicy", "loadBalancerClass"} & specs["ClusterIP"].keys()
    assert specs["NodePort"]["ports"][0]["nodePort"] == 30080
    assert specs["LoadBalancer"]["loadBalancerClass"] == "a/b"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_envoy_logs_no_headers(level: str):
    values = {"log": {"level": level}}
    args = find(render(values), "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--log-level") + 1] in {"info", "warning", "error"}


def test_envoy_takes_its_options(tmp_path):
    """All of them, but for the place of the bootstrap, and the node's name, which the pod fills in."""
    args = find(render(), "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]["args"]
    bootstrap = str(CHART / "files/gateway-bootstrap.json")
    argv = [str(find_envoy()), "--mode", "validate", *args]
    argv[argv.index("--config-path") + 1] = bootstrap
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(json.loads(line)["message"] for line in done.stderr.splitlines() if line)


def test_the_operator_alone_has_the_login_to_mlflow():
    manifests = render(nest({"mlflow.secretName": "mlflow", "mlflow.trackingUri": "https://mlflow"}))
    for deployment in of_kind(manifests, "Deployment"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            is_operator = container["name"] == "operator"
            assert container.get("envFrom") == ([{"secretRef": {"name": "mlflow"}}] if is_operator else None)


def test_gateway_drains_before_it_is_killed():
    pod = find(render({"gateway": {"drainSeconds": 7}}), "Deployment", "gateway")["spec"]["template"]["spec"]
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert pod["terminationGracePeriodSeconds"] == 17
