"""Command lines of the control plane: etcd, apiserver, controller-manager, scheduler."""

from pathlib import Path

from cluster_tool.credentials import TOKENS
from cluster_tool.places import (
    CERTIFICATES,
    CONFIG,
    ETCD,
    NODE_ADDRESS,
    SERVICE_RANGE,
    STATE,
)  # fmt: skip
from cluster_tool.probes import answers
from cluster_tool.processes import Component

CA = CERTIFICATES / "ca.crt"
Flags = dict[str, str | Path]
PEER = "http://127.0.0.1:23800"


def build_etcd(kubernetes: Path) -> Component:
    command = [
        str(kubernetes), "etcd", "--name=forebay", f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={PEER}", f"--initial-advertise-peer-urls={PEER}", f"--initial-cluster=forebay={PEER}",
        # What a crash of the machine would lose is a test's.
        "--unsafe-no-fsync", "--log-level=warn",
    ]  # fmt: skip
    return Component("etcd", command, lambda: answers(f"{ETCD}/health"), 30)


def build_apiserver(kubernetes: Path) -> Component:
    flags: Flags = {
        "etcd-servers": ETCD,
        "bind-address": NODE_ADDRESS,
        "advertise-address": NODE_ADDRESS,
        "secure-port": "6443",
        "service-cluster-ip-range": SERVICE_RANGE,
        "tls-cert-file": CERTIFICATES / "apiserver.crt",
        "tls-private-key-file": CERTIFICATES / "apiserver.key",
        "client-ca-file": CA,
        "token-auth-file": TOKENS,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": CERTIFICATES / "service-account.key",
        "service-account-signing-key-file": CERTIFICATES / "service-account.key",
        "kubelet-certificate-authority": CA,
        "kubelet-client-certificate": CERTIFICATES / "apiserver-kubelet-client.crt",
        "kubelet-client-key": CERTIFICATES / "apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        # API extensions (metrics) are called at their pods, and know the apiserver by this certificate.
        "enable-aggregator-routing": "true",
        "requestheader-client-ca-file": CA,
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": CERTIFICATES / "front-proxy-client.crt",
        "proxy-client-key-file": CERTIFICATES / "front-proxy-client.key",
    }
    url = f"https://{NODE_ADDRESS}:6443/readyz"
    return Component("kube-apiserver", with_flags(kubernetes, "kube-apiserver", flags), lambda: answers(url))


def build_controller_manager(kubernetes: Path) -> Component:
    flags = build_client_flags("kube-controller-manager") | {
        "root-ca-file": CA,
        "service-account-private-key-file": CERTIFICATES / "service-account.key",
        "use-service-account-credentials": "true",
        "cluster-signing-cert-file": CA,
        "cluster-signing-key-file": CERTIFICATES / "ca.key",
        "requestheader-client-ca-file": CA,
        # Tests of scaling wait for this.
        "horizontal-pod-autoscaler-sync-period": "2s",
    }
    command = with_flags(kubernetes, "kube-controller-manager", flags)
    return Component("kube-controller-manager", command, lambda: answers("https://127.0.0.1:10257/healthz"))


def build_scheduler(kubernetes: Path) -> Component:
    command = with_flags(kubernetes, "kube-scheduler", build_client_flags("kube-scheduler"))
    return Component("kube-scheduler", command, lambda: answers("https://127.0.0.1:10259/healthz"))


def build_client_flags(component: str) -> Flags:
    config = CONFIG / f"{component}.kubeconfig"
    return {
        "kubeconfig": config,
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
    }


def with_flags(kubernetes: Path, component: str, flags: Flags) -> list[str]:
    return [str(kubernetes), component, *(f"--{name}={value}" for name, value in flags.items())]
