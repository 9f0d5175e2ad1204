"""The pod template of a workload: the model server on loopback, the queue in front of it, the download before it."""

import json
from typing import Any

from forebay.plan import names
from forebay.plan.envoy import Address, DnsName, Json, Upstream
from forebay.plan.envoy_queue import QueueAddresses, build_queue
from forebay.plan.images import Images
from forebay.plan.names import Role
from forebay.plan.resolve import Server, Serving, Workload
from forebay.plan.servers import ServerAddresses, build_server_args

_LOOPBACK = "127.0.0.1"
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
# A large model may take this long to load before the pod counts as failed: 5 s x 360.
_STARTUP_PERIOD_S = 5
_STARTUP_FAILURES = 360


def build_pod_spec(serving: Serving, workload: Workload, images: Images) -> Json:
    """The spec of a workload's pods. Its names are those of `build_names`."""
    queue = _build_queue_container(serving, workload, images)
    downloads = [_build_download(workload, images)] if workload.model.uri else []
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        # The queue is a native sidecar: it starts before the model and outlives it.
        "initContainers": [*downloads, queue],
        "containers": [_build_server_container(workload, images)],
        "volumes": _build_volumes(workload),
        "terminationGracePeriodSeconds": int(workload.limits.timeout_s) + 30,
    }


def _build_server_container(workload: Workload, images: Images) -> Json:
    program = {Server.TRITON: ["tritonserver"], Server.SCRIPT: ["python", "-m", "forebay.serving"]}
    command = {"command": program[workload.server]} if workload.server in program else {}
    return {
        "name": str(workload.role),
        "image": images.of(workload),
        **command,
        "args": build_server_args(workload, _build_server_addresses(workload)),
        "env": [{"name": name, "value": value} for name, value in workload.env.items()],
        "resources": _build_resources(workload),
        "securityContext": _RESTRICTED,
        "startupProbe": _build_probe(period_s=_STARTUP_PERIOD_S, failures=_STARTUP_FAILURES),
        "readinessProbe": _build_probe(period_s=2, failures=3),
        "volumeMounts": _build_mounts(workload),
    }


def _build_probe(*, period_s: int, failures: int) -> Json:
    """Through the queue: the model server listens on loopback, where the kubelet can't ask."""
    return {
        "httpGet": {"path": "/v2/health/ready", "port": names.QUEUE_PORT},
        "periodSeconds": period_s,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _build_queue_container(serving: Serving, workload: Workload, images: Images) -> Json:
    config = build_queue(workload, _build_queue_addresses(serving, workload))
    return {
        "name": "queue",
        "image": images.envoy,
        "restartPolicy": "Always",
        # The config is inline, so that a pod explains itself.
        "args": ["--concurrency", "1", "--disable-hot-restart", "--config-yaml", json.dumps(config)],
        "ports": [
            {"name": "http", "containerPort": names.QUEUE_PORT},
            {"name": "metrics", "containerPort": names.METRICS_PORT},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": _RESTRICTED,
        "startupProbe": {"tcpSocket": {"port": names.QUEUE_PORT}, "periodSeconds": 1, "failureThreshold": 60},
        "volumeMounts": [{"name": "runtime", "mountPath": names.RUNTIME_DIR, "readOnly": True}],
    }


def _build_download(workload: Workload, images: Images) -> Json:
    layout = "triton" if workload.server is Server.TRITON else "plain"
    secret = workload.model.secret_name
    return {
        "name": "download",
        "image": images.runtime,
        "command": ["python", "-m", "forebay.serving.storage"],
        "args": [
            f"--uri={workload.model.uri}",
            f"--to={names.MODEL_FILES}",
            f"--layout={layout}",
            f"--name={workload.served_model}",
        ],
        "envFrom": [{"secretRef": {"name": secret}}] if secret else [],
        "securityContext": _RESTRICTED,
        "volumeMounts": [{"name": "model", "mountPath": names.MODEL_DIR}],
    }


def _build_resources(workload: Workload) -> Json:
    wanted = workload.resources
    gpu = {wanted.gpu_resource: str(wanted.gpu_count)} if wanted.gpu_count else {}
    return {
        "requests": {"cpu": wanted.cpu, "memory": wanted.memory, **gpu},
        "limits": {"memory": wanted.memory, **gpu},
    }


def _build_volumes(workload: Workload) -> list[Json]:
    prefix = build_name(workload)
    volumes: list[dict[str, Any]] = [
        {"name": "runtime", "configMap": {"name": f"{prefix}-queue"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    if workload.model.uri:
        volumes.append({"name": "model", "emptyDir": {}})
    if workload.script:
        volumes.append({"name": "script", "configMap": {"name": f"{prefix}-script"}})
    return volumes


def _build_mounts(workload: Workload) -> list[Json]:
    mounts: list[dict[str, Any]] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  (the container's own)
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if workload.model.uri:
        mounts.append({"name": "model", "mountPath": names.MODEL_DIR, "readOnly": True})
    if workload.script:
        mounts.append({"name": "script", "mountPath": names.SCRIPT_DIR, "readOnly": True})
    return mounts


def build_name(workload: Workload) -> str:
    """The name of a workload's Deployment and Service, and the beginning of its ConfigMaps'."""
    return f"{workload.deployment}-{workload.role}"


def _build_server_addresses(workload: Workload) -> ServerAddresses:
    return ServerAddresses(
        http=Address(_LOOPBACK, names.MODEL_HTTP_PORT),
        grpc=Address(_LOOPBACK, names.MODEL_GRPC_PORT),
        metrics=Address(_LOOPBACK, names.MODEL_METRICS_PORT),
        egress=Address(_LOOPBACK, names.EGRESS_PORT),
        model_dir=names.MODEL_REPOSITORY if workload.server is Server.TRITON else names.MODEL_FILES,
        script=f"{names.SCRIPT_DIR}/{names.SCRIPT_FILE}",
    )


def _build_queue_addresses(serving: Serving, workload: Workload) -> QueueAddresses:
    http_port = workload.image_port if workload.server is Server.IMAGE else names.MODEL_HTTP_PORT
    triton = workload.server is Server.TRITON
    members = DnsName(f"{build_name(serving.predictor)}.{serving.namespace}.svc", names.QUEUE_PORT)
    predictor = Upstream(members, serving.predictor.replicas)
    return QueueAddresses(
        front=Address("0.0.0.0", names.QUEUE_PORT),  # noqa: S104  (the one port that is open to others)
        metrics=Address("0.0.0.0", names.METRICS_PORT),  # noqa: S104
        admin=Address(_LOOPBACK, names.ADMIN_PORT),
        model_http=Address(_LOOPBACK, http_port),
        model_grpc=Address(_LOOPBACK, names.MODEL_GRPC_PORT if workload.server is not Server.IMAGE else http_port),
        model_metrics=Address(_LOOPBACK, names.MODEL_METRICS_PORT if triton else http_port),
        egress=Address(_LOOPBACK, names.EGRESS_PORT),
        predictors=(predictor,) if workload.role is Role.TRANSFORMER else (),
        runtime_dir=names.RUNTIME_DIR,
    )
