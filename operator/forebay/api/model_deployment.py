"""The ModelDeployment kind: serve this model."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PrivateAttr

from forebay.api.access import Access
from forebay.api.autoscaling import Autoscaling, PredictorAutoscaling
from forebay.api.base import Column, Cpu, Duration, Form, Kind, Memory, Model, Name, Rule, Scale
from forebay.api.drill import Drill
from forebay.api.fallback import FALLBACK_ANOTHER, FALLBACK_SOONER, Fallback
from forebay.api.model_instances import ModelInstances
from forebay.api.model_source import Credentials, ModelSource
from forebay.api.packages import PackageIndex, Requirement
from forebay.api.pod_template import PodTemplate
from forebay.api.rollout import Rollout
from forebay.api.script_address import SCRIPT_FORMS, SCRIPT_RULE
from forebay.api.shadow import SHADOW_ANOTHER, Shadow
from forebay.api.status import ModelDeploymentStatus


class Gpu(Model):
    """GPUs of one instance."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.claim) || (self.count == 1 && self.resource == 'nvidia.com/gpu')",
            "says itself which GPU and how much of it: leave count and resource out",
            ".claim",
        ),
    )
    count: int = Field(default=1, ge=1, le=64, description="How many of the resource each instance takes.")
    resource: Annotated[str, Form("DOMAIN/NAME, such as nvidia.com/gpu")] = Field(
        default="nvidia.com/gpu",
        min_length=3,
        max_length=253,
        pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$",
        description="Name of the extended resource: nvidia.com/gpu, a MIG slice such as nvidia.com/mig-1g.10gb, or a "
        "shared GPU such as nvidia.com/gpu.shared.",
    )
    claim: Name | None = Field(
        default=None,
        description="A ResourceClaimTemplate in the same namespace, of which each instance gets a claim of its own, in "
        "place of resource and count. Needs Kubernetes 1.34 and a DRA driver.",
    )


class Resources(Model):
    """What one instance is given: requests and limits alike, except that CPU is never limited."""

    cpu: Cpu = Field(default="1", description='CPU requested, in cores: "2" or "500m".')
    memory: Memory = Field(default="1Gi", description='Memory requested, and the limit: "4Gi".')
    gpu: Gpu | None = Field(default=None, description="GPUs; none when left out.")


class Triton(Model):
    """NVIDIA Triton Inference Server over the model's folder, which is a Triton repository and passes untouched."""

    model: Annotated[str, Form("letters, digits, `_`, `.` and `-`")] | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
        description="The model of the repository that the transformer calls; the ModelDeployment's name when left out.",
    )
    instances: ModelInstances | None = Field(
        default=None,
        description="Let the number of instances of the model inside each Triton follow the load, before there is "
        "another Triton; the model's config.pbtxt says how many there are when left out.",
    )


