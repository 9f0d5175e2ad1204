"""The cluster in kind, where a Docker engine answers."""

import shutil
from pathlib import Path

from cluster_tool import images, kubectl, objects, programs
from cluster_tool.commands import call, succeeds
from cluster_tool.places import CACHE, KUBECONFIG, NAME, STATE
from cluster_tool.speech import say, step

KIND = "v0.30.0"
# What this kind was released with; of the minor version that the other back end runs.
NODE_IMAGE = "kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a"
NODE = f"{NAME}-control-plane"
CTR = ("docker", "exec", NODE, "ctr", "--namespace=k8s.io")
CREATE_S = 900


def is_usable() -> bool:
    return shutil.which("docker") is not None and succeeds("docker", "info", timeout_s=10)


def start(*, gpus: int | None) -> None:
    kind = ensure_kind()
    kubectl.link()
    STATE.mkdir(parents=True, exist_ok=True)
    if NAME not in call(kind, "get", "clusters").split():
        with step(f"kind with {NODE_IMAGE.split('@', maxsplit=1)[0]}"):
            call(kind, "create", "cluster", f"--name={NAME}", f"--image={NODE_IMAGE}", f"--kubeconfig={KUBECONFIG}",
                 "--wait=180s", timeout_s=CREATE_S)  # fmt: skip
    else:
        call(kind, "export", "kubeconfig", f"--name={NAME}", f"--kubeconfig={KUBECONFIG}")
    contexts = kubectl.run("config", "get-contexts", "--output=name").split()
    if f"kind-{NAME}" in contexts:
        if NAME in contexts:
            kubectl.run("config", "delete-context", NAME)
        kubectl.run("config", "rename-context", f"kind-{NAME}", NAME)
    load([*images.ensure_images(images.BASE).values()])
    objects.uncordon()
    if gpus is not None:
        objects.offer_gpus(gpus, node=NODE)
    say(f"context {NAME}: export KUBECONFIG={KUBECONFIG}")


def ensure_kind() -> Path:
    if found := shutil.which("kind"):
        return Path(found)
    folder = CACHE / f"kind-{KIND}"
    if not (folder / "kind").exists():
        programs.check_go()
        say(f"building kind {KIND}")
        folder.mkdir(parents=True, exist_ok=True)
        call("env", f"GOBIN={folder}", "go", "install", f"sigs.k8s.io/kind@{KIND}", timeout_s=600)
    return folder / "kind"


def load(archives: list[str] | list[Path]) -> None:
    for archive in archives:
        call(ensure_kind(), "load", "image-archive", archive, f"--name={NAME}", timeout_s=600)


def list_images() -> list[str]:
    return call(*CTR, "images", "list", "--quiet").split()


def list_blobs() -> list[str]:
    return call(*CTR, "content", "list", "--quiet").split()


def stop() -> None:
    with step("stopped, and cleaned up"):
        call(ensure_kind(), "delete", "cluster", f"--name={NAME}", timeout_s=120)
        shutil.rmtree(STATE, ignore_errors=True)


def report() -> bool:
    if NAME not in call(ensure_kind(), "get", "clusters").split():
        say("no cluster: start one with `hack/cluster up`")
        return False
    state = objects.ask_node_ready()
    say(f"kind: the node is {'ready' if state is None else f'not ready: {state}'}. KUBECONFIG={KUBECONFIG}")
    return state is None
