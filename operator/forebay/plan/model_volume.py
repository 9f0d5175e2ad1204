"""A model that lies in a volume: mounted read-only and used where it lies, with no copy."""

from typing import Any

from forebay.plan import names
from forebay.plan.envoy import Json

_CLAIM, _NFS = "pvc://", "nfs://"
_NAME = "model-source"


def is_mounted(uri: str) -> bool:
    """Whether a model's address names a volume."""
    return uri.startswith((_CLAIM, _NFS))


def build_model_volume(uri: str) -> Json:
    """The volume that an address names: a whole claim, or a folder of an NFS server."""
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
    # No subPath: the kubelet would make a missing folder, where the check before the server names the nearest one.
    path = uri.removeprefix(_CLAIM).partition("/")[2].strip("/") if uri.startswith(_CLAIM) else ""
    return f"{names.MODEL_SOURCE}/{path}" if path else names.MODEL_SOURCE
