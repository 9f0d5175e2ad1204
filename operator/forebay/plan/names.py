"""Every name and port that more than one place must agree on."""

import hashlib
import json
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What a workload is in its ModelDeployment."""

    PREDICTOR = "predictor"
    TRANSFORMER = "transformer"


# Ports in a pod. Only the first is open to others; the servers behind the queue listen on loopback.
QUEUE_PORT = 8080
METRICS_PORT = 9090
ADMIN_PORT = 9901
EGRESS_PORT = 8100
MODEL_HTTP_PORT = 8000
MODEL_GRPC_PORT = 8001
MODEL_METRICS_PORT = 8002
# Of what scales the model's instances: Triton's metrics and its own.
SCALER_PORT = 8003

# Envoy clusters of an instance's sidecar, part of the names of its stats.
QUEUE_CLUSTER = "queue"
MODEL_HTTP_CLUSTER = "model_http"
MODEL_GRPC_CLUSTER = "model_grpc"
# Health and metadata pass the queue by, and would pass for very quick predictions among the service times.
CONTROL_HTTP_CLUSTER = "control_http"
CONTROL_GRPC_CLUSTER = "control_grpc"
PREDICTOR_CLUSTER = "predictor"

# Headers.
REASON_HEADER = "x-forebay-reason"
# On an answer after which another instance is to be tried. It never reaches a client.
RETRY_HEADER = "x-forebay-retry"
DEPLOYMENT_HEADER = "forebay-deployment"
REVISION_HEADER = "x-forebay-revision"
# Of a request: the revision that is to answer it, or PREVIEW for the one that is to take over.
ASKED_REVISION_HEADER = "forebay-revision"
PREVIEW = "preview"
API_KEY_HEADERS = ("x-api-key", "authorization")
# Who called, by the name that its API key has. What clients send under it is dropped.
CLIENT_HEADER = "x-forebay-client"
# The cluster that a request is let go to, after it was held. It never leaves the gateway, nor comes in.
HELD_FOR_HEADER = "x-forebay-held-for"
# Who answered in place of a ModelDeployment.
FALLBACK_HEADER = "x-forebay-fallback"
# Inside the gateway alone: on a request that has passed the entrance, and why its answer is no good.
PASSED_HEADER = "x-forebay-passed"
CAUSE_HEADER = "x-forebay-cause"
# Inside the gateway alone: on a copy of a request, by which its answer is known.
COPY_HEADER = "x-forebay-copy"

# Labels and annotations.
COMPONENT_LABEL = "app.kubernetes.io/component"
WORKLOAD_LABEL = "forebay.dev/workload"
# On a ControllerRevision: the revision that it is kept of, when it was rolled out, by whom, and what became of it.
REVISION_LABEL = "forebay.dev/revision"
ROLLED_OUT_ANNOTATION = "forebay.dev/rolled-out-at"
CHANGED_BY_ANNOTATION = "forebay.dev/changed-by"
OUTCOME_ANNOTATION = "forebay.dev/outcome"
# As `kubectl rollout history` has it.
CAUSE_ANNOTATION = "kubernetes.io/change-cause"
# On a queue's ConfigMap: the measured time that its depth follows from.
SERVICE_TIME_ANNOTATION = "forebay.dev/service-time"
# On a HorizontalPodAutoscaler whose least number is raised for a while: until when, and why.
FLOOR_ANNOTATION = "forebay.dev/floor"
# On pods: other content under the same address is another revision.
DIGEST_ANNOTATION = "forebay.dev/model-digest"

# Of the custom-metrics API, by instance: see metrics_api/metrics.py.
QUEUE_METRIC = "forebay_queue"
QUEUE_TIME_METRIC = "forebay_queue_seconds"
RATE_METRIC = "forebay_requests_per_second"
GPU_METRIC = "forebay_gpu_utilization"

# Paths in a pod.
MODEL_DIR = "/mnt/model"
MODEL_FILES = f"{MODEL_DIR}/files"
# Beside the files: the download makes a Triton repository of the folder of a single model, too.
MODEL_REPOSITORY = f"{MODEL_FILES}.repository"
# A volume that the model lies in.
MODEL_SOURCE = "/mnt/source"
SCRIPT_DIR = "/mnt/script"
SCRIPT_FILE = "script.py"
# What the address of a script leads to.
SCRIPT_FILES = f"{SCRIPT_DIR}/files"
ENVIRONMENT_DIR = "/mnt/environment"
ENVIRONMENT_CACHE = "/mnt/environment-cache"
ENVIRONMENT_PACKAGES = f"{ENVIRONMENT_DIR}/packages"
RUNTIME_DIR = "/etc/forebay/runtime"

DEPTH_KEY = f"circuit_breakers.{QUEUE_CLUSTER}.default.max_pending_requests"
SLOTS_KEY = f"circuit_breakers.{QUEUE_CLUSTER}.default.max_connections"
# Beside these, for what scales the model's instances (forebay.serving.instances): Envoy doesn't heed them.
INSTANCES_KEY = "forebay.instances"


def build_owner_labels(*, deployment: str) -> dict[str, str]:
    """Labels of everything that is made for a ModelDeployment."""
    return {
        "app.kubernetes.io/name": "forebay",
        "app.kubernetes.io/instance": deployment,
        "app.kubernetes.io/managed-by": "forebay",
    }


def build_labels(*, deployment: str, role: Role) -> dict[str, str]:
    """Labels of everything that is made for the predictor, or for the transformer."""
    return {**build_owner_labels(deployment=deployment), COMPONENT_LABEL: str(role)}


def build_route_name(*, namespace: str, deployment: str) -> str:
    """The name of a ModelDeployment's route and cluster in the gateway."""
    return f"{namespace}/{deployment}"


def build_preview_path(namespace: str, deployment: str) -> str:
    """The path in the gateway at which the revision is found that is to take over."""
    return f"/{build_route_name(namespace=namespace, deployment=deployment)}@{PREVIEW}"


def split_route_name(name: str) -> tuple[str, str]:
    """Namespace and name of a route's ModelDeployment."""
    namespace, _, deployment = name.partition("/")
    return namespace, deployment


def cut_digest(workload: str) -> str:
    """A workload's name without the digest of its content: the name of what all its revisions share."""
    return workload.rpartition("-")[0]


def digest(content: Any) -> str:
    """Eight hexadecimal digits that name a content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