class Custom(Model):
    """A server of your own: a Python script with one class, or an image."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.script) != has(self.image)",
            "write exactly one of script (Python source) and image (a container image)",
        ),
        SCRIPT_RULE,
        Rule(
            "!has(self.credentials) || !has(self.script) || !self.script.contains('\\n')",
            "goes with a script that is an address (s3://, git+https://, https://): leave it out",
            ".credentials",
        ),
        Rule(
            "!has(self.credentials) || has(self.script)", "goes with script, where that is an address", ".credentials"
        ),
        Rule(
            "self.requirements.size() == 0 || has(self.script)",
            "goes with script: an image has its own libraries in it",
            ".requirements",
        ),
        Rule(
            "!has(self.index) || self.requirements.size() > 0",
            "is where requirements come from: write requirements, or leave it out",
            ".index",
        ),
        Rule("!has(self.port) || has(self.image)", "goes with image: a script is given its port", ".port"),
        Rule("!has(self.grpcPort) || has(self.image)", "goes with image: a script is given its port", ".grpcPort"),
        *(
            Rule(
                f"!has(self.{port}) || !(self.{port} in [8080, 8100, 9090, 9901])",
                "is taken by the queue in the same pod, as are 8080, 8100, 9090 and 9901: write another, as 8000",
                f".{port}",
            )
            for port in ("port", "grpcPort")
        ),
    )
    script: str | None = Field(
        default=None,
        min_length=1,
        max_length=262144,
        repr=False,
        description="Python source with one class: `load` and `predict` for a predictor, `preprocess` and/or "
        "`postprocess` for a transformer. Or the address of a .py file: "
        f"{SCRIPT_FORMS}. Each pod reads it once, when it starts, so name a tag or commit that stays, and write "
        "another for a new revision; with #path= the modules beside it can be imported. The forebay command also takes "
        "the path of a .py file beside the manifest.",
    )
    credentials: Credentials | None = Field(
        default=None,
        description="Credentials for the script's address: for git GIT_USERNAME and GIT_PASSWORD (which may be a "
        "token), else as in model.credentials. `forebay serve` takes the same variables from its environment.",
    )
    requirements: list[Requirement] = Field(
        default=[],
        max_length=128,
        description="Libraries that the script needs beside numpy and what else Forebay brings, as in a "
        "requirements.txt. Wheels alone are installed, before the script starts, with the newest versions that these "
        "allow: write NAME==VERSION, so that all pods have the same.",
        examples=[["pillow==12.0.0", "scikit-learn>=1.7,<2"]],
    )
    index: PackageIndex | None = Field(
        default=None, description="Where the requirements come from; pypi.org when left out."
    )
    image: Annotated[str, Form("REGISTRY/NAME:TAG, with no spaces")] | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        pattern=r"^[^ \t\n\r]+$",
        description="Container image whose server speaks the Open Inference Protocol v2 over HTTP, such as one of "
        "`forebay build` or of an ImageBuild. Needs a cluster.",
    )
    port: int | None = Field(
        default=None, ge=1024, le=65535, description="Port on which the image's server listens; 8000 when left out."
    )
    grpc_port: int | None = Field(
        default=None,
        ge=1024,
        le=65535,
        description="Port on which the image's server takes gRPC, where it isn't the same: 8001 for one of `forebay "
        "build`. The pod tells its image both, and what else a script is told, by the environment variables that "
        "`python -m forebay.serving --help` names.",
    )
    # Where the command read the script, for messages that name it; what is applied has the source alone.
    _script_file: str = PrivateAttr(default="")

    @property
    def script_file(self) -> str:
        """The file that the script was read from; empty when its source stood in the manifest."""
        return self._script_file

    def remember_file(self, path: str) -> None:
        """Keep the file that the script was read from."""
        self._script_file = path


REPLICAS_OR_AUTOSCALING = Rule(
    "!has(self.autoscaling) || self.replicas == 1",
    "autoscaling decides the number of instances: leave replicas out, and change autoscaling.min and max",
    ".replicas",
)


GPU_USE = Rule(
    "!has(self.autoscaling) || !has(self.autoscaling.target.gpu) || (has(self.resources.gpu) && "
    "!self.resources.gpu.resource.contains('/mig-'))",
    "is the use of what resources.gpu says, which must be there, and no MIG slice, of which none is told: write queue",
    ".autoscaling.target.gpu",
)


def _container_rules(name: str, *, has_image: str) -> tuple[Rule, Rule]:
    """What may be said of containers, in a component whose own is called `name`."""
    return (
        Rule(
            f"self.podTemplate.spec.containers.all(c, c.name == '{name}' || has(c.image))",
            f"the {name}'s container is called `{name}`: write name: {name}, or an image for a container of your own",
            ".podTemplate",
        ),
        Rule(
            f"self.podTemplate.spec.containers.all(c, c.name != '{name}' || !has(c.command)) || {has_image}",
            f"the {name}'s command is Forebay's unless custom.image is written: what you add goes into args",
            ".podTemplate",
        ),
    )


class Component(Model):
    """What the predictor and the transformer share."""

    replicas: int = Field(
        default=1, ge=1, le=1000, description="How many instances run. With autoscaling this is left out."
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="Let the number of instances follow the load, by a HorizontalPodAutoscaler."
    )
    concurrency: int = Field(
        default=8,
        ge=1,
        le=4096,
        description="How many requests one instance works on at once; the others wait in its queue.",
    )
    resources: Resources = Field(default=Resources(), description="What one instance is given.")
    pod_template: PodTemplate = Field(
        default=PodTemplate(), description="The one place to change the pods: merged over what Forebay makes."
    )


class Predictor(Component):
    """What runs the model."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.triton) != has(self.custom)", "write exactly one of triton and custom"),
        *_container_rules("predictor", has_image="has(self.custom) && has(self.custom.image)"),
        REPLICAS_OR_AUTOSCALING,
        GPU_USE,
    )
    autoscaling: PredictorAutoscaling | None = Field(
        default=None, description="Let the number of instances follow the load, by a HorizontalPodAutoscaler."
    )
    concurrency: int = Field(
        default=8,
        ge=1,
        le=4096,
        description="How many requests one instance works on at once; the others wait in its queue. With "
        "triton.instances, how many each instance of the model inside Triton works on.",
    )
    triton: Triton | None = Field(default=None, description="Serve the model with Triton: write `triton: {}`.")
    custom: Custom | None = Field(default=None, description="Serve the model with a script or an image of your own.")


