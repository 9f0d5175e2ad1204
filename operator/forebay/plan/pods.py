"""The pod template of a workload: the model server on loopback, the queue in front of it, the download before it."""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from forebay.plan import names, security
from forebay.plan.envoy import Address, DnsName, Json, Upstream
from forebay.plan.envoy_queue import QueueAddresses, build_queue
from forebay.plan.gpus import build_container_claims, build_gpu_limits, build_gpu_placement
from forebay.plan.inline import format_inline
from forebay.plan.merge import merge
from forebay.plan.mlflow import is_artifact
from forebay.plan.model_instances import build_scaler
from forebay.plan.model_volume import (
    build_cache_volume,
    build_model_mount,
    build_model_volume,
    find_model_path,
    is_mounted,
)
from forebay.plan.names import Role, build_labels, digest
from forebay.plan.resolve import ModelFiles, Server, Workload
from forebay.plan.scripts import build_script_mounts, build_script_steps, build_script_volumes, find_script_path
from forebay.plan.servers import ServerAddresses, build_image_env, build_server_args
from forebay.plan.site import Site

_LOOPBACK = "127.0.0.1"
# A large model may take this long to load before the pod counts as failed: 1 s x 1,800.
_STARTUP_PERIOD_S = 1
_STARTUP_FAILURES = 1800


# How long callers may still find a pod that was told to stop: the gateway hears of it at once, a transformer by DNS.
_SETTLE_S = {Role.PREDICTOR: 8, Role.TRANSFORMER: 3}
_STOPPING_S = 20
# A predictor's instances may come and go while a transformer lives: it tries as many as retries allow.
_MANY = 1000


def build_pod_template(workload: Workload, site: Site, *, predictors: Sequence[DnsName]) -> Json:
    """The template of a workload's pods, the user's own merged over it. A transformer calls `predictors`."""
    patch = workload.pod_patch
    ours = build_labels(deployment=workload.deployment, role=workload.role)
    metadata: Json = {"labels": {**patch.labels, **ours}}
    content = {names.DIGEST_ANNOTATION: workload.model.digest} if workload.model.digest else {}
    if patch.annotations or content:
        metadata["annotations"] = {**patch.annotations, **content}
    return {"metadata": metadata, "spec": merge(_build_spec(workload, site, predictors), patch.spec)}


def _build_spec(workload: Workload, site: Site, predictors: Sequence[DnsName]) -> Json:
    downloads = [_build_download(workload, site)] if workload.model.uri else []
    downloads += build_script_steps(workload, site, partial(_build_container, image=site.images.runtime, site=site))
    queue = _build_queue_container(workload, site, predictors)
    return {
        "serviceAccountName": workload.deployment,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security.POD,
        # The queue is a native sidecar: it starts before the model and outlives it.
        "initContainers": [*downloads, queue, *_build_scalers(workload, site)],
        "containers": [_build_server_container(workload, site)],
        "volumes": _build_volumes(workload, site),
        **build_gpu_placement(workload),
        "terminationGracePeriodSeconds": _drain_s(workload) + _STOPPING_S,
    }


def _build_server_container(workload: Workload, site: Site) -> Json:
    program = {Server.TRITON: ["tritonserver"], Server.SCRIPT: ["python", "-m", "forebay.serving"]}
    command = {"command": program[workload.server]} if workload.server in program else {}
    addresses = _build_server_addresses(workload, site)
    told = build_image_env(workload, addresses) if workload.server is Server.IMAGE else {}
    plain = {name: value for name, value in told.items() if name not in workload.env_from} | dict(workload.env)
    env: list[Json] = [{"name": name, "value": value} for name, value in plain.items()]
    env += [{"name": name, "valueFrom": source} for name, source in workload.env_from.items()]
    return {
        **_build_container(str(workload.role), site.images.of(workload), site),
        **command,
        "args": build_server_args(workload, addresses),
        **({"env": env} if env else {}),
        "resources": _build_resources(workload),
        "startupProbe": _build_probe("ready", period_s=_STARTUP_PERIOD_S, failures=_STARTUP_FAILURES),
        "readinessProbe": _build_probe("ready", period_s=2, failures=3),
        "livenessProbe": _build_probe("live", period_s=10, failures=6),
        "lifecycle": {"preStop": _build_drain(workload)},
        "volumeMounts": _build_mounts(workload, site),
    }


