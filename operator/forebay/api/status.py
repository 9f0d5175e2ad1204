"""What the operator says of a ModelDeployment: the status subresource, written by it alone."""

from typing import Annotated, Literal

from pydantic import Field

from forebay.api.base import Model

# A CRD's numbers are float64, which has no larger whole number without gaps.
MAX_GENERATION = 2**53 - 1
MAX_REPLICAS = 2**31 - 1
ConditionStatus = Literal["True", "False", "Unknown"]
ObjectName = Annotated[str, Field(max_length=253)]
Url = Annotated[str, Field(max_length=2048)]


class Condition(Model):
    """One thing that is or isn't so, since when, and why."""

    type: str = Field(
        max_length=316,
        min_length=1,
        description="What is told of: Ready, Available, Progressing, Stalled, PredictorReady or TransformerReady; "
        "RolledBack where something else is served than the spec says; ModelResolved where MLflow says which version "
        "is meant; Autoscaling where the number of instances follows the load; Asleep where it may be 0.",
    )
    status: ConditionStatus = Field(description="Whether it is so: True, False or Unknown.")
    observed_generation: int | None = Field(
        default=None, ge=0, le=MAX_GENERATION, description="The metadata.generation that the condition was made from."
    )
    last_transition_time: str = Field(
        max_length=64, json_schema_extra={"format": "date-time"}, description="Since when the status is so."
    )
    reason: str = Field(max_length=1024, description="Why, in one CamelCase word for machines.")
    message: str = Field(default="", max_length=32768, description="Why, in a sentence, and what to do about it.")


class ModelState(Model):
    """How far the instances of a component are with their model."""

    state: Literal["Pending", "Downloading", "Installing", "Loading", "Ready", "Failed", "Asleep"] = Field(
        description="Of the instance that is furthest behind: Pending, Downloading (the model), Installing (a script's "
        "libraries), Loading, Ready or Failed. Asleep: there is none, until a request comes."
    )
    progress_pct: int | None = Field(
        default=None, ge=0, le=100, description="How much of the model is downloaded, in percent."
    )
    message: str = Field(
        default="", max_length=32768, description="What went wrong: the pod, the container and its last line."
    )


class ModelInUse(Model):
    """The version that spec.model.version came to, or an address of MLflow's registry."""

    version: str = Field(max_length=2048, description="The version, as MODEL:VERSION or models:/NAME/VERSION.")
    uri: Url = Field(repr=False, description="The address of its files.")
    digest: str = Field(default="", max_length=71, description="The digest of its content, where it is known.")
    run: str | None = Field(default=None, max_length=256, description="The run of MLflow's that made it.")
    reference: Url | None = Field(
        default=None, description="What MLflow was asked for: the address in spec.model.uri then."
    )


class ComponentStatus(Model):
    """The instances of the predictor or of the transformer."""

    name: ObjectName = Field(description="The component: predictor or transformer.")
    workload: ObjectName = Field(description="The Deployment that runs it.")
    replicas: int = Field(ge=0, le=MAX_REPLICAS, description="How many instances are wanted.")
    ready_replicas: int = Field(ge=0, le=MAX_REPLICAS, description="How many of them are ready.")
    min_replicas: int | None = Field(
        default=None, ge=0, le=MAX_REPLICAS, description="The fewest that autoscaling leaves, where there is any."
    )
    max_replicas: int | None = Field(
        default=None, ge=0, le=MAX_REPLICAS, description="The most that autoscaling makes, where there is any."
    )
    model: ModelState | None = Field(default=None, description="How far they are with the model.")


class Traffic(Model):
    """A share of the requests, and who gets it."""

    revision: ObjectName = Field(description="The revision that gets it.")
    workload: ObjectName = Field(
        description="Its entry: the transformer's Deployment if there is one, else the predictor's."
    )
    workloads: list[ObjectName] = Field(
        max_length=8, description="All its Deployments, in the order of their answers: the predictor's first."
    )
    weight_pct: int = Field(ge=0, le=100, description="Its share, in percent.")


