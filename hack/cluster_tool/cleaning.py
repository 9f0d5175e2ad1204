"""Leave nothing behind: found on the machine itself, so that it works after a crash of any part too."""

import shutil
import time
from pathlib import Path

from cluster_tool import machine, processes
from cluster_tool.commands import call, succeeds
from cluster_tool.places import CGROUP, CONTAINERD_SOCKET, LOGS, POD_RANGE, RUN, STATE
from cluster_tool.probes import listens
from cluster_tool.speech import ClusterError

NAMESPACES = Path("/run/netns")
CNI_RESULTS = Path("/var/lib/cni/results")
POD_PREFIX = f" {'.'.join(POD_RANGE.split('.')[:2])}."
# Made by the kubelet and containerd whatever their configuration says.
FIXED_FOLDERS = [
    "/var/log/containers", "/var/lib/kubelet/device-plugins", "/var/lib/kubelet", "/run/containerd/s",
    "/run/containerd/fifo", "/run/containerd", "/run/netns", "/var/lib/cni/results", "/var/lib/cni",
]  # fmt: skip
REMOVE_S = 20


def clean() -> None:
    # The kubelet first: it would start again what is ended.
    names = [path.name for path in processes.PIDS.iterdir()] if processes.PIDS.exists() else []
    for name in sorted(names, key=lambda name: name != "kubelet"):
        processes.end(name)
    for pid in find_shims():
        processes.end_pid(pid)
    groups = [hierarchy / CGROUP for hierarchy in machine.CGROUPS.glob("*") if (hierarchy / CGROUP).is_dir()]
    groups += [machine.CGROUPS / CGROUP] if (machine.CGROUPS / CGROUP).is_dir() else []
    for group in groups:
        end_cgroup(group)
    for target in sorted(find_mounts(), reverse=True):
        # One that is shared goes with its peer.
        if target in find_mounts():
            call("umount", "--lazy", target)
    for namespace in find_namespaces():
        call("ip", "netns", "delete", namespace)
    machine.restore()
    remove_files()


def find_shims() -> list[int]:
    """Processes that keep containers, by the socket that they report to."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if command[0].endswith(b"containerd-shim-runc-v2") and str(CONTAINERD_SOCKET).encode() in command:
            found.append(int(path.parent.name))
    return found


def end_cgroup(group: Path) -> None:
    deadline = time.monotonic() + REMOVE_S
    while group.exists():
        # Depth first, and again: an ended process leaves its group a moment later.
        for folder in sorted((path.parent for path in group.rglob("cgroup.procs")), reverse=True):
            for pid in read_pids(folder):
                processes.end_pid(pid)
            try:
                folder.rmdir()
            except OSError:
                continue
        if group.exists():
            if time.monotonic() > deadline:
                raise ClusterError(f"{group} can't be removed")
            time.sleep(0.05)


def read_pids(folder: Path) -> list[int]:
    try:
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def find_mounts() -> list[str]:
    ours = (f"{RUN}/", f"{STATE}/")
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # A space in a path stands there as \040.
    targets = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [target for target in targets if f"{target}/".startswith(ours)]


def find_namespaces() -> list[str]:
    """Network namespaces of pods, by their addresses; and names that stand for none any more."""
    found = []
    for path in NAMESPACES.glob("cni-*"):
        stale = not succeeds("ip", "-n", path.name, "link")
        if stale or POD_PREFIX in call("ip", "-n", path.name, "-4", "-brief", "address"):
            found.append(path.name)
    return found


def remove_files() -> None:
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(str(LOGS)):
            link.unlink()
    for folder in (STATE, RUN):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            # Once more, and loudly.
            shutil.rmtree(folder)
    Path("/var/lib/kubelet/device-plugins/kubelet.sock").unlink(missing_ok=True)
    for socket in Path("/run/containerd/s").glob("*"):
        # A shim that was killed; one that another containerd has answers.
        if listens(socket):
            socket.unlink()
    for result in CNI_RESULTS.glob("forebay-*"):
        result.unlink()
        container = result.name.split("-")[1]
        (CNI_RESULTS / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
    for fixed in FIXED_FOLDERS:
        try:
            Path(fixed).rmdir()
        except OSError:
            # Not there, or somebody else's too.
            continue
