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
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLOUT_ABORTED = "RolloutAborted"
    ANALYSIS_FAILED = "AnalysisFailed"
    ROLLOUT_FAILED = "RolloutFailed"
    ROLLBACK_FAILED = "RollbackFailed"
    ROLLED_BACK = "RolledBack"
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
    SUSPENDED = "Suspended"
    ASLEEP = "Asleep"
    AWAKE = "Awake"
    WAKING = "Waking"
    NODE_CACHE_DISABLED = "NodeCacheDisabled"
    FOLLOWING = "Following"
    AT_MAXIMUM = "AtMaximum"
    NO_METRICS = "NoMetrics"
    NOT_FOLLOWED = "NotFollowed"
    NO_KEDA = "NoKeda"
    CONTENDED = "Contended"
    UNABLE_TO_SCALE = "UnableToScale"
    NO_INSTANCE = "NoInstance"
    GAVE_WAY = "GaveWay"
    FALLBACK_MISSING = "FallbackMissing"
    SHADOW_MISSING = "ShadowMissing"
    DRILL = "Drill"


# Of a spec that can't be used: what it asks for isn't on its way, whatever serves.
UNUSABLE_REASONS = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.ROLLBACK_FAILED,
        Reason.UNREACHABLE_MODEL,
        Reason.UNKNOWN_MODEL_VERSION,
        Reason.AMBIGUOUS_ALIAS,
        Reason.MODEL_REGISTRY_UNAVAILABLE,
    }
)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that keeps a ModelDeployment from being ready, in words for people.

    `stalled`: it won't go away by waiting; somebody must change something.
    """

    reason: Reason
    message: str
    stalled: bool = False


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """Why the spec, or `what` it names, can't be used. `is_elsewhere`: what is wrong isn't in the spec itself, and may
    change with nobody telling.
    """

    trouble: Trouble
    what: str = "the changed spec"
    is_elsewhere: bool = False


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """The revision that the spec asks for, and the one whose content is served instead."""

    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was found. Deployments and pods are Kubernetes' own objects, without managedFields.

    `version` is the one that the spec names, if it does: MLflow's by its `uri`, where `doubt` says why this is the last
    that was known.
    `scalers` are HorizontalPodAutoscalers and ScaledObjects; `lacks_keda`: the latter are wanted, and not known there.
    `numbers` are those of the revisions that are kept, by name; `previous_revision` is what is rolled back to.
    `unusable` is why `serving` isn't what the spec asks for, but what serves already, or is to be served again.
    `rivals` are autoscalers that somebody else made, by the Deployments that they scale.
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
    numbers: Mapping[str, int] = field(default_factory=dict)
    previous_revision: str = ""
    rolled_back: RolledBack | None = None
    unusable: Unusable | None = None
    deployments: Mapping[str, Json] = field(default_factory=dict)
    scalers: Sequence[Json] = ()
    lacks_keda: bool = False
    rivals: Mapping[str, str] = field(default_factory=dict)
    pods: Sequence[Json] = ()
    troubles: Sequence[Trouble] = ()
    downloaded_pct: Mapping[str, int] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    external_url: str = ""
    preview_url: str = ""