class Transformer(Component):
    """What stands between the client and the predictor: makes tensors of what clients send, and answers of tensors."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *_container_rules("transformer", has_image="has(self.custom.image)"),
        REPLICAS_OR_AUTOSCALING,
        GPU_USE,
    )
    custom: Custom = Field(description="The script or image that transforms.")


class Queue(Model):
    """The bounded queue in front of every instance of the predictor and of the transformer."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "duration(self.timeout) >= duration('10ms') && duration(self.timeout) <= duration('1h')",
            'must lie between 10ms and 1h: write "30s"',
            ".timeout",
        ),
    )
    depth: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description="How many requests wait at one instance before more are refused with 429. When left out it follows "
        "from the timeout and the measured service time, so that whatever is let in can be answered in time.",
    )
    timeout: Duration = Field(
        default="30s",
        description="How long a request may take at an instance, waiting included, before it is answered with 504.",
    )


class ModelDeploymentSpec(Model):
    """What is wanted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.predictor.triton) || has(self.model)",
            "Triton needs a model: write model: {uri: s3://BUCKET/PREFIX}",
            ".model",
        ),
        Rule(
            "!has(self.model) || !has(self.model.format) || has(self.predictor.triton)",
            "goes with predictor.triton: a custom predictor is given the files as they are, so leave format out",
            ".model.format",
        ),
        FALLBACK_SOONER,
    )
    model: ModelSource | None = Field(
        default=None, description="The model's files. A custom predictor that brings its own may leave this out."
    )
    predictor: Predictor = Field(description="What runs the model.")
    transformer: Transformer | None = Field(
        default=None, description="What stands between the client and the predictor. It is scaled on its own."
    )
    queue: Queue = Field(default=Queue(), description="The bounded queue in front of every instance.")
    access: Access = Field(default=Access(), description="Who may call the model, and how often.")
    rollout: Rollout | None = Field(
        default=None,
        description="How a changed model takes over: left out, when all its instances are ready. `forebay serve` has "
        "no rollouts, and says so.",
    )
    fallback: Fallback | None = Field(
        default=None,
        description="Who answers when the model is down, refuses, or is too slow. Such an answer has the header "
        "`x-forebay-fallback`: the name of who gave it, or `response`.",
    )
    shadow: Shadow | None = Field(
        default=None,
        description="Who gets copies of requests, for a comparison (`forebay shadow`). While a step of a rollout has "
        "copies made for a new revision, none are made for this one; nor are they of a request that waits for an "
        "instance, or names a revision. `forebay serve` makes none.",
    )
    drill: Drill | None = Field(
        default=None,
        description="Break a revision on purpose for a bounded time (`forebay drill`). `forebay serve` has none, and "
        "says so.",
    )
    suspend: bool = Field(
        default=False,
        description="Stop all instances, and answer requests with 503 and the reason `suspended`; false starts them "
        "again: a rollout by steps then begins anew, and one that was aborted or failed stays so. Where none was under "
        "way, a spec that was changed meanwhile takes over with no steps. `forebay serve` serves all the same, and "
        "says so.",
    )


class ModelDeployment(Kind):
    """A model that is served: its predictor, its transformer, and the queue in front of every instance."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "must be 40 characters at most, of lower-case letters, digits and `-`: what is made for the "
            "object is called after it, with a suffix, and Kubernetes allows 63",
            ".metadata.name",
        ),
        FALLBACK_ANOTHER,
        SHADOW_ANOTHER,
    )
    plural: ClassVar[str] = "modeldeployments"
    short_names: ClassVar[tuple[str, ...]] = ("md",)
    categories: ClassVar[tuple[str, ...]] = ("forebay", "all")
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Instances", "string", ".status.instances"),
        Column("URL", "string", ".status.url"),
        Column("Revision", "string", ".status.activeRevision", wide=True),
        Column("Number", "integer", ".status.activeNumber", wide=True),
        Column("Model", "string", ".spec.model.uri", wide=True),
        Column("Version", "string", ".status.model.version", wide=True),
        Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', wide=True),
    )
    status_model: ClassVar[type[Model] | None] = ModelDeploymentStatus
    scale: ClassVar[Scale | None] = Scale(".spec.predictor.replicas", ".status.replicas", ".status.selector")

    api_version: Literal["forebay.dev/v1alpha1"] = Field(description="The API's group and version.")
    kind: Literal["ModelDeployment"] = Field(description="The kind.")
    spec: ModelDeploymentSpec = Field(description="What is wanted.")
