"""The CSI driver: what the kubelet calls, on a socket of the node. Ephemeral volumes alone."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from forebay.node.agent import Agent
from forebay.node.messages import CSI, REGISTRATION
from forebay.node.roles import TOKENS
from forebay.node.volumes import ENVIRONMENT, MODEL, Asked

NAME = "models.forebay.dev"
_POD = "csi.storage.k8s.io/"
_THREADS = 8
_log = logging.getLogger(__name__)
Services = Mapping[str, Mapping[str, grpc.RpcMethodHandler]]


class BadVolumeError(ValueError):
    """A volume that can't be, in words for whoever wrote the pod."""


class Driver:
    """The services Identity and Node of CSI."""

    def __init__(self, agent: Agent, *, node: str, version: str, kubelet: Path) -> None:
        self._agent, self._node, self._version, self._kubelet = agent, node, version, kubelet

    @property
    def services(self) -> Services:
        """What to serve, by the names of CSI."""
        identity = {"GetPluginInfo": self._tell_plugin, "GetPluginCapabilities": _tell_nothing, "Probe": _tell_nothing}
        node = {
            "NodeGetInfo": lambda _: {"node_id": self._node},
            "NodeGetCapabilities": _tell_nothing,
            "NodePublishVolume": self._publish,
            "NodeUnpublishVolume": self._unpublish,
        }
        return {
            "csi.v1.Identity": {name: _handle(CSI, name, answer) for name, answer in identity.items()},
            "csi.v1.Node": {name: _handle(CSI, name, answer) for name, answer in node.items()},
        }

    def _tell_plugin(self, _: Any) -> dict[str, Any]:
        return {"name": NAME, "vendor_version": self._version}

    def _publish(self, request: Any) -> dict[str, Any]:
        asked = read_request(request, self._kubelet, self._agent.kinds)
        about = request.volume_context
        tokens = {TOKENS: about[TOKENS]} if TOKENS in about else {}
        self._agent.publish(request.volume_id, asked, {**request.secrets, **tokens})
        return {}

    def _unpublish(self, request: Any) -> dict[str, Any]:
        self._agent.unpublish(request.volume_id, check_target(request.target_path, self._kubelet))
        return {}


def read_request(request: Any, kubelet: Path, kinds: frozenset[str]) -> Asked:
    """What a pod asks for. Raises BadVolumeError: it may have been written by hand."""
    about = request.volume_context
    if about.get(f"{_POD}ephemeral") != "true":
        raise BadVolumeError(f"{NAME} gives ephemeral volumes alone: write it under `csi` in the pod's volumes")
    kind, uri = about.get("kind", MODEL), about.get("uri", "")
    requirements = tuple(line.strip() for line in about.get("requirements", "").splitlines() if line.strip())
    if kind not in kinds or not (requirements if kind == ENVIRONMENT else uri):
        raise BadVolumeError(
            f"{NAME} needs volumeAttributes: uri, or kind: {ENVIRONMENT} and requirements, one on each line"
        )
    return Asked(
        kind=kind,
        uri=uri,
        digest=about.get("digest", ""),
        namespace=about.get(f"{_POD}pod.namespace", ""),
        pod=about.get(f"{_POD}pod.name", ""),
        target=str(check_target(request.target_path, kubelet)),
        requirements=requirements,
        index=about.get("index", ""),
        account=about.get(f"{_POD}serviceAccount.name", ""),
    )


def check_target(path: str, kubelet: Path) -> Path:
    """The path of a pod's volume. Raises BadVolumeError for one that isn't the kubelet's."""
    target = Path(path)
    if ".." in target.parts or not target.is_relative_to(kubelet / "pods"):
        raise BadVolumeError(f"{path} is no volume of a pod below {kubelet}: set nodeCache.kubeletDir to the kubelet's")
    return target


def build_registration(endpoint: Path) -> Services:
    """What the kubelet asks on the socket that it finds among its plugins'."""

    def told(status: Any) -> dict[str, Any]:
        if status.plugin_registered:
            _log.info("the kubelet knows %s", NAME)
        else:
            _log.error("the kubelet refuses %s: %s", NAME, status.error)
        return {}

    about = {"type": "CSIPlugin", "name": NAME, "endpoint": str(endpoint), "supported_versions": ["1.0.0"]}
    return {
        "pluginregistration.Registration": {
            "GetInfo": _build(REGISTRATION["InfoRequest"], REGISTRATION["PluginInfo"], lambda _: about),
            "NotifyRegistrationStatus": _build(
                REGISTRATION["RegistrationStatus"], REGISTRATION["RegistrationStatusResponse"], told
            ),
        }
    }


def serve(socket: Path, services: Services) -> grpc.Server:
    """Serve on a unix socket, which only root may use."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    handlers = [grpc.method_handlers_generic_handler(name, dict(methods)) for name, methods in services.items()]
    server = grpc.server(ThreadPoolExecutor(_THREADS, thread_name_prefix="csi"), handlers=handlers)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    socket.chmod(0o600)
    return server


def _tell_nothing(_: Any) -> dict[str, Any]:
    return {}


def _handle(messages: Mapping[str, Any], name: str, answer: Callable[[Any], dict[str, Any]]) -> grpc.RpcMethodHandler:
    return _build(messages[f"{name}Request"], messages[f"{name}Response"], answer)


def _build(asked: Any, answered: Any, answer: Callable[[Any], dict[str, Any]]) -> grpc.RpcMethodHandler:
    def handle(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return answered(**answer(request))
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            _log.exception("the kubelet will ask again")
            context.abort(grpc.StatusCode.INTERNAL, f"{error.strerror}: {error.filename}")

    return grpc.unary_unary_rpc_method_handler(handle, asked.FromString, answered.SerializeToString)
