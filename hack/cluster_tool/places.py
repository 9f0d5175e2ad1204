"""Where things lie, and the addresses that the cluster takes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_tool.speech import ClusterError, say

NAME = "forebay-test"
# The newest minor version whose kubelet takes cgroup v1 unasked.
VERSION = "v1.34.4"
NODE = "forebay-node"
# The node's address is one more on the loopback device: nothing outside this machine can reach it.
NODE_ADDRESS = "10.87.0.1"
POD_RANGE = "10.88.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
APISERVER_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
APISERVER = f"https://{NODE_ADDRESS}:6443"
ETCD = "http://127.0.0.1:23790"
GPU = "nvidia.com/gpu"

REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("FOREBAY_CACHE") or Path.home() / ".cache/forebay")
STATE = Path(os.environ.get("FOREBAY_CLUSTER_STATE") or Path.home() / ".local/state/forebay-cluster").absolute()
LOGS = STATE / "logs"
CERTIFICATES = STATE / "certificates"
CONFIG = STATE / "config"
KUBECONFIG = STATE / "kubeconfig"
# The one that the cluster was started with, for tests.
KUBECTL = STATE / "bin/kubectl"
# Sockets need short paths; and what must not outlive a reboot lies here.
RUN = Path("/run/forebay-cluster")
CONTAINERD_SOCKET = RUN / "containerd.sock"
# The folder of all pods' cgroups, in each hierarchy.
CGROUP = "forebay-cluster"

LOCK_S = 1800


@contextmanager
def exclusively() -> Iterator[None]:
    """Let one hack/cluster at a time change the cluster."""
    # Not in the state: `down` removes that.
    lock = CACHE / "cluster.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    deadline, waiting = time.monotonic() + LOCK_S, False
    with lock.open("w") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    say("waiting for another hack/cluster to finish")
                waiting = True
                if time.monotonic() > deadline:
                    raise ClusterError(f"another hack/cluster held {lock} for {LOCK_S} s") from None
                time.sleep(0.2)
        yield
