"""Forebay on the test cluster: its images, and its chart from this checkout."""

import contextlib
import subprocess
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.e2e.cluster import HACK, Kubectl, eventually

ROOT = HACK.parent
HELM = ROOT / ".venv/bin/helm"
CHART = ROOT / "charts/forebay"
SYSTEM = "forebay-system"
RELEASE = "forebay"
ROLLOUT_S = 120


def build_images() -> None:
    """What has changed is built, and what the cluster lacks is loaded."""
    done = subprocess.run([HACK / "images"], capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr


def helm(kubectl: Kubectl, *arguments: str | Path, timeout_s: float = ROLLOUT_S + 10) -> str:
    command = [HELM, "--kubeconfig", kubectl.kubeconfig, "--namespace", SYSTEM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{describe_system(kubectl)}"
    return done.stdout


def install(kubectl: Kubectl, chart: Path = CHART, *options: str) -> None:
    """Two of each part, in a namespace that enforces Pod Security `restricted` as well."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": labels}})
    forget_interrupted(kubectl)
    images = Path(kubectl.kubeconfig).with_name("images.yaml")
    lean = [f"--set={part}.resources.requests.cpu=20m" for part in ("operator", "gateway.envoy", "gateway.pilot")]
    # As long as the pilot drains at most; more is for load balancers that are slow to hear of it.
    lean.append("--set=gateway.drainSeconds=13")
    waiting = ("--wait", f"--timeout={ROLLOUT_S}s")
    helm(kubectl, "upgrade", "--install", RELEASE, chart, "--values", images, *lean, *options, *waiting)
    # Pods of a version before finish what they have.
    eventually(lambda: is_alone(kubectl), timeout_s=90, explain=lambda: describe_system(kubectl))


def is_alone(kubectl: Kubectl) -> bool:
    """Whether there are no pods but those that the Deployments want."""
    found = kubectl.within(SYSTEM).get("deployments", f"--selector=app.kubernetes.io/instance={RELEASE}")["items"]
    return len(list_pods(kubectl)) == sum(each["spec"]["replicas"] for each in found)


def forget_interrupted(kubectl: Kubectl) -> None:
    """Helm refuses for ever after one that was killed: what is still pending after the time of a rollout is over."""
    pending = ("secrets", "--selector=owner=helm,status in (pending-install,pending-upgrade)")
    system = kubectl.within(SYSTEM)
    with contextlib.suppress(AssertionError):
        eventually(lambda: not system("get", *pending, "--output=name"), timeout_s=ROLLOUT_S)
    system("delete", *pending)


def read_images(kubectl: Kubectl) -> dict[str, str]:
    """What hack/images made last, as the chart's values name it."""
    found: dict[str, str] = yaml.safe_load(Path(kubectl.kubeconfig).with_name("images.yaml").read_text())["images"]
    return found


def list_pods(kubectl: Kubectl, component: str = "") -> list[dict[str, Any]]:
    """The pods of the operator, of the gateway and of the metrics API, or of one of these."""
    selector = f"app.kubernetes.io/instance={RELEASE}"
    selector += f",app.kubernetes.io/component={component}" if component else ""
    found: list[dict[str, Any]] = kubectl.within(SYSTEM).get("pods", f"--selector={selector}")["items"]
    return found


def find_gateway(kubectl: Kubectl) -> str:
    """HOST:PORT of the gateway's Service, by its ClusterIP: the node is this machine."""
    spec = kubectl.within(SYSTEM).get("service", "forebay-gateway")["spec"]
    return f"{spec['clusterIP']}:{spec['ports'][0]['port']}"


def read_routes(kubectl: Kubectl) -> list[dict[str, Any]]:
    """What each pilot says that its Envoy routes, by NAMESPACE/NAME; nothing while it is away."""
    addresses = [pod["status"]["podIP"] for pod in list_pods(kubectl, "gateway")]
    return [ask_pilot(each) for each in addresses]


def ask_pilot(address: str) -> dict[str, Any]:
    try:
        answer = httpx.get(f"http://{address}:9090/routes", trust_env=False, timeout=5)
    except httpx.TransportError:
        return {}
    found: dict[str, Any] = answer.raise_for_status().json()["routes"]
    return found


def describe_system(kubectl: Kubectl) -> str:
    system = kubectl.within(SYSTEM)
    pods = system.run("get", "pods", "--output=wide").stdout
    logs = system.run("logs", "--selector=app.kubernetes.io/component=operator", "--tail=15", "--prefix").stdout
    return f"{pods}\n{logs}"
