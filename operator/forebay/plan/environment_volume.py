"""A script's libraries in a volume: what the node's agent installs, once for all pods there that ask for the same."""

from typing import Any

from forebay.plan import names
from forebay.plan.envoy import Json
from forebay.plan.model_volume import DRIVER
from forebay.plan.resolve import Packages, Workload
from forebay.plan.site import Site

_NAME, _CONTAINER = "environment-cache", "environment"
# Whoever says with what the container installs means it to install.
_ITS_OWN = frozenset({"env", "envFrom", "image", "command", "args"})


def is_shared(workload: Workload, site: Site) -> bool:
    """Whether the agent installs a workload's libraries."""
    patches: list[Any] = workload.pod_patch.spec.get("initContainers") or []
    has_own = any(each.get("name") == _CONTAINER and _ITS_OWN & each.keys() for each in patches)
    return site.node_cache and bool(workload.packages.requirements) and not has_own


def build_environment_volume(packages: Packages) -> Json:
    """The volume. The kubelet hands the agent the credentials for the index."""
    secret = {"nodePublishSecretRef": {"name": packages.secret_name}} if packages.secret_name else {}
    attributes = {
        "kind": "environment",
        "requirements": "\n".join(packages.requirements),
        **({"index": packages.index_url} if packages.index_url else {}),
    }
    return {"name": _NAME, "csi": {"driver": DRIVER, "readOnly": True, "volumeAttributes": attributes, **secret}}


def build_environment_mount() -> Json:
    """Where the volume is in a container."""
    return {"name": _NAME, "mountPath": names.ENVIRONMENT_CACHE, "readOnly": True}