class AnalysisStatus(Model):
    """What the requests of the present step say of the new revision."""

    verdict: Literal["Passed", "Inconclusive", "Failed"] = Field(
        description="Passed, Failed, or Inconclusive: it takes more requests to tell, or counters are missing."
    )
    message: str = Field(max_length=1024, description="Why, in a sentence with figures.")
    requests: int = Field(ge=0, le=MAX_GENERATION, description="Requests to the new revision that were counted.")
    stable_requests: int = Field(ge=0, le=MAX_GENERATION, description="Requests to the one that serves meanwhile.")


class RolloutStatus(Model):
    """A rollout that isn't over."""

    revision: ObjectName = Field(description="The revision that is to take over.")
    phase: Literal[
        "Starting",
        "Holding",
        "Ending",
        "Routing",
        "Running",
        "Waiting",
        "Analyzing",
        "Paused",
        "Unready",
        "Down",
        "Aborted",
        "Failed",
    ] = Field(
        description="Starting (its instances), Holding (the gateway is about to hold requests), Ending (the instances "
        "before it), Routing (the gateway is about to follow), Running (its pause), "
        "Waiting (for a person), Analyzing (the next step waits for the analysis), Paused (by spec.rollout.paused), "
        "Unready (the next step waits for instances), Down (it was up, and isn't: it gets no requests), Aborted, or "
        "Failed: message says why, and it gets no requests."
    )
    attempt: int = Field(default=1, ge=1, le=1000, description="Which attempt it is; spec.rollout.retry asks for more.")
    falls: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="How often half of its instances or more went down in this step. With an analysis the third time "
        "fails it.",
    )
    partial_falls: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="How often fewer of them did. With an analysis the tenth time fails it.",
    )
    message: str = Field(default="", max_length=1024, description="Why it failed, in a sentence with figures.")
    analysis: AnalysisStatus | None = Field(
        default=None, description="What the analysis of this step said last, where there is one."
    )
    step: int = Field(ge=0, le=100, description="The step it is in, from 1; 0 before the first.")
    steps: int = Field(ge=0, le=100, description="How many steps there are.")
    weight_pct: int = Field(ge=0, le=100, description="The share of the requests that it is to have, in percent.")
    shadow_pct: int = Field(
        default=0, ge=0, le=100, description="The share of the requests that it is to get copies of, in percent."
    )
    routed_pct: int | None = Field(
        default=None, ge=0, le=100, description="The least share that a pod of the gateway gives it, where one tells."
    )
    since: str = Field(
        default="", max_length=64, description="Since when the gateway gives it that share, as 2026-01-02T03:04:05Z."
    )
    until: str = Field(default="", max_length=64, description="When the next step is due, where a time is set.")
    held_since: str = Field(
        default="", max_length=64, description="Since when the gateway holds requests, where it does."
    )
    instances_before: dict[ObjectName, Annotated[int, Field(ge=0, le=MAX_REPLICAS)]] = Field(
        default={},
        max_length=16,
        description="How many instances those Deployments had that ended for it, and have again where it fails.",
    )
    workload: ObjectName = Field(
        default="",
        description="Its entry: who asks for it by name, or for the preview, is sent there before it serves.",
    )
    preview: Url = Field(
        default="",
        description="Where clients find it by itself, once it has a ready instance. Wherever they find the model, the "
        "header `forebay-revision: preview` does the same.",
    )


class WarmRevision(Model):
    """A revision that served until another took over, and whose instances are kept for a while."""

    revision: ObjectName = Field(description="The revision that is served by them as soon as the spec goes back to it.")
    workloads: list[ObjectName] = Field(max_length=8, description="Its Deployments, as in traffic.")
    since: str = Field(max_length=64, description="When the other took over, as 2026-01-02T03:04:05Z.")
    until: str = Field(default="", max_length=64, description="When they end.")


class RollbackStatus(Model):
    """What is served in place of what the spec asks for."""

    unwanted: ObjectName = Field(alias="from", description="The revision that the spec asks for.")
    to: ObjectName = Field(description="The revision whose content is served instead.")


