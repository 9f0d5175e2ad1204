"""What a script needs in its pod before it runs: its files where it is named by an address, and its libraries."""

from collections.abc import Callable
from typing import Any

from forebay.plan import names
from forebay.plan.environment_volume import build_environment_mount, build_environment_volume, is_shared
from forebay.plan.envoy import Json
from forebay.plan.resolve import Workload
from forebay.plan.site import Site

_SCRIPT, _ENVIRONMENT = "script", "environment"
_TMP: Json = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108  (the container's own)


def build_script_steps(workload: Workload, site: Site, build_container: Callable[[str], Json]) -> list[Json]:
    """The init containers: each ends before the server starts. `build_container` makes what all containers share."""
    steps = []
    if workload.script_files.uri:
        steps.append({**build_container(_SCRIPT), **_build_script_step(workload)})
    if workload.packages.requirements:
        steps.append({**build_container(_ENVIRONMENT), **_build_environment_step(workload, site)})
    return steps


def _build_script_step(workload: Workload) -> Json:
    files = workload.script_files
    return {
        "command": ["python", "-m", "forebay.serving.storage"],
        "args": _escape([f"--uri={files.uri}", f"--to={names.SCRIPT_FILES}", f"--script={files.path}"]),
        **_build_env_from(files.secret_name),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": _SCRIPT, "mountPath": names.SCRIPT_DIR}, _TMP],
    }


def _build_environment_step(workload: Workload, site: Site) -> Json:
    packages, shared = workload.packages, is_shared(workload, site)
    args = [f"--to={names.ENVIRONMENT_PACKAGES}", *(f"--requirement={each}" for each in packages.requirements)]
    args += [f"--index={packages.index_url}"] if packages.index_url else []
    args += [f"--cached-at={names.ENVIRONMENT_CACHE}"] if shared else []
    mounts: list[Json] = [{"name": _ENVIRONMENT, "mountPath": names.ENVIRONMENT_DIR}, _TMP]
    return {
        "command": ["python", "-m", "forebay.serving.environments"],
        "args": _escape(args),
        **_build_env_from(packages.secret_name),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [*mounts, *([build_environment_mount()] if shared else [])],
    }


def _build_env_from(secret_name: str) -> Json:
    return {"envFrom": [{"secretRef": {"name": secret_name}}]} if secret_name else {}


def _escape(args: list[str]) -> list[str]:
    # In arguments Kubernetes takes $(NAME) for a variable, and $$ for a dollar.
    return [each.replace("$", "$$") for each in args]


def build_script_volumes(workload: Workload, site: Site, script_map: str) -> list[Json]:
    """Volumes for the script, whose source lies in the ConfigMap called `script_map`, and for its libraries."""
    volumes: list[dict[str, Any]] = []
    if workload.script:
        volumes.append({"name": _SCRIPT, "configMap": {"name": script_map}})
    elif workload.script_files.uri:
        volumes.append({"name": _SCRIPT, "emptyDir": {}})
    if workload.packages.requirements:
        # Where the cache brings them, for a link there.
        volumes.append({"name": _ENVIRONMENT, "emptyDir": {}})
    if is_shared(workload, site):
        volumes.append(build_environment_volume(workload.packages))
    return volumes


def build_script_mounts(workload: Workload, site: Site) -> list[Json]:
    """Where the server finds them."""
    mounts: list[dict[str, Any]] = []
    if workload.script or workload.script_files.uri:
        mounts.append({"name": _SCRIPT, "mountPath": names.SCRIPT_DIR, "readOnly": True})
    if workload.packages.requirements:
        mounts.append({"name": _ENVIRONMENT, "mountPath": names.ENVIRONMENT_DIR, "readOnly": True})
    if is_shared(workload, site):
        mounts.append(build_environment_mount())
    return mounts


def find_script_path(workload: Workload) -> str:
    """The script's file in the server's container."""
    if workload.script_files.uri:
        return f"{names.SCRIPT_FILES}/{workload.script_files.path}"
    return f"{names.SCRIPT_DIR}/{names.SCRIPT_FILE}"
