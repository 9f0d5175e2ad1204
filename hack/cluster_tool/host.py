"""The cluster as processes on this machine, for where no Docker engine is."""

from pathlib import Path

from rich.table import Table

from cluster_tool import (
    cleaning,
    containers,
    control_plane,
    credentials,
    images,
    kubectl,
    machine,
    node,
    objects,
    processes,
    programs,
)
from cluster_tool.containers import list_blobs, list_images, load
from cluster_tool.places import KUBECONFIG, LOGS, NAME, RUN, STATE, VERSION
from cluster_tool.processes import Component
from cluster_tool.speech import ClusterError, console, say, step

__all__ = ["list_blobs", "list_images", "load", "report", "start", "stop"]
# Which state folder the cluster of this machine has: there is room for one cluster only.
OWNER = RUN / "state"
READY_S = 90


def start(*, gpus: int | None) -> None:
    machine.ensure_root()
    check_owner()
    machine.ensure_packages()
    kubernetes = programs.ensure_kubernetes()
    kubectl.link()
    archives = images.ensure_images(images.PAUSE, images.BASE)
    with step(f"Kubernetes {VERSION} as processes"):
        STATE.mkdir(parents=True, exist_ok=True)
        RUN.mkdir(parents=True, exist_ok=True)
        OWNER.write_text(str(STATE))
        machine.prepare()
        credentials.ensure_credentials(kubernetes)
        containers.write_config()
        node.write_config()
        node.share_kubelet_folder()
    with step("control plane and containerd"):
        bring_up(containers.build_containerd(), control_plane.build_etcd(kubernetes))
        bring_up(control_plane.build_apiserver(kubernetes))
        bring_up(control_plane.build_controller_manager(kubernetes), control_plane.build_scheduler(kubernetes))
    with step("images, DNS and Services"):
        known = list_images()
        load([archive for name, archive in archives.items() if name not in known])
        objects.apply(objects.build_dns())
        bring_up(node.build_proxy(kubernetes), node.build_dns(kubernetes), node.build_kubelet(kubernetes))
    with step("node ready"):
        objects.uncordon()
        kubelet = node.build_kubelet(kubernetes)
        for check in (objects.ask_node_ready, objects.ask_caught_up):
            processes.await_ready(kubelet._replace(check=check, timeout_s=READY_S))
        if gpus is not None:
            objects.offer_gpus(gpus)
    say(f"context {NAME}: export KUBECONFIG={KUBECONFIG}")


def bring_up(*components: Component) -> None:
    for component in components:
        processes.start(component)
    for component in components:
        processes.await_ready(component)


def check_owner() -> None:
    if OWNER.exists() and OWNER.read_text() != str(STATE):
        raise ClusterError(
            f"this machine runs a cluster already, with its state in {OWNER.read_text()}: "
            f"FOREBAY_CLUSTER_STATE={OWNER.read_text()} hack/cluster down"
        )


def stop() -> None:
    machine.ensure_root()
    check_owner()
    if not any(path.exists() for path in (STATE, RUN)):
        say("no cluster here")
        return
    with step("stopped, and cleaned up"):
        cleaning.clean()


def report() -> bool:
    """Print what runs. True if all of it does."""
    if not STATE.exists():
        say("no cluster: start one with `hack/cluster up`")
        return False
    kubernetes = Path("kubernetes")
    builders = (control_plane.build_etcd, control_plane.build_apiserver, control_plane.build_controller_manager,
                control_plane.build_scheduler, node.build_kubelet, node.build_proxy, node.build_dns)  # fmt: skip
    table, complete = Table(box=None), True
    for heading in ("component", "process", "state"):
        table.add_column(heading)
    for component in [containers.build_containerd(), *(build(kubernetes) for build in builders)]:
        pid = processes.find(component.name)
        state = component.check() if pid else "ended"
        table.add_row(component.name, str(pid or "-"), f"[red]{state}[/]" if state else "ready")
        complete = complete and state is None
    console.print(table)
    if not complete:
        say(f"`hack/cluster up` starts what is missing; logs: {LOGS}")
    else:
        state = objects.ask_node_ready()
        say(f"the node is {'ready' if state is None else f'not ready: {state}'}. KUBECONFIG={KUBECONFIG}")
        complete = state is None
    return complete
