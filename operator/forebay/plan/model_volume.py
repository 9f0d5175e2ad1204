"""A model that lies in a volume: mounted read-only and used where it lies, with no copy.

That is a claim or an NFS folder of the user's own, or what the node's cache brings.
"""

from typing import Any

from forebay.plan import names
from forebay.plan.envoy import Json

# The CSI driver of the node's cache, and where in its volume the files are.
DRIVER, _FILES = "models.forebay.dev", "files"
_CLAIM, _NFS, _IMAGE = "pvc://", "nfs://", "oci://"
_NAME = "model-source"


def mount_image(uri: str, path: str | None) -> str:
    """The address of a path in an image that is mounted; without a path the address itself, which is downloaded."""
    return f"{uri}#{path}" if path else uri


def is_mounted(uri: str) -> bool:
    """Whether a model's address names a volume."""
    return uri.startswith((_CLAIM, _NFS)) or (uri.startswith(_IMAGE) and "#" in uri)


def build_cache_volume(uri: str, *, digest: str, secret_name: str) -> Json:
    """The volume in which the node's agent brings a model. The kubelet hands it the credentials."""
    secret = {"nodePublishSecretRef": {"name": secret_name}} if secret_name else {}
    attributes = {"uri": uri, **({"digest": digest} if digest else {})}
    return {"name": _NAME, "csi": {"driver": DRIVER, "readOnly": True, "volumeAttributes": attributes, **secret}}


def build_model_volume(uri: str) -> Json:
    """The volume that an address names: a whole claim or image, or a folder of an NFS server."""
    if uri.startswith(_IMAGE):
        return {"name": _NAME, "image": {"reference": uri.removeprefix(_IMAGE).partition("#")[0]}}
    scheme, rest = uri[: len(_CLAIM)], uri[len(_CLAIM) :]
    place, _, path = rest.partition("/")
    source: dict[str, Any] = (
        {"persistentVolumeClaim": {"claimName": place, "readOnly": True}}
        if scheme == _CLAIM
        else {"nfs": {"server": place, "path": f"/{path}", "readOnly": True}}
    )
    return {"name": _NAME, **source}


def build_model_mount() -> Json:
    """Where the volume is in a container."""
    return {"name": _NAME, "mountPath": names.MODEL_SOURCE, "readOnly": True}


def find_model_path(uri: str) -> str:
    """Where the model's files are in a container."""
    if not is_mounted(uri):
        return f"{names.MODEL_SOURCE}/{_FILES}"
    # No subPath: the kubelet would make a missing folder, where the check before the server names the nearest one.
    path = uri.partition("#")[2].strip("/") if uri.startswith(_IMAGE) else ""
    path = uri.removeprefix(_CLAIM).partition("/")[2].strip("/") if uri.startswith(_CLAIM) else path
    return f"{names.MODEL_SOURCE}/{path}" if path else names.MODEL_SOURCE
