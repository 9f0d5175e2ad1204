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
        "ModelResolved where MLflow says which version is meant.",
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

    state: Literal["Pending", "Downloading", "Installing", "Loading", "Ready", "Failed"] = Field(
        description="Of the instance that is furthest behind: Pending, Downloading (the model), Installing (a script's "
        "libraries), Loading, Ready or Failed."
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
    target_revision: ObjectName = Field(default="", description="The revision that the spec asks for.")
    components: Annotated[list[ComponentStatus], Field(json_schema_extra=_list_of("name"))] = Field(
        default=[], max_length=8, description="The target revision's predictor and transformer."
    )
    traffic: Annotated[list[Traffic], Field(json_schema_extra=_list_of("revision"))] = Field(
        default=[], max_length=8, description="Who gets which share of the requests."
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