def _list_of(key: str) -> dict[str, object]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class ModelDeploymentStatus(Model):
    """What was found."""

    observed_generation: int | None = Field(
        default=None, ge=0, le=MAX_GENERATION, description="The metadata.generation that was looked at."
    )
    conditions: Annotated[list[Condition], Field(json_schema_extra=_list_of("type"))] = Field(
        default=[],
        max_length=16,
        description="What is and isn't so. `kubectl wait --for=condition=Ready` waits for Ready.",
    )
    url: Url = Field(default="", description="Where clients in the cluster find the model.")
    external_url: Url = Field(
        default="", description="Where clients elsewhere find it, if the gateway has such an address."
    )
    replicas: int | None = Field(
        default=None, ge=0, le=MAX_REPLICAS, description="Instances of the predictor, for `kubectl scale`."
    )
    ready_replicas: int | None = Field(
        default=None, ge=0, le=MAX_REPLICAS, description="Instances of the predictor that are ready."
    )
    selector: str = Field(default="", max_length=2048, description="Label selector of the predictor's pods.")
    instances: str = Field(
        default="", max_length=64, description='Ready and wanted instances of all components, as in "3/4".'
    )
    model: ModelInUse | None = Field(
        default=None, description="The version that the target revision is of, where spec.model names one."
    )
    active_revision: ObjectName = Field(default="", description="The revision that serves.")
    target_revision: ObjectName = Field(
        default="",
        description="The revision that the spec asks for, or spec.rollout.rollback in its place. Where the spec can't "
        "be used, the one that serves on.",
    )
    previous_revision: ObjectName = Field(
        default="", description="The one that serves beside that, or that served before it: what is rolled back to."
    )
    active_number: int | None = Field(
        default=None,
        ge=0,
        le=MAX_GENERATION,
        description="The number of the one that serves, as `forebay history` has it.",
    )
    target_number: int | None = Field(
        default=None, ge=0, le=MAX_GENERATION, description="The number of the one that is asked for."
    )
    components: Annotated[list[ComponentStatus], Field(json_schema_extra=_list_of("name"))] = Field(
        default=[], max_length=8, description="The target revision's predictor and transformer."
    )
    traffic: Annotated[list[Traffic], Field(json_schema_extra=_list_of("revision"))] = Field(
        default=[], max_length=8, description="Who gets which share of the requests, the one that serves first."
    )
    rollout: RolloutStatus | None = Field(default=None, description="The rollout that isn't over, if there is one.")
    warm: WarmRevision | None = Field(
        default=None, description="Who served before, while rollout.scaleDownDelay keeps its instances."
    )
    rollback: RollbackStatus | None = Field(
        default=None, description="What spec.rollout.rollback has put in place of what the spec asks for."
    )


class ImageBuildStatus(Model):
    """What was found."""

    observed_generation: int | None = Field(
        default=None, ge=0, le=MAX_GENERATION, description="The metadata.generation that was looked at."
    )
    conditions: Annotated[list[Condition], Field(json_schema_extra=_list_of("type"))] = Field(
        default=[],
        max_length=16,
        description="What is and isn't so: Ready is True once the image is pushed, Stalled where somebody must change "
        "something. `kubectl wait --for=condition=Ready` waits for Ready.",
    )
    image: str = Field(
        default="", max_length=1024, description="The image that was pushed last, as REGISTRY/NAME@DIGEST."
    )
    digest: str = Field(default="", max_length=71, description="Its digest.")
    job: ObjectName = Field(default="", description="The Job that builds, or built, what the spec says.")
    start_time: str = Field(default="", max_length=64, description="When that Job began, as 2026-01-02T03:04:05Z.")
    completion_time: str = Field(default="", max_length=64, description="When it ended.")


class ModelVersionStatus(Model):
    """What was found."""

    observed_generation: int | None = Field(
        default=None, ge=0, le=MAX_GENERATION, description="The metadata.generation that was looked at."
    )
    conditions: Annotated[list[Condition], Field(json_schema_extra=_list_of("type"))] = Field(
        default=[],
        max_length=16,
        description="What is and isn't so: Ready is False where another version claims one of its aliases, too.",
    )
