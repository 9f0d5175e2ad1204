"""The test cluster itself: what later tests stand on. The last test throws the cluster away and starts it again."""

import json
import re
import subprocess

import httpx
import pytest

from tests.e2e.cluster import IMAGE, RESTRICTED, Kubectl, eventually, hack_cluster

pytestmark = pytest.mark.timeout(600)

WARM_S = 40
GPU = "nvidia.com/gpu"
WWW = [{"name": "www", "mountPath": "/www"}]
SIDECAR = {
    "name": "sidecar", "image": IMAGE, "restartPolicy": "Always", "securityContext": RESTRICTED,
    "command": ["httpd", "-f", "-p", "8081"],
    "startupProbe": {"tcpSocket": {"port": 8081}, "periodSeconds": 1},
}  # fmt: skip
SCRIPT = """
nc -w 5 127.0.0.1 8081 </dev/null && echo sidecar is here
hostname > /www/index.html
exec httpd -f -p 8080 -h /www
"""
WEB = {
    "name": "web", "image": IMAGE, "securityContext": RESTRICTED, "volumeMounts": WWW,
    # It asks the sidecar first: that was there before it.
    "command": ["sh", "-c", SCRIPT],
    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    "resources": {"requests": {"cpu": "10m"}},
}  # fmt: skip
LABELS = {"app": "web"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"initContainers": [SIDECAR], "containers": [WEB], "volumes": [{"name": "www", "emptyDir": {}}]},
        },
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": LABELS, "ports": [{"port": 80, "targetPort": 8080}]},
}
HPA = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2,
        "maxReplicas": 3,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }
        ],
    },
}


def build_pod(name: str, *, resources: dict | None = None, security: dict = RESTRICTED) -> dict:
    container = {
        "name": "main", "image": IMAGE, "command": ["sleep", "3600"], "securityContext": security,
        "resources": resources or {},
    }  # fmt: skip
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def web(namespace: Kubectl) -> Kubectl:
    namespace.apply(DEPLOYMENT, SERVICE, build_pod("client"))
    namespace("rollout", "status", "deployment/web", "--timeout=60s", timeout_s=70)
    namespace("wait", "pod/client", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
    return namespace


def list_web_pods(web: Kubectl) -> set[str]:
    return {pod["metadata"]["name"] for pod in web.get("pods", "--selector=app=web")["items"]}


def test_service_reaches_every_pod_by_name(web):
    names = set()

    def fetch() -> bool:
        names.add(web("exec", "client", "--", "wget", "-q", "-O", "-", "http://web").strip())
        return names == list_web_pods(web)

    assert eventually(fetch)


@pytest.mark.parametrize("name", ["kubernetes.default.svc.cluster.local", "web"])
def test_names_resolve_in_pods(web, name):
    service, _, rest = name.partition(".")
    found = web.within(rest.split(".")[0]).get("service", service) if rest else web.get("service", service)
    query = name if rest else f"{name}.{web.namespace}.svc.cluster.local"
    assert found["spec"]["clusterIP"] in web("exec", "client", "--", "nslookup", query)


def test_apiserver_is_reached_from_pods(web):
    web("exec", "client", "--", "sh", "-c", "nc -w 5 kubernetes.default 443 </dev/null")


def test_logs_and_native_sidecar(web):
    pod = sorted(list_web_pods(web))[0]
    assert web("logs", pod, "--container=web") == "sidecar is here\n"
    sidecar = web.get("pod", pod)["status"]["initContainerStatuses"][0]
    assert sidecar["ready"]
    assert "running" in sidecar["state"]


def test_exec_runs_as_an_ordinary_user(web):
    assert web("exec", "client", "--", "id", "-u").strip() == "65532"
    failed = web.run("exec", "client", "--", "sh", "-c", "exit 3")
    assert failed.returncode == 3


def test_port_forward(web):
    with subprocess.Popen(
        [web.program, f"--kubeconfig={web.kubeconfig}", "-n", web.namespace, "port-forward", "service/web", ":80"],
        stdout=subprocess.PIPE, text=True,
    ) as forward:  # fmt: skip
        try:
            port = re.search(r"127.0.0.1:(\d+)", forward.stdout.readline())[1]
            got = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
        finally:
            forward.terminate()
    assert got.text.strip() in list_web_pods(web)


def test_autoscaler_is_accepted_and_looked_at(web):
    web.apply(HPA)
    conditions = eventually(lambda: web.get("hpa", "web")["status"].get("conditions"))
    assert {each["type"]: each["status"] for each in conditions}["AbleToScale"] == "True"
    web("delete", "hpa", "web")


def test_pod_security_is_enforced(namespace):
    refused = namespace.run("create", "-f", "-", given=json.dumps(build_pod("root", security={"privileged": True})))
    assert refused.returncode
    assert 'violates PodSecurity "restricted:latest"' in refused.stderr


def test_fake_gpus_are_scheduled_and_run_out(namespace):
    pods = [build_pod(f"gpu-{index}", resources={"limits": {GPU: "1"}}) for index in range(4)]
    namespace.apply(*pods)
    names = [f"pod/gpu-{index}" for index in range(4)]
    namespace("wait", *names, "--for=condition=Ready", "--timeout=60s", timeout_s=70)
    namespace.apply(build_pod("gpu-4", resources={"limits": {GPU: "1"}}))

    def explain() -> str | None:
        conditions = namespace.get("pod", "gpu-4")["status"].get("conditions", [])
        return next((each["message"] for each in conditions if each.get("reason") == "Unschedulable"), None)

    assert f"Insufficient {GPU}" in eventually(explain)
    namespace("delete", names[0], "--wait=false")
    namespace("wait", "pod/gpu-4", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
    namespace("delete", "pod/gpu-4", *names[1:], "--wait=false")


def test_up_again_changes_nothing(kubectl):
    before = hack_cluster("status")
    assert before.returncode == 0, before.stderr
    assert hack_cluster("up").returncode == 0
    assert hack_cluster("status").stderr == before.stderr
    assert kubectl.get("nodes")["items"][0]["status"]["allocatable"][GPU] == "4"
