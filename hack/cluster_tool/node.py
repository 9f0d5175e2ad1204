"""What runs on the node beside containerd: kubelet, kube-proxy, CoreDNS, and their configuration."""

import json
from pathlib import Path

from cluster_tool.commands import call, succeeds
from cluster_tool.control_plane import Flags, with_flags
from cluster_tool.places import (
    CERTIFICATES,
    CGROUP,
    CONFIG,
    CONTAINERD_SOCKET,
    DNS_SERVICE,
    LOGS,
    NODE,
    NODE_ADDRESS,
    POD_RANGE,
    STATE,
)  # fmt: skip
from cluster_tool.probes import answers
from cluster_tool.processes import Component

KUBELET_CONFIG = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "address": NODE_ADDRESS,
    "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(CERTIFICATES / "ca.crt")}},
    "tlsCertFile": str(CERTIFICATES / "kubelet.crt"),
    "tlsPrivateKeyFile": str(CERTIFICATES / "kubelet.key"),
    "clusterDNS": [DNS_SERVICE],
    "clusterDomain": "cluster.local",
    "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
    "cgroupDriver": "cgroupfs",
    "cgroupRoot": f"/{CGROUP}",
    "enforceNodeAllocatable": [],
    "evictionHard": {},
    "failSwapOn": False,
    # It would put chains of its own into the machine's iptables, which nobody here uses, and leave them there.
    "makeIPTablesUtilChains": False,
    "featureGates": {"KubeletInUserNamespace": True},
    # Our images come from no registry: once collected, they could not be pulled again.
    "imageGCHighThresholdPercent": 100,
    "podLogsDir": str(LOGS / "pods"),
    "volumePluginDir": str(STATE / "volume-plugins"),
    "registryPullQPS": 0,
    "eventRecordQPS": 0,
    "shutdownGracePeriod": "0s",
}
COREFILE = f"""\
.:53 {{
    bind {NODE_ADDRESS}
    errors
    ready 127.0.0.1:10252
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {CONFIG / "coredns.kubeconfig"}
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    cache 5
    {{forward}}
}}
"""


def write_config() -> None:
    (CONFIG / "kubelet.json").write_text(json.dumps(KUBELET_CONFIG, indent=1))
    resolver = Path("/etc/resolv.conf")
    knows_more = resolver.exists() and "nameserver" in resolver.read_text()
    (CONFIG / "Corefile").write_text(COREFILE.replace("{forward}", f"forward . {resolver}" if knows_more else ""))


def share_kubelet_folder() -> None:
    """Let others see the mounts that a pod makes there, as where systemd started a machine: for CSI drivers."""
    folder = STATE / "kubelet"
    folder.mkdir(exist_ok=True)
    if not succeeds("mountpoint", "--quiet", folder):
        call("mount", "--bind", folder, folder)
    call("mount", "--make-rshared", folder)


def build_kubelet(kubernetes: Path) -> Component:
    flags: Flags = {
        "config": CONFIG / "kubelet.json",
        "kubeconfig": CONFIG / "kubelet.kubeconfig",
        "root-dir": STATE / "kubelet",
        "hostname-override": NODE,
        "node-ip": NODE_ADDRESS,
    }
    return Component(
        "kubelet", with_flags(kubernetes, "kubelet", flags), lambda: answers("http://127.0.0.1:10248/healthz")
    )


def build_proxy(kubernetes: Path) -> Component:
    flags: Flags = {
        "kubeconfig": CONFIG / "kube-proxy.kubeconfig",
        "proxy-mode": "nftables",
        "cluster-cidr": POD_RANGE,
        "hostname-override": NODE,
        # Leave the machine's limits as they are.
        "conntrack-max-per-core": "0",
        "conntrack-tcp-timeout-established": "0s",
        "conntrack-tcp-timeout-close-wait": "0s",
        "healthz-bind-address": "127.0.0.1:10256",
        "metrics-bind-address": "127.0.0.1:10249",
    }
    url = "http://127.0.0.1:10256/healthz"
    return Component("kube-proxy", with_flags(kubernetes, "kube-proxy", flags), lambda: answers(url))


def build_dns(kubernetes: Path) -> Component:
    command = [str(kubernetes), "coredns", "-conf", str(CONFIG / "Corefile")]
    return Component("coredns", command, lambda: answers("http://127.0.0.1:10252/ready"))
