"""What Helm makes of the chart, for all values at the edges of the schema: valid, restricted, and consistent."""

import json
import re
import shutil
from dataclasses import fields
from functools import cache

import kubernetes_validate
import pytest

from forebay.cluster.kinds import OLDEST_MINOR
from forebay.environment import PREFIX, read
from forebay.gateway.settings import PilotSettings
from forebay.metrics_api.settings import MetricsApiSettings
from forebay.plan import envoy_gateway
from forebay.plan.images import Images
from forebay.settings import Settings
from tests.chart.charts import (
    CHART,
    PROMETHEUS,
    Json,
    containers,
    find,
    nest,
    of_kind,
    pod_labels,
    render,
    template,
)
from tests.chart.edges import combine, read_edges

# The oldest that the chart takes, and the newest that is known here.
OLDEST, NEWEST = f"1.{OLDEST_MINOR}", "1.34"
FOREIGN = ("monitoring.coreos.com/", "gateway.networking.k8s.io/")
SETS = combine(read_edges())
each_set = pytest.mark.parametrize("place", range(len(SETS)))


@cache
def render_set(place: int) -> list[Json]:
    values = dict(SETS[place])
    if values["httpRoute.enabled"] and not values["httpRoute.parentRefs"]:
        values["httpRoute.parentRefs"] = [{"name": "public"}]  # else the schema refuses it
    if values["autoscaling.provider"] == "keda" and not values["autoscaling.prometheusUrl"]:
        values["autoscaling.prometheusUrl"] = "http://prometheus"  # and here
    return render(nest(values), apis=PROMETHEUS if place % 2 else ())


def test_every_two_edges_meet():
    assert 20 < len(SETS) < 80
    assert {(one["gateway.service.type"], one["monitoring.rules"]) for one in SETS} >= {("NodePort", "Enabled")}


@each_set
def test_kubernetes_takes_it(place: int):
    manifests = render_set(place)
    ids = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in manifests]
    assert len(set(ids)) == len(ids), "two objects of one name"
    for manifest in manifests:
        # A CRD is validated once: it takes as long as all else together.
        if not manifest["apiVersion"].startswith(FOREIGN) and manifest["kind"] != "CustomResourceDefinition":
            validate(json.dumps(manifest))


@cache
def validate(manifest: str) -> None:
    """Most are the same in many sets."""
    kubernetes_validate.validate(json.loads(manifest), NEWEST, strict=True)


def test_the_chart_takes_what_the_command_takes():
    assert f'\nkubeVersion: ">={OLDEST}.0-0"\n' in (CHART / "Chart.yaml").read_text()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_the_defaults(version: str):
    for manifest in render():
        kubernetes_validate.validate(manifest, version, strict=True)


@each_set
def test_pods_are_restricted(place: int):
    for deployment in of_kind(render_set(place), "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(deployment):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"]


@each_set
def test_names_and_ports_agree(place: int):
    manifests = render_set(place)
    for deployment in of_kind(manifests, "Deployment"):
        check_deployment(deployment, manifests)
    for manifest in manifests:
        check_references(manifest, manifests)


