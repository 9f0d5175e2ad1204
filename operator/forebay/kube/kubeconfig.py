"""A person's cluster, as kubectl finds it: --kubeconfig, $KUBECONFIG, ~/.kube/config, or the pod's own account."""

import difflib
import os
from pathlib import Path
from typing import Any, NamedTuple

from forebay.kube.connection import ACCOUNT, Connection, NoClusterError, accept_old, find_pod_connection
from forebay.kube.lean_client import skip_package_imports

skip_package_imports()

from kubernetes.aio.client import Configuration  # noqa: E402
from kubernetes.aio.client.rest import RESTClientObject  # noqa: E402
from kubernetes.aio.config import ConfigException, load_kube_config  # noqa: E402
from kubernetes.aio.config.kube_config import list_kube_config_contexts  # noqa: E402


class Login(NamedTuple):
    """A way into a cluster. `namespace` is that of the context, `context` its name."""

    connection: Connection
    namespace: str
    context: str


def find_kubeconfig(given: str | None = None) -> str | None:
    """The kubeconfig, or several with colons between them; None where there is none."""
    if given is not None:
        if not Path(given).expanduser().is_file():
            raise NoClusterError(f"the kubeconfig {given} is not a file")
        return given
    paths = os.environ.get("KUBECONFIG") or "~/.kube/config"
    found = [path for path in paths.split(os.pathsep) if path and Path(path).expanduser().is_file()]
    return os.pathsep.join(found) or None


async def load_login(*, context: str | None = None, kubeconfig: str | None = None) -> Login:
    """Find the cluster. Raises NoClusterError with what to do."""
    file = find_kubeconfig(kubeconfig)
    if file is None and context is None and (connection := find_pod_connection()):
        return Login(connection, (ACCOUNT / "namespace").read_text().strip(), "in-cluster")
    if file is None:
        raise NoClusterError(
            "no cluster is known: there is no ~/.kube/config, and $KUBECONFIG names no file. Get one from your "
            "cluster, or try on this machine: forebay serve FILE.yaml"
        )
    configuration = Configuration()
    try:
        loader: Any = await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=file, context=context, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, OSError, KeyError, TypeError) as error:
        raise NoClusterError(_explain(file, context, error)) from None
    active = loader.current_context
    return Login(_build_connection(configuration), active["context"].get("namespace") or "default", active["name"])


def _build_connection(configuration: Configuration) -> Connection:
    async def build_headers() -> dict[str, str]:
        settings: Any = await configuration.auth_settings()
        return {each["key"]: each["value"] for each in settings.values() if each["in"] == "header" and each["value"]}

    return Connection(configuration.host, accept_old(RESTClientObject(configuration).ssl_context), build_headers)


def _explain(file: str, context: str | None, error: Exception) -> str:
    try:
        contexts, _ = list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
        names = sorted(each["name"] for each in contexts)
    except (ConfigException, OSError, KeyError, TypeError):
        names = []
    if context is None or context in names or not names:
        return f"the kubeconfig {file} can't be used: {error}"
    near = difflib.get_close_matches(context, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    return f"the kubeconfig {file} has no context {context}: {hint}"
