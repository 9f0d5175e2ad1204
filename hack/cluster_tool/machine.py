"""What the machine itself needs before a node runs on it, and how that is undone."""

import json
import os
import shutil
from pathlib import Path

from cluster_tool.commands import call, succeeds
from cluster_tool.places import CGROUP, NODE_ADDRESS, POD_RANGE, STATE
from cluster_tool.speech import ClusterError, say

# Debian's package for each program.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "ip": "iproute2",
    "mount": "mount",
    "gcc": "gcc",
    "/usr/lib/x86_64-linux-gnu/libc.a": "libc6-dev",
}
INSTALL_S = 600
# What we set, and what the kubelet sets on its own: all of it is put back.
SYSCTL = Path("/proc/sys")
KERNEL_SETTINGS = ["net/ipv4/ip_forward", "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"]
SAVED_SETTINGS = STATE / "kernel-settings.json"
CGROUPS = Path("/sys/fs/cgroup")
TABLE = "forebay-cluster"
# kube-proxy does not hide pods' addresses from what lies beyond the node.
NFT_RULES = f"""\
table ip {TABLE} {{
    chain outgoing {{
        type nat hook postrouting priority srcnat
        ip saddr {POD_RANGE} ip daddr != {POD_RANGE} oifname != "lo" masquerade
    }}
}}
"""


def ensure_root() -> None:
    if os.geteuid():
        raise ClusterError(
            "no Docker engine answers, and without one a node needs root: run hack/cluster as root, or start Docker"
        )


def ensure_packages() -> None:
    missing = [package for program, package in PACKAGES.items() if shutil.which(program, mode=os.F_OK) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"install what the node needs, by the name that Debian gives it: {' '.join(missing)}")
    say(f"installing {' '.join(missing)}")
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    if not succeeds(*install, *missing, timeout_s=INSTALL_S):
        call("apt-get", "update", "-qq", timeout_s=INSTALL_S)
        call(*install, *missing, timeout_s=INSTALL_S)


def prepare() -> None:
    if not SAVED_SETTINGS.exists():
        saved = {name: (SYSCTL / name).read_text().strip() for name in KERNEL_SETTINGS}
        SAVED_SETTINGS.write_text(json.dumps(saved))
    (SYSCTL / "net/ipv4/ip_forward").write_text("1")
    call("ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", "lo")
    # A pod that is gone has no route: without this one, what is sent to it would leave the machine.
    call("ip", "route", "replace", "unreachable", POD_RANGE)
    if not succeeds("nft", "list", "table", "ip", TABLE):
        call("nft", "-f", "-", given=NFT_RULES)
    for hierarchy in find_hierarchies():
        (hierarchy / CGROUP).mkdir(exist_ok=True)


def find_hierarchies() -> list[Path]:
    """The one of cgroup v2, or each of v1's."""
    if (CGROUPS / "cgroup.controllers").exists():
        controllers = (CGROUPS / "cgroup.controllers").read_text().split()
        for controller in controllers:
            (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if not path.is_symlink() and (path / "cgroup.procs").exists()]


def restore() -> None:
    for family, table in (("ip", TABLE), ("ip", "kube-proxy"), ("ip6", "kube-proxy")):
        if shutil.which("nft") and succeeds("nft", "list", "table", family, table):
            call("nft", "delete", "table", family, table)
    if "unreachable" in call("ip", "route", "show", POD_RANGE):
        call("ip", "route", "delete", "unreachable", POD_RANGE)
    if NODE_ADDRESS in call("ip", "-4", "address", "show", "dev", "lo"):
        call("ip", "address", "delete", f"{NODE_ADDRESS}/32", "dev", "lo")
    if SAVED_SETTINGS.exists():
        for name, value in json.loads(SAVED_SETTINGS.read_text()).items():
            (SYSCTL / name).write_text(value)
        SAVED_SETTINGS.unlink()
