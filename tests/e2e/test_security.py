"""What must not be reached, read or allowed, in the pods as they run."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.e2e import installation
from tests.e2e.bucket import READER, Bucket
from tests.e2e.cluster import Kubectl
from tests.e2e.installation import SYSTEM
from tests.e2e.models import (
    ask,
    build_digits,
    build_doubler,
    build_secret,
    list_events,
    list_pods,
    wait_ready,
)

pytestmark = pytest.mark.timeout(180)

NAMESPACE = "test-security"
API_KEY = "canary-api-key-of-alice"
VARIABLE = "canary-variable-of-a-pod"
CANARIES = (API_KEY, VARIABLE, READER[1])
# CVE-2025-23310, -23316, -23317, -23319, -23320 and -23334 are of these.
REST = [
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/digits/load"),
    ("POST", "/v2/repository/models/digits/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/region/a/register"),
    ("POST", "/v2/systemsharedmemory/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("POST", "/v2/cudasharedmemory/region/a/register"),
    ("GET", "/v2/trace/setting"),
    ("POST", "/v2/trace/setting"),
    ("POST", "/v2/models/digits/trace/setting"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
    # Written so that a careless filter lets them pass.
    ("POST", "/v2/models/digits/../../repository/index"),
    ("POST", "/v2//repository/index"),
    ("POST", "/v2/%72epository/index"),
    ("POST", "/v2/models/..%2frepository/index"),
    ("POST", "/V2/repository/index"),
]
GRPC = [
    ("RepositoryIndex", service_pb2.RepositoryIndexRequest()),
    ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="digits")),
    ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(model_name="digits")),
    ("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest()),
    ("SystemSharedMemoryRegister", service_pb2.SystemSharedMemoryRegisterRequest(name="a", key="/a", byte_size=8)),
    ("SystemSharedMemoryUnregister", service_pb2.SystemSharedMemoryUnregisterRequest()),
    ("CudaSharedMemoryStatus", service_pb2.CudaSharedMemoryStatusRequest()),
    ("TraceSetting", service_pb2.TraceSettingRequest()),
    ("LogSettings", service_pb2.LogSettingsRequest()),
]
CLOSED_PORTS = {"REST": 8000, "gRPC": 8001, "metrics": 8002, "egress": 8100, "admin": 9901}
# Asks the gateway's Envoy, whose admin is a unix socket that nobody outside its pod reaches.
DUMP = """
import http.client, socket, sys
admin = http.client.HTTPConnection("admin", timeout=20)
admin.sock = socket.socket(socket.AF_UNIX)
admin.sock.connect("/run/forebay/admin.sock")
admin.request("GET", sys.argv[1])
print(admin.getresponse().read().decode())
"""


@pytest.fixture(scope="module")
def models(namespace: Kubectl, gateway: str, bucket: Bucket) -> str:
    """digits behind API keys, and a doubler that knows a secret; the namespace enforces `restricted`."""
    secrets = {"store": bucket.credentials, "keys": {"alice": API_KEY}, "variables": {"main": VARIABLE}}
    namespace.apply(*(build_secret(name, values) for name, values in secrets.items()))
    digits = build_digits(uri="s3://models/digits", secret="store")
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "variables", "key": "main"}}}]
    locked = build_doubler("locked", container={"env": env})
    locked["spec"]["access"] = {"apiKeys": {"secretName": "keys"}}
    namespace.apply(digits, locked)
    wait_ready(namespace, "digits", "locked")
    # Whatever tells of requests has some to tell of.
    assert ask(gateway, NAMESPACE, "locked", **{"x-api-key": API_KEY}).status_code == 200
    assert ask(gateway, NAMESPACE, "locked", **{"x-api-key": "wrong"}).status_code == 401
    return gateway


@pytest.fixture(params=["gateway", "predictor", "transformer"])
def place(request: pytest.FixtureRequest, models: str, namespace: Kubectl) -> tuple[str, str]:
    """HOST:PORT, and the path before all paths: of the gateway, and of each pod itself."""
    if request.param == "gateway":
        return models, f"/{NAMESPACE}/digits"
    (pod,) = list_pods(namespace, "digits", request.param)
    return f"{pod['status']['podIP']}:8080", ""


def request_raw(method: str, place: tuple[str, str], path: str) -> httpx.Response:
    """The path as it is written."""
    with httpx.Client(trust_env=False, timeout=10) as client:
        request = client.build_request(method, f"http://{place[0]}/", json={} if method == "POST" else None)
        request.url = request.url.copy_with(raw_path=f"{place[1]}{path}".encode())
        return client.send(request)


@pytest.mark.parametrize(("method", "path"), REST)
def test_tritons_other_endpoints_are_unreachable_over_rest(place: tuple[str, str], method: str, path: str) -> None:
    answer = request_raw(method, place, path)
    assert answer.status_code in {400, 404}, answer.text
    assert answer.headers.get("x-forebay-reason") in {"path-not-served", "no-such-deployment", None}
    assert "NV-Status" not in answer.headers
    assert "digits/1" not in answer.text


@pytest.mark.parametrize(("method", "message"), GRPC, ids=[name for name, _ in GRPC])
def test_tritons_other_endpoints_are_unreachable_over_grpc(place: tuple[str, str], method: str, message: Any) -> None:
    with grpc.insecure_channel(place[0]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        metadata = [("forebay-deployment", f"{NAMESPACE}/digits")]
        with pytest.raises(grpc.RpcError) as caught:
            getattr(stub, method)(message, metadata=metadata, timeout=10)
    assert caught.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND}
    assert "path" in caught.value.details()


def test_what_is_for_clients_passes(place: tuple[str, str]) -> None:
    assert request_raw("GET", place, "/v2/models/digits").json()["name"] == "digits"


@pytest.mark.parametrize("port", CLOSED_PORTS.values(), ids=CLOSED_PORTS)
@pytest.mark.usefixtures("models")
def test_what_listens_on_loopback_is_unreachable_by_the_pods_address(namespace: Kubectl, port: int) -> None:
    for pod in list_pods(namespace, "digits"):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{pod['status']['podIP']}:{port}/", trust_env=False, timeout=5)


@pytest.mark.parametrize("path", ["/config_dump", "/stats", "/quitquitquit", "/runtime_modify?a=b"])
@pytest.mark.usefixtures("models")
def test_admins_are_unreachable_through_open_ports(kubectl: Kubectl, namespace: Kubectl, path: str) -> None:
    pods = list_pods(namespace, "digits")
    places = [f"{pod['status']['podIP']}:{port}" for pod in pods for port in (8080, 9090)]
    gateways = installation.list_pods(kubectl, "gateway")
    places += [f"{pod['status']['podIP']}:{port}" for pod in gateways for port in (8080, 8081, 9090)]
    for place in places:
        for method in ("GET", "POST"):
            assert request_raw(method, (place, ""), path).status_code in {404, 405}, place


def test_no_secret_is_told_to_anybody(models: str, kubectl: Kubectl, namespace: Kubectl) -> None:
    for where, text in collect_what_others_read(kubectl, namespace):
        assert text, where
        for canary in CANARIES:
            assert canary not in text, f"{canary} is in {where}"


def collect_what_others_read(kubectl: Kubectl, namespace: Kubectl) -> Iterator[tuple[str, str]]:
    system = kubectl.within(SYSTEM)
    for pod in installation.list_pods(kubectl):
        name, address = pod["metadata"]["name"], pod["status"]["podIP"]
        for container in pod["spec"]["containers"]:
            # Envoy logs no requests.
            yield f"log of {name}", system("logs", name, "-c", container["name"]) or "nothing"
        yield f"metrics of {name}", httpx.get(f"http://{address}:9090/metrics", trust_env=False).text
        if "gateway" in name:
            yield f"routes of {name}", httpx.get(f"http://{address}:9090/routes", trust_env=False).text
    for pod in list_pods(namespace, "digits") + list_pods(namespace, "locked"):
        name, address = pod["metadata"]["name"], pod["status"]["podIP"]
        yield f"logs of {name}", namespace("logs", name, "--all-containers")
        yield f"the pod {name}", json.dumps(pod)
        yield f"stats of {name}", httpx.get(f"http://{address}:9090/stats/prometheus", trust_env=False).text
    for name in ("digits", "locked"):
        yield f"description of {name}", namespace("describe", "md", name)
        yield f"the object {name}", json.dumps(namespace.get("md", name))
        yield f"events of {name}", json.dumps(list_events(namespace, name))
    yield "all events", json.dumps(namespace.get("events"))
    kinds = "deployments,replicasets,services,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies"
    yield "children", json.dumps(namespace.get(f"{kinds},controllerrevisions"))


def test_the_gateways_config_dump_tells_no_key(models: str, kubectl: Kubectl) -> None:
    """Its admin is for its own pod alone, and who may exec into that may read what is in its memory as well."""
    (pod, *_) = installation.list_pods(kubectl, "gateway")
    arguments = ("-c", "pilot", "--", "python", "-c", DUMP, "/config_dump?include_eds")
    dump = kubectl.within(SYSTEM)("exec", pod["metadata"]["name"], *arguments)
    assert f"{NAMESPACE}/locked" in dump
    for canary in CANARIES:
        assert canary not in dump


def test_every_pod_is_restricted(models: str, kubectl: Kubectl, namespace: Kubectl) -> None:
    for where in (namespace, kubectl.within(SYSTEM)):
        labels = kubectl.get("namespace", where.namespace)["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = installation.list_pods(kubectl) + list_pods(namespace, "digits") + list_pods(namespace, "locked")
    for pod in pods:
        spec = pod["spec"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            context = {**spec["securityContext"], **container["securityContext"]}
            assert context["readOnlyRootFilesystem"]
            assert context["runAsNonRoot"]
            assert context["runAsUser"] == 1000
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not context["allowPrivilegeEscalation"]


def test_model_pods_have_no_token_and_a_read_only_root(models: str, namespace: Kubectl) -> None:
    look = "cat /var/run/secrets/kubernetes.io/serviceaccount/token; touch /x; id -u; grep CapEff /proc/self/status"
    for pod in list_pods(namespace, "digits") + list_pods(namespace, "locked"):
        assert not pod["spec"]["automountServiceAccountToken"]
        role = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        seen = namespace.run("exec", pod["metadata"]["name"], "-c", role, "--", "sh", "-c", look)
        assert "No such file or directory" in seen.stderr
        assert "Read-only file system" in seen.stderr
        assert seen.stdout.split() == ["1000", "CapEff:", "0000000000000000"]


def test_what_the_accounts_may(models: str, kubectl: Kubectl) -> None:
    def may(account: str, *what: str) -> bool:
        who = f"--as=system:serviceaccount:{account}"
        return kubectl.run("auth", "can-i", *what, who, f"--namespace={NAMESPACE}").stdout.strip() == "yes"

    operator, gateway, model = f"{SYSTEM}:forebay-operator", f"{SYSTEM}:forebay-gateway", f"{NAMESPACE}:digits"
    assert may(operator, "patch", "deployments.apps")
    for verb in ("get", "list", "watch"):
        assert not may(operator, verb, "secrets")
    assert may(gateway, "get", "secrets")
    for what in (("list", "secrets"), ("patch", "deployments.apps"), ("patch", "modeldeployments.forebay.dev")):
        assert not may(gateway, *what)
    for what in (("get", "secrets"), ("get", "pods"), ("get", "modeldeployments.forebay.dev")):
        assert not may(model, *what)


def test_network_policies_say_who_may_reach_pods(models: str, namespace: Kubectl) -> None:
    """What they say: the test cluster's network (CNI bridge) does not enforce them."""
    policy = namespace.get("networkpolicy", "digits-predictor")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    work, metrics = policy["ingress"]
    assert [port["port"] for port in work["ports"]] == [8080]
    assert [port["port"] for port in metrics["ports"]] == [9090]
    callers = [each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in work["from"]]
    assert callers == ["gateway", "transformer"]
    assert work["from"][0]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}}
    selector = ",".join(f"{key}={value}" for key, value in policy["podSelector"]["matchLabels"].items())
    selected = namespace("get", "pods", f"--selector={selector}", "--output=name").split()
    assert selected == [f"pod/{pod['metadata']['name']}" for pod in list_pods(namespace, "digits", "predictor")]
    entry = namespace.get("networkpolicy", "digits-transformer")["spec"]["ingress"][0]["from"]
    assert [each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in entry] == ["gateway"]


def test_a_clients_name_can_not_be_forged(models: str, namespace: Kubectl) -> None:
    given = tritonclient.grpc.InferInput("x", [1, 2], "FP32")
    given.set_data_from_numpy(np.zeros((1, 2), np.float32))
    headers = {"forebay-deployment": f"{NAMESPACE}/locked", "x-forebay-client": "alice"}
    with tritonclient.grpc.InferenceServerClient(models) as client, pytest.raises(InferenceServerException):
        client.infer("locked", [given], headers=headers)
