"""The end of the test cluster, and its next start. What others put into it is gone afterwards: this file runs last."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.cluster import IMAGE, Kubectl, hack_cluster

pytestmark = pytest.mark.timeout(600)

WARM_S = 40
PROGRAMS = ("kubernetes", "containerd", "containerd-shim-runc-v2", "pause")
FOLDERS = [
    "/run/forebay-cluster", "/run/containerd", "/run/netns", "/var/lib/kubelet", "/var/lib/cni", "/var/log/containers",
    "/var/log/pods", str(Path.home() / ".local/state/forebay-cluster"),
]  # fmt: skip


def observe_machine() -> dict[str, str]:
    """What a cluster would leave on this machine."""

    def tell(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    cgroups = [str(path) for path in Path("/sys/fs/cgroup").rglob("*") if path.is_dir()]
    # One that has ended (Z) may wait for its parent a little longer.
    # And what other tests started for themselves, in pytest's folders, is theirs.
    running = tell("ps", "-eww", "-o", "stat,comm,args").splitlines()
    processes = [line.split()[1] for line in running if line[0] != "Z" and "/pytest-of-" not in line]
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kernel = [Path("/proc/sys", name).read_text() for name in ("net/ipv4/ip_forward", "kernel/panic")]
    return {
        "processes": " ".join(name for name in processes if name in PROGRAMS),
        "mounts": " ".join(mount for mount in mounts if mount.startswith(tuple(FOLDERS))),
        "links": tell("ip", "-brief", "address"),
        "namespaces": tell("ip", "netns", "list"),
        "rules": tell("nft", "list", "ruleset"),
        "cgroups": "\n".join(path for path in cgroups if "forebay" in path or "kubepods" in path),
        "kernel": " ".join(kernel),
        "folders": " ".join(name for name in FOLDERS if Path(name).exists()),
    }


def kill_component(name: str) -> None:
    """End one component of the cluster, as a crash would."""
    # -ww: a home with a long path would push the component's name out of the line.
    listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True)
    pids = listed.stdout.splitlines()
    (pid,) = [
        int(line.split()[0]) for line in pids if line.split()[1].endswith("/kubernetes") and line.split()[2] == name
    ]
    os.kill(pid, 9)


def test_up_mends_what_died(kubectl: Kubectl) -> None:
    if hack_cluster("status").stderr.startswith("kind"):
        pytest.skip("kind looks after its own processes")
    kubectl("run", "survivor", f"--image={IMAGE}", "--command", "--", "sleep", "3600")
    kubectl("wait", "pod/survivor", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
    # As a test leaves it that is cut off between its cordon and its uncordon.
    kubectl("cordon", kubectl.get("nodes")["items"][0]["metadata"]["name"])
    for name in ("kube-scheduler", "kubelet"):
        kill_component(name)
    broken = hack_cluster("status")
    assert broken.returncode == 1
    assert broken.stderr.count(" ended") == 2
    mended = hack_cluster("up")
    assert mended.returncode == 0
    assert "was cordoned: uncordoned it" in mended.stderr
    assert hack_cluster("status").returncode == 0
    assert kubectl("exec", "survivor", "--", "echo", "still here") == "still here\n"


def test_down_leaves_nothing_and_up_is_quick(kubectl: Kubectl) -> None:
    assert hack_cluster("down").returncode == 0
    bare = observe_machine()
    for wanted_empty in ("processes", "mounts", "namespaces", "cgroups", "folders"):
        assert bare[wanted_empty] == ""
    assert "forebay" not in bare["rules"] + bare["links"]
    assert "kube-proxy" not in bare["rules"]
    assert hack_cluster("down").returncode == 0, "a second one has nothing to do"
    assert hack_cluster("status").returncode == 1

    began = time.monotonic()
    started = hack_cluster("up", "--gpus", "4")
    took_s = time.monotonic() - began
    assert started.returncode == 0, started.stderr
    assert took_s <= WARM_S
    assert kubectl.get("nodes")["items"][0]["status"]["conditions"][-1]["status"] == "True"

    assert hack_cluster("down").returncode == 0
    assert observe_machine() == bare
    assert hack_cluster("up", "--gpus", "4").returncode == 0