def check_deployment(deployment: Json, manifests: list[Json]) -> None:
    spec = deployment["spec"]["template"]["spec"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pod_labels(deployment).items()
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert {mount["name"] for each in containers(deployment) for mount in each["volumeMounts"]} == set(volumes)
    maps = {each["configMap"]["name"] for each in volumes.values() if "configMap" in each}
    assert maps <= {each["metadata"]["name"] for each in of_kind(manifests, "ConfigMap")}
    for container in containers(deployment):
        ports = {port["name"] for port in container["ports"]}
        for probe in [container[key] for key in container if key.endswith("Probe")]:
            assert (probe.get("httpGet") or probe["tcpSocket"])["port"] in ports
    for spread in spec["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= pod_labels(deployment).items()


def check_references(manifest: Json, manifests: list[Json]) -> None:
    kind, spec = manifest["kind"], manifest.get("spec", {})
    if kind == "Service":
        assert spec["ports"][0]["targetPort"] in list_ports(manifests, spec["selector"])
    elif kind == "PodDisruptionBudget":
        assert list_ports(manifests, spec["selector"]["matchLabels"])
    elif kind == "NetworkPolicy":
        wanted = {port["port"] for rule in spec["ingress"] for port in rule["ports"]}
        assert wanted <= list_ports(manifests, spec["podSelector"]["matchLabels"])
    elif kind == "HorizontalPodAutoscaler":
        target = find(manifests, "Deployment", spec["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"]
        assert spec["minReplicas"] <= spec["maxReplicas"]
    elif kind in ("Ingress", "HTTPRoute"):
        service = find(manifests, "Service", "gateway")
        text = str(manifest)
        assert f"'name': '{service['metadata']['name']}'" in text
        assert f"'port': {service['spec']['ports'][0]['port']}" in text or "'port': {'name': 'http'}" in text
    elif kind.endswith("RoleBinding"):
        if manifest["roleRef"]["name"] == "extension-apiserver-authentication-reader":
            assert manifest["metadata"]["namespace"] == "kube-system", "where Kubernetes has this role"
            return
        role = find_named(manifests, kind.removesuffix("Binding"), manifest["roleRef"]["name"], manifest)
        assert role["rules"]
        check_subject(manifest["subjects"], manifests)


def list_ports(manifests: list[Json], selector: dict[str, str]) -> set[str]:
    """The ports of the one Deployment or DaemonSet whose pods a selector finds."""
    workloads = of_kind(manifests, "Deployment", "DaemonSet")
    found = [each for each in workloads if selector.items() <= pod_labels(each).items()]
    assert len(found) == 1, f"{selector} selects {len(found)} workloads"
    return {port["name"] for container in containers(found[0]) for port in container["ports"]}


def find_named(manifests: list[Json], kind: str, name: str, beside: Json) -> Json:
    namespace = beside["metadata"].get("namespace")
    return next(
        each
        for each in of_kind(manifests, kind)
        if each["metadata"]["name"] == name and each["metadata"].get("namespace") == namespace
    )


def check_subject(subjects: list[Json], manifests: list[Json]) -> None:
    (subject,) = subjects
    used = {
        (each["metadata"]["namespace"], each["spec"]["template"]["spec"]["serviceAccountName"])
        for each in of_kind(manifests, "Deployment", "DaemonSet")
    }
    assert (subject["namespace"], subject["name"]) in used
    for account in of_kind(manifests, "ServiceAccount"):
        assert (account["metadata"]["namespace"], account["metadata"]["name"]) in used


@each_set
def test_the_operator_takes_its_environment(place: int):
    for deployment in of_kind(render_set(place), "Deployment"):
        for container in containers(deployment):
            check_environment(container["env"], whole=container["name"] == "operator")


@pytest.mark.parametrize(
    ("hosts", "allowed"), [(["*"], ("*",)), (["a.test", "*.b.test"], ("a.test", "*.b.test")), ([], ())]
)
def test_the_hosts_that_are_asked_and_told(hosts: list[str], allowed: tuple[str, ...]):
    (operator,) = containers(find(render({"notifications": {"hosts": hosts}}), "Deployment", "forebay-operator"))
    given = {each["name"]: each["value"] for each in operator["env"] if "value" in each}
    settings = read(Settings, {"FOREBAY_NOTIFICATION_HOSTS": given["FOREBAY_NOTIFICATION_HOSTS"]})
    assert settings.notified_hosts == allowed
    assert (given["FOREBAY_NOTIFICATIONS"] == "true") == bool(hosts)


def check_environment(env: list[Json], *, whole: bool) -> None:
    given = {each["name"]: each.get("value", "x") for each in env if each["name"].startswith(PREFIX)}
    operators = {PREFIX + field.name.upper() for field in fields(Settings)}
    # What all are given some of them have no use for.
    assert set(given) <= operators | {PREFIX + field.name.upper() for field in fields(MetricsApiSettings)}
    for settings in (Settings, PilotSettings, MetricsApiSettings):
        read(settings, given)
    # The port is the chart's: 9090.
    assert not whole or operators - set(given) == {f"{PREFIX}PORT"}


def test_images_are_those_of_this_version():
    manifests = render()
    version = re.search(r"^appVersion: (.+)$", (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert version
    operator = find(manifests, "Deployment", "operator")["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each.get("value") for each in operator["env"]}
    assert operator["image"] == f"ghcr.io/forebay/operator:{version[1]}"
    assert Images() == Images(
        envoy=env["FOREBAY_IMAGE_ENVOY"],
        triton=env["FOREBAY_IMAGE_TRITON"],
        operator=env["FOREBAY_IMAGE_OPERATOR"],
        runtime=env["FOREBAY_IMAGE_RUNTIME"],
    )
    gateway = {each["name"]: each["image"] for each in containers(find(manifests, "Deployment", "gateway"))}
    assert gateway == {"envoy": Images().envoy, "pilot": operator["image"]}


def test_ports_and_sockets_are_those_of_the_bootstrap():
    bootstrap = (CHART / "files/gateway-bootstrap.json").read_text()
    gateway = find(render(), "Deployment", "gateway")
    envoy, pilot = containers(gateway)
    ready = json.loads(bootstrap)["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
    ports = {port["name"]: port["containerPort"] for port in envoy["ports"]}
    assert ports == {"http": envoy_gateway.GATEWAY_PORT, "ready": ready}
    sockets = set(re.findall(r'"path": "(/.*)/[^/]+\.sock"', bootstrap))
    assert sockets
    for container in (envoy, pilot):
        assert sockets <= {each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")}


def test_a_changed_bootstrap_is_a_new_pod(tmp_path):
    shutil.copytree(CHART, tmp_path / "forebay")
    before = find(render(), "Deployment", "gateway")["spec"]["template"]["metadata"]["annotations"]
    bootstrap = tmp_path / "forebay/files/gateway-bootstrap.json"
    bootstrap.write_text(bootstrap.read_text().replace("0.0.0.0", "127.0.0.1"))
    after = template(chart=tmp_path / "forebay").stdout
    assert before["checksum/bootstrap"] not in after


@pytest.mark.parametrize(("release", "prefix"), [("forebay", "forebay-"), ("models", "models-forebay-")])
def test_names_begin_with_the_release(release: str, prefix: str):
    for manifest in render({"crds": {"enabled": False}}, release=release):
        # An APIService is called after its API.
        assert manifest["metadata"]["name"].startswith(prefix) or manifest["kind"] == "APIService"


def test_a_long_release_fits():
    names_of = [each["metadata"]["name"] for each in render({"crds": {"enabled": False}}, release="r" * 53)]
    assert max(map(len, names_of)) <= 63


def test_only_the_pilot_has_a_token():
    deployments = of_kind(render(), "Deployment")
    mounted = [
        container["name"]
        for deployment in deployments
        for container in containers(deployment)
        if any(mount["name"] == "token" for mount in container["volumeMounts"])
    ]
    assert mounted == ["pilot"]
    automatic = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in deployments}
    assert automatic["forebay-operator"]["automountServiceAccountToken"] is True
    assert automatic["forebay-gateway"]["automountServiceAccountToken"] is False
