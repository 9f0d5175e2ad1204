"""What the cluster holds from the start, and what its node offers."""

import json

import yaml

from cluster_tool import kubectl
from cluster_tool.places import DNS_SERVICE, GPU, NODE, NODE_ADDRESS
from cluster_tool.speech import ClusterError, say

ASK_S = 10
DNS_PORTS = [("dns", "UDP", 53), ("dns-tcp", "TCP", 53)]


def build_dns() -> list[dict]:
    """CoreDNS runs beside the pods: its Service has no selector, but the node's address."""
    metadata = {"name": "kube-dns", "namespace": "kube-system"}
    ports = [{"name": name, "protocol": protocol, "port": port} for name, protocol, port in DNS_PORTS]
    role = {"name": "forebay:coredns"}
    watched = {"": ["endpoints", "services", "pods", "namespaces"], "discovery.k8s.io": ["endpointslices"]}
    rules = [{"apiGroups": [group], "resources": kinds, "verbs": ["list", "watch"]} for group, kinds in watched.items()]
    return [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": ports,
            "metadata": metadata | {"labels": {"kubernetes.io/service-name": "kube-dns"}},
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": role,
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": role,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role["name"]},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role["name"]}],
        },
    ]  # fmt: skip


def apply(objects: list[dict]) -> None:
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(objects))


def ask_node_ready() -> str | None:
    """None when pods can run on the node, default service account and all."""
    try:
        nodes = json.loads(kubectl.run("get", "nodes", "--output=json", timeout_s=ASK_S))["items"]
        kubectl.run("get", "serviceaccount", "default", "--output=name", timeout_s=ASK_S)
    except ClusterError as error:
        return str(error)
    if not nodes:
        return "no node yet"
    if taints := nodes[0]["spec"].get("taints"):
        return f"the node has the taint {taints[0]['key']}"
    ready = next((each for each in nodes[0]["status"]["conditions"] if each["type"] == "Ready"), None)
    if ready is None:
        return "the node says nothing yet"
    return None if ready["status"] == "True" else ready["message"]


def ask_caught_up(node: str = NODE) -> str | None:
    """None when the kubelet knows its pods: one that was started again says Ready before."""
    bound = ("get", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={node}", "--output=json")
    try:
        wanted = list_uids(kubectl.run(*bound, timeout_s=ASK_S))
        known = list_uids(kubectl.run("get", f"--raw=/api/v1/nodes/{node}/proxy/pods", timeout_s=ASK_S))
    except ClusterError as error:
        return str(error)
    return None if wanted <= known else f"the kubelet doesn't know {len(wanted - known)} of its {len(wanted)} pods yet"


def list_uids(pods: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in json.loads(pods)["items"] or []}


def uncordon() -> None:
    """A test that was cut off may have left it so, and `up` means that pods run."""
    for node in json.loads(kubectl.run("get", "nodes", "--output=json", timeout_s=ASK_S))["items"]:
        if node["spec"].get("unschedulable"):
            name = node["metadata"]["name"]
            kubectl.run("uncordon", name)
            say(f"{name} was cordoned: uncordoned it")


def offer_gpus(gpus: int, node: str = NODE) -> None:
    """Kubernetes' own way to advertise an extended resource; the kubelet keeps what it doesn't know."""
    resource = GPU.replace("/", "~1")
    change = [
        {"op": "add", "path": f"/status/{part}/{resource}", "value": str(gpus)} for part in ("capacity", "allocatable")
    ]
    kubectl.run("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(change))
