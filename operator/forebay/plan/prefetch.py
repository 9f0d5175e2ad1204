"""What fetches a version on nodes that don't serve it yet: an idle pod there, which holds it in the node's cache.

A DaemonSet: nodes that come later fetch it too, and while its pods run the version is in use, and not evicted.
"""

from collections.abc import Mapping
from typing import Any

from forebay.plan import names, security
from forebay.plan.envoy import Json
from forebay.plan.model_volume import build_cache_volume, build_model_mount
from forebay.plan.site import Site
from forebay.plan.versions import Version

_VERSION_LABEL = "forebay.dev/model-version"


def build_prefetch_name(version: str) -> str:
    """The name of the DaemonSet, by that of the ModelVersion."""
    return f"{version}-prefetch"


def build_prefetch(name: str, namespace: str, version: Version, wanted: Mapping[str, Any], site: Site) -> Json:
    """The DaemonSet of a ModelVersion that is called so. `wanted` is its spec.prefetch."""
    # Not managed-by, by which the pods of models are found.
    own = {names.COMPONENT_LABEL: "prefetch", _VERSION_LABEL: names.digest(name)}
    labels = {"app.kubernetes.io/name": "forebay", **own}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": build_prefetch_name(name), "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": own},
            "template": {"metadata": {"labels": labels}, "spec": _build_pod(version, wanted, site)},
        },
    }


def _build_pod(version: Version, wanted: Mapping[str, Any], site: Site) -> Json:
    volume = build_cache_volume(version.uri, digest=version.digest, secret_name=version.secret_name)
    common = {
        "image": site.images.runtime,
        "imagePullPolicy": site.pull_policy,
        "securityContext": security.CONTAINER,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [build_model_mount()],
    }
    wait = [f"--uri={version.uri}", f"--to={names.MODEL_FILES}", f"--cached-at={names.MODEL_SOURCE}"]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": dict(wanted.get("nodeSelector") or {}),
        "tolerations": list(wanted.get("tolerations") or []),
        "securityContext": security.POD,
        "initContainers": [
            {
                "name": "download",
                **common,
                "command": ["python", "-m", "forebay.serving.storage"],
                "args": wait,
                "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            }
        ],
        "containers": [
            {
                "name": "hold",
                **common,
                "command": ["python", "-c", "import signal; signal.pause()"],
                "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            }
        ],
        "volumes": [volume],
    }
