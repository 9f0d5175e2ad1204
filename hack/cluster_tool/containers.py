"""containerd: its configuration, the pods' network, and the images that it has."""

import json
from pathlib import Path

from cluster_tool.commands import call
from cluster_tool.images import PAUSE
from cluster_tool.places import CONFIG, CONTAINERD_SOCKET, POD_RANGE, RUN, STATE
from cluster_tool.probes import listens
from cluster_tool.processes import Component

CTR = ("ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io")
IMPORT_S = 600
CNI_BINARIES = "/usr/lib/cni"
CONTAINERD_CONFIG = f"""\
version = 2
root = "{STATE / "containerd"}"
state = "{RUN / "containerd"}"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# A machine that is itself a container or a small VM may not lower what the kernel kills first.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_BINARIES}"
conf_dir = "{CONFIG / "cni"}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{RUN / "runc"}"
SystemdCgroup = false
"""
# A routed link for each pod, no bridge: what a pod sends to its neighbour by way of a Service passes through the
# node's netfilter in both directions, whatever net.bridge.* says.
CNI_CONFIG = {
    "cniVersion": "0.4.0",
    "name": "forebay",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": str(STATE / "addresses"),
                "ranges": [[{"subnet": POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}


def write_config() -> None:
    (CONFIG / "cni").mkdir(parents=True, exist_ok=True)
    (CONFIG / "containerd.toml").write_text(CONTAINERD_CONFIG)
    (CONFIG / "cni/10-forebay.conflist").write_text(json.dumps(CNI_CONFIG, indent=1))


def build_containerd() -> Component:
    command = ["containerd", "--config", str(CONFIG / "containerd.toml")]
    return Component("containerd", command, lambda: listens(CONTAINERD_SOCKET), 30)


def load(archives: list[str] | list[Path]) -> None:
    for archive in archives:
        call(*CTR, "images", "import", archive, timeout_s=IMPORT_S)


def list_images() -> list[str]:
    return call(*CTR, "images", "list", "--quiet").split()


def list_blobs() -> list[str]:
    """Digests of the layers that it has, among others."""
    return call(*CTR, "content", "list", "--quiet").split()