def _build_container(name: str, image: str, site: Site) -> Json:
    """What all containers share. Where one ends without a word, its last lines stand in the pod's status."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": site.pull_policy,
        "securityContext": security.CONTAINER,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _build_probe(what: str, *, period_s: int, failures: int) -> Json:
    """Through the queue: the model server listens on loopback, where the kubelet can't ask."""
    return {
        "httpGet": {"path": f"/v2/health/{what}", "port": names.QUEUE_PORT},
        "periodSeconds": period_s,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _build_drain(workload: Workload) -> Json:
    """Keep the model server until callers have let go of the pod and its queue is empty; an image can only wait."""
    settle = _SETTLE_S[workload.role]
    options = [f"--admin={_LOOPBACK}:{names.ADMIN_PORT}", f"--settle={settle}", f"--timeout={_drain_s(workload)}"]
    match workload.server:
        case Server.TRITON:
            return {"exec": {"command": ["python3", "/opt/forebay/drain.py", *options]}}
        case Server.SCRIPT:
            return {"exec": {"command": ["python", "-m", "forebay.serving.drain", *options]}}
        case Server.IMAGE:
            return {"sleep": {"seconds": _drain_s(workload)}}


def _drain_s(workload: Workload) -> int:
    """How long a pod that was told to stop may still work: whatever was let in is answered by then."""
    return _SETTLE_S[workload.role] + math.ceil(workload.limits.timeout_s)


def _build_queue_container(workload: Workload, site: Site, predictors: Sequence[DnsName]) -> Json:
    addresses = _build_queue_addresses(workload, predictors)
    config = _format_queue(workload.server, addresses, workload.limits.timeout_s, workload.instances.scaled)
    return {
        **_build_container("queue", site.images.envoy, site),
        "restartPolicy": "Always",
        # The config is inline, so that a pod explains itself.
        "args": ["--concurrency", "1", "--disable-hot-restart", "--config-yaml", config],
        "ports": [
            {"name": "http", "containerPort": names.QUEUE_PORT},
            {"name": "metrics", "containerPort": names.METRICS_PORT},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        "startupProbe": {"tcpSocket": {"port": names.QUEUE_PORT}, "periodSeconds": 1, "failureThreshold": 60},
        "volumeMounts": [{"name": "runtime", "mountPath": names.RUNTIME_DIR, "readOnly": True}],
    }


# Most ModelDeployments have the same one.
@lru_cache(maxsize=32)
def _format_queue(server: Server, addresses: QueueAddresses, timeout_s: float, scaled: bool) -> str:
    return format_inline(build_queue(server, addresses, timeout_s=timeout_s, scaled=scaled))


def _build_scalers(workload: Workload, site: Site) -> list[Json]:
    """What scales the model's instances, where they are: as a native sidecar its end is nobody else's."""
    if not workload.instances.scaled:
        return []
    container = _build_container("instances", site.images.runtime, site)
    return [{**container, **build_scaler(workload, _build_queue_addresses(workload, ()))}]


def _build_download(workload: Workload, site: Site) -> Json:
    """What brings the model's files, or looks for them in their volume, and lays them out as the server needs them."""
    uri = workload.model.uri
    # The kubelet hands the node's agent the Secret.
    secret = "" if site.caches(uri) else workload.model.secret_name
    layout = "triton" if workload.server is Server.TRITON else "plain"
    mounts = [build_model_mount()] if _is_in_volume(workload, site) else []
    if _has_model_folder(workload, site):
        mounts.append({"name": "model", "mountPath": names.MODEL_DIR})
    return {
        **_build_container("download", site.images.runtime, site),
        "command": ["python", "-m", "forebay.serving.storage"],
        "args": [
            # In arguments Kubernetes takes $(NAME) for a variable, and $$ for a dollar.
            f"--uri={uri.replace('$', '$$')}",
            f"--to={names.MODEL_FILES}",
            f"--layout={layout}",
            f"--name={workload.served_model}",
            *([f"--mounted-at={names.MODEL_SOURCE}"] if is_mounted(uri) else []),
            *([f"--cached-at={names.MODEL_SOURCE}"] if site.caches(uri) else []),
            # The cache is told by its volume.
            *([f"--digest={workload.model.digest}"] if workload.model.digest and not site.caches(uri) else []),
            *_build_format_args(workload.model),
        ],
        **({"env": [{"name": "MLFLOW_TRACKING_URI", "value": site.mlflow_uri}]} if is_artifact(uri) else {}),
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _is_in_volume(workload: Workload, site: Site) -> bool:
    """Whether the model is used where it lies, in a volume."""
    return is_mounted(workload.model.uri) or site.caches(workload.model.uri)


def _has_model_folder(workload: Workload, site: Site) -> bool:
    """Whether a pod needs room for the model: for its files, or for the links that make it a Triton repository."""
    return bool(workload.model.uri) and (not _is_in_volume(workload, site) or workload.server is Server.TRITON)


def _find_model_dir(workload: Workload, site: Site) -> str:
    if workload.server is Server.TRITON:
        return names.MODEL_REPOSITORY
    return find_model_path(workload.model.uri) if _is_in_volume(workload, site) else names.MODEL_FILES


def _build_format_args(model: ModelFiles) -> list[str]:
    """What the files are; of what MLflow saved they say it themselves."""
    format_ = [f"--format={model.format}"] if model.format else []
    return [*format_, *([f"--config={model.config.replace('$', '$$')}"] if model.config else [])]


def _build_resources(workload: Workload) -> Json:
    wanted = workload.resources
    gpu = build_gpu_limits(wanted)
    return {
        "requests": {"cpu": wanted.cpu, "memory": wanted.memory, **gpu},
        "limits": {"memory": wanted.memory, **gpu},
        **build_container_claims(wanted),
    }


def _build_volumes(workload: Workload, site: Site) -> list[Json]:
    volumes: list[dict[str, Any]] = [
        {"name": "runtime", "configMap": {"name": build_queue_map_name(workload)}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    if _has_model_folder(workload, site):
        volumes.append({"name": "model", "emptyDir": {}})
    if is_mounted(workload.model.uri):
        volumes.append(build_model_volume(workload.model.uri))
    model = workload.model
    if site.caches(model.uri):
        volumes.append(build_cache_volume(model.uri, digest=model.digest, secret_name=model.secret_name))
    return [*volumes, *build_script_volumes(workload, site, build_script_map_name(workload))]


def _build_mounts(workload: Workload, site: Site) -> list[Json]:
    mounts: list[dict[str, Any]] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  (the container's own)
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if _has_model_folder(workload, site):
        mounts.append({"name": "model", "mountPath": names.MODEL_DIR, "readOnly": True})
    if _is_in_volume(workload, site):
        mounts.append(build_model_mount())
    return [*mounts, *build_script_mounts(workload, site)]


def build_prefix(workload: Workload) -> str:
    """The name of what all revisions of a workload share, and the beginning of all names."""
    return f"{workload.deployment}-{workload.role}"


def build_queue_map_name(workload: Workload) -> str:
    """The ConfigMap with the live numbers of the queue."""
    return f"{build_prefix(workload)}-queue"


def build_script_map_name(workload: Workload) -> str:
    """The ConfigMap with the script: named by its content, so that pods never change under their own feet."""
    return f"{build_prefix(workload)}-script-{digest(workload.script)}"


def _build_server_addresses(workload: Workload, site: Site) -> ServerAddresses:
    http_port, grpc_port = _choose_ports(workload)
    return ServerAddresses(
        http=Address(_LOOPBACK, http_port),
        grpc=Address(_LOOPBACK, grpc_port),
        metrics=Address(_LOOPBACK, names.MODEL_METRICS_PORT),
        egress=Address(_LOOPBACK, names.EGRESS_PORT),
        model_dir=_find_model_dir(workload, site),
        script=find_script_path(workload),
        environment=names.ENVIRONMENT_PACKAGES,
    )


def _choose_ports(workload: Workload) -> tuple[int, int]:
    if workload.server is Server.IMAGE:
        return workload.image_port, workload.image_grpc_port
    return names.MODEL_HTTP_PORT, names.MODEL_GRPC_PORT


def _build_queue_addresses(workload: Workload, predictors: Sequence[DnsName]) -> QueueAddresses:
    http_port, grpc_port = _choose_ports(workload)
    triton = workload.server is Server.TRITON
    return QueueAddresses(
        front=Address("0.0.0.0", names.QUEUE_PORT),  # noqa: S104  (the one port that is open to others)
        metrics=Address("0.0.0.0", names.METRICS_PORT),  # noqa: S104
        admin=Address(_LOOPBACK, names.ADMIN_PORT),
        model_http=Address(_LOOPBACK, http_port),
        model_grpc=Address(_LOOPBACK, grpc_port),
        model_metrics=Address(_LOOPBACK, names.MODEL_METRICS_PORT if triton else http_port),
        egress=Address(_LOOPBACK, names.EGRESS_PORT),
        predictors=tuple(Upstream(members, _MANY) for members in predictors),
        runtime_dir=names.RUNTIME_DIR,
    )
