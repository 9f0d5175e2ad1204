"""What was found of one ModelDeployment: all that its status is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from forebay.plan.resolve import Serving
from forebay.plan.versions import Version
from forebay.plan.workloads import Revision
from forebay.rollout.state import Decision, GatewayState

Json = dict[str, Any]


class Reason(StrEnum):
    """Why a ModelDeployment is or isn't ready: the reasons of all conditions."""

    READY = "Ready"
    STARTING = "Starting"
    DOWNLOADING = "Downloading"
    INSTALLING = "Installing"
    LOADING = "Loading"
    ROLLING_OUT = "RollingOut"
    ROUTING = "Routing"
    GATEWAY_NOT_READY = "GatewayNotReady"
    ACCESS_NOT_READY = "AccessNotReady"
    INVALID_SPEC = "InvalidSpec"
    INVALID_POD_TEMPLATE = "InvalidPodTemplate"
    UNREACHABLE_MODEL = "UnreachableModel"
    UNKNOWN_MODEL_VERSION = "UnknownModelVersion"
    AMBIGUOUS_ALIAS = "AmbiguousAlias"
    MODEL_REGISTRY_UNAVAILABLE = "ModelRegistryUnavailable"
    RESOLVED = "Resolved"
    CHILD_CONFLICT = "ChildConflict"
    QUOTA_EXCEEDED = "QuotaExceeded"
    FORBIDDEN = "Forbidden"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    APPLY_FAILED = "ApplyFailed"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONFIG_MISSING = "ConfigMissing"
    MODEL_DOWNLOAD_FAILED = "ModelDownloadFailed"
    SCRIPT_DOWNLOAD_FAILED = "ScriptDownloadFailed"
    ENVIRONMENT_FAILED = "EnvironmentFailed"
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    CRASH_LOOP = "CrashLoop"
    OUT_OF_MEMORY = "OutOfMemory"
    UNSCHEDULABLE = "Unschedulable"
    WAITING_FOR_GPU = "WaitingForGPU"
    BUILDING = "Building"
    BUILD_FAILED = "BuildFailed"
    EVICTED = "Evicted"
    NOT_READY = "NotReady"
    NODE_CACHE_DISABLED = "NodeCacheDisabled"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that keeps a ModelDeployment from being ready, in words for people.

    `stalled`: it won't go away by waiting; somebody must change something.
    """

    reason: Reason
    message: str
    stalled: bool = False


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was found. Deployments and pods are Kubernetes' own objects, without managedFields.

    `version` is the one that the spec names, if it does: MLflow's by its `uri`, where `doubt` says why this is the last
    that was known.
    `troubles` are what the spec and its application came to. `downloaded_pct` is by the name of a pod that downloads,
    `logs` the end of a model server's log by the name of its pod (status.needs_log tells whose are worth reading).
    """

    generation: int
    serving: Serving
    target: Revision
    decision: Decision
    gateway: GatewayState
    version: Version | None = None
    uri: str = ""
    doubt: str = ""
    deployments: Mapping[str, Json] = field(default_factory=dict)
    pods: Sequence[Json] = ()
    troubles: Sequence[Trouble] = ()
    downloaded_pct: Mapping[str, int] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    external_url: str = ""
