"""Who may talk to the apiserver: a token for each component and for the person, certificates for the servers."""

import json
import secrets
from pathlib import Path

from cluster_tool.commands import call
from cluster_tool.places import (
    APISERVER,
    APISERVER_SERVICE,
    CERTIFICATES,
    CONFIG,
    KUBECONFIG,
    NAME,
    NODE,
    NODE_ADDRESS,
)  # fmt: skip

# User names and groups that Kubernetes' own roles are bound to.
USERS = {
    "admin": ("forebay-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("forebay:coredns", ""),
}
TOKENS = CONFIG / "tokens.csv"
HOSTS = [
    NODE, NODE_ADDRESS, APISERVER_SERVICE, "127.0.0.1", "localhost",
    "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
]  # fmt: skip


def ensure_credentials(kubernetes: Path) -> None:
    if KUBECONFIG.exists():
        return
    for folder in (CERTIFICATES, CONFIG):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    call(kubernetes, "certificates", CERTIFICATES, *HOSTS)
    tokens = {component: secrets.token_hex(16) for component in USERS}
    rows = [f'{tokens[each]},{user},{user},"{groups}"' for each, (user, groups) in USERS.items()]
    write_private(TOKENS, "\n".join(rows) + "\n")
    for component, token in tokens.items():
        if component != "admin":
            write_private(CONFIG / f"{component}.kubeconfig", build_kubeconfig(token))
    # Last: it says that all of this is there.
    write_private(KUBECONFIG, build_kubeconfig(tokens["admin"]))


def write_private(path: Path, text: str) -> None:
    made = path.with_name(f"{path.name}.made")
    made.touch(mode=0o600)
    made.write_text(text)
    made.rename(path)


def build_kubeconfig(token: str) -> str:
    cluster = {"server": APISERVER, "certificate-authority": str(CERTIFICATES / "ca.crt")}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            # Tests look at this name before they touch anything.
            "current-context": NAME,
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
            "clusters": [{"name": NAME, "cluster": cluster}],
            "users": [{"name": NAME, "user": {"token": token}}],
        },
        indent=1,
    )
