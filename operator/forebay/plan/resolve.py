"""A ModelDeployment with every default decided: after this nothing is optional."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from forebay.api import Access, Component, Custom, ModelDeployment, ModelSource, Predictor, Queue, Transformer
from forebay.api.autoscaling import ColdStart, PredictorAutoscaling, Target
from forebay.api.drill import Drill
from forebay.api.script_address import is_address, parse_address
from forebay.plan.depth import derive_depth
from forebay.plan.envoy_fallback import Fallback
from forebay.plan.fallback import resolve_fallback
from forebay.plan.model_volume import mount_image
from forebay.plan.names import MODEL_HTTP_PORT, Role
from forebay.plan.strategy import Strategy, resolve_strategy
from forebay.plan.units import parse_duration_s

Json = dict[str, Any]
# How much of its slots an instance is to use, where nobody says: what comes while another starts finds room.
_BUSY = 0.7
_IDLE = "5m"


class Server(StrEnum):
    """What answers behind the queue."""

    TRITON = "triton"
    SCRIPT = "script"
    IMAGE = "image"


@dataclass(frozen=True, kw_only=True)
class QueueLimits:
    """The bounded queue of one instance. `depth` is only where it starts when `depth_derived`."""

    slots: int
    depth: int
    depth_derived: bool
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Instances:
    """How many instances of the model run inside one Triton. A `most` of 0 leaves it to the model's config.pbtxt."""

    least: int = 1
    most: int = 0
    cooldown_s: float = 0.0

    @property
    def scaled(self) -> bool:
        """Whether their number follows the load."""
        return self.most > 0


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The model's files, the Secret with credentials for them, and what they are. An empty string is none.

    Without a format Triton gets them as they are; `config` is what the user says of the config.pbtxt made for it.
    """

    uri: str = ""
    digest: str = ""
    secret_name: str = ""
    format: str = ""
    config: str = ""


@dataclass(frozen=True, kw_only=True)
class ScriptFiles:
    """A script at an address: what is downloaded, the Secret for that, and where in it the script lies."""

    uri: str = ""
    path: str = ""
    secret_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Packages:
    """Libraries that a script needs beside what Forebay brings, and the index that has them. An empty URL is PyPI's."""

    requirements: tuple[str, ...] = ()
    index_url: str = ""
    secret_name: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerResources:
    """What one instance is given, as Kubernetes quantities. `gpu_count` 0 is no GPU, or one by `gpu_claim`."""

    cpu: str
    memory: str
    gpu_count: int = 0
    gpu_resource: str = ""
    # A ResourceClaimTemplate; empty is none.
    gpu_claim: str = ""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How many instances run: between `least` and `most`. Without metrics to follow both are the same."""

    least: int
    most: int
    cpu_pct: int = 0
    memory_pct: int = 0
    # Requests at an instance, their time in its queue, and how many there are a second. 0 isn't followed.
    queue: float = 0.0
    queue_time_s: float = 0.0
    requests_per_s: float = 0.0
    gpu_pct: int = 0
    metrics: tuple[Json, ...] = ()
    behavior: Json = field(default_factory=dict)
    # What of it the cluster can't follow, in words: see plan/providers.py. Empty where it follows everything.
    unmet: str = ""

    @property
    def automatic(self) -> bool:
        """Whether a HorizontalPodAutoscaler decides."""
        return bool(self.cpu_pct or self.memory_pct or self.metrics or self.follows_queue)

    @property
    def may_panic(self) -> bool:
        """Whether a step of load is answered at once: where the requests at an instance are followed, unless somebody
        says how fast to scale up.
        """
        return bool(self.queue) and self.most > self.least and not self.behavior.get("scaleUp")

    @property
    def follows_queue(self) -> bool:
        """Whether a provider of custom metrics is needed."""
        return bool(self.queue or self.queue_time_s or self.requests_per_s or self.gpu_pct)


@dataclass(frozen=True, kw_only=True)
class PodPatch:
    """What the user adds to the pods, less the plain variables and arguments of the model server's container."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Instances of one kind: what runs in each, and the queue in front of it.

    A script is the source itself in `script`, or else somewhere, as `script_files` say.
    """

    namespace: str
    deployment: str
    role: Role
    scaling: Scaling
    server: Server
    served_model: str
    script: str
    script_file: str
    script_files: ScriptFiles
    packages: Packages
    image: str
    image_port: int
    # Where the image takes gRPC; the port above unless it says.
    image_grpc_port: int
    model: ModelFiles
    resources: ServerResources
    env: Mapping[str, str]
    env_from: Mapping[str, Json]
    args: tuple[str, ...]
    pod_patch: PodPatch
    limits: QueueLimits
    instances: Instances = field(default_factory=Instances)

    @property
    def replicas(self) -> int:
        """How many instances run when nothing is scaled."""
        return self.scaling.least


@dataclass(frozen=True, kw_only=True)
class Serving:
    """One ModelDeployment as workloads: the entry is what the gateway sends requests to."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    predictor: Workload
    transformers: tuple[Workload, ...]
    access: Access = field(default_factory=Access)
    # No instance is to run, whatever the workloads' scaling says.
    suspended: bool = False
    # Without a request for so long all instances end, until the next one comes; 0 is never.
    idle_s: float = 0.0
    # So long a request waits for the first instance, at most, and so many in each pod of the gateway.
    cold_start_s: float = 0.0
    most_held: int = 0
    strategy: Strategy = field(default_factory=Strategy)
    fallback: Fallback | None = None
    # As it was written: the gateway reads it itself.
    drill: Drill | None = None
    # The ModelDeployment that gets copies of its requests.
    shadow: str = ""

    @property
    def model_name(self) -> str:
        """By which clients call the model."""
        return self.name if self.transformers else self.predictor.served_model

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """All workloads, those that others call first."""
        return (self.predictor, *self.transformers)

    @property
    def entry(self) -> Workload:
        """The workload that clients reach."""
        return self.workloads[-1]


def resolve(md: ModelDeployment) -> Serving:
    """Decide every default of a ModelDeployment."""
    predictor, transformer = md.spec.predictor, md.spec.transformer
    served_model = (predictor.triton.model if predictor.triton else None) or md.metadata.name
    cold_start = (predictor.autoscaling and predictor.autoscaling.cold_start) or ColdStart()
    return Serving(
        namespace=md.metadata.namespace,
        name=md.metadata.name,
        labels=md.metadata.labels,
        predictor=_resolve_workload(md, Role.PREDICTOR, predictor, custom=predictor.custom, served_model=served_model),
        transformers=() if transformer is None else (_resolve_transformer(md, transformer, served_model),),
        access=md.spec.access,
        suspended=md.spec.suspend,
        idle_s=_resolve_idle_s(predictor.autoscaling),
        cold_start_s=parse_duration_s(cold_start.timeout),
        most_held=cold_start.max_held,
        strategy=resolve_strategy(md.spec.rollout),
        fallback=resolve_fallback(md.spec.fallback),
        drill=md.spec.drill,
        shadow=md.spec.shadow.deployment if md.spec.shadow else "",
    )


def _resolve_idle_s(auto: PredictorAutoscaling | None) -> float:
    return parse_duration_s(auto.idle or _IDLE) if auto and auto.min == 0 else 0.0


def _resolve_transformer(md: ModelDeployment, transformer: Transformer, served_model: str) -> Workload:
    return _resolve_workload(md, Role.TRANSFORMER, transformer, custom=transformer.custom, served_model=served_model)


def _resolve_workload(
    md: ModelDeployment, role: Role, component: Component, *, custom: Custom | None, served_model: str
) -> Workload:
    patches = [c for c in component.pod_template.spec.containers if c.name == role]
    variables = [variable for patch in patches for variable in patch.env]
    model = md.spec.model if role is Role.PREDICTOR else None
    instances = _resolve_instances(component)
    return Workload(
        namespace=md.metadata.namespace,
        deployment=md.metadata.name,
        role=role,
        scaling=_resolve_scaling(component, instances),
        server=_server_of(custom),
        served_model=served_model,
        script=_resolve_source(custom),
        script_file=custom.script_file if custom else "",
        script_files=_resolve_script_files(custom),
        packages=_resolve_packages(custom),
        image=(custom and custom.image) or "",
        image_port=(custom and custom.port) or MODEL_HTTP_PORT,
        image_grpc_port=(custom and (custom.grpc_port or custom.port)) or MODEL_HTTP_PORT,
        model=_resolve_model(model),
        resources=_resolve_resources(component),
        env={variable.name: variable.value for variable in variables if variable.value_from is None},
        env_from={each.name: each.value_from for each in variables if each.value_from is not None},
        args=tuple(argument for patch in patches for argument in patch.args),
        pod_patch=_resolve_pod_patch(component, role),
        # The fewest: their slots grow with them.
        limits=_resolve_queue(md.spec.queue, slots=component.concurrency * instances.least),
        instances=instances,
    )


def _resolve_source(custom: Custom | None) -> str:
    script = (custom and custom.script) or ""
    return "" if is_address(script) else script


def _resolve_script_files(custom: Custom | None) -> ScriptFiles:
    if custom is None or not custom.script or not is_address(custom.script):
        return ScriptFiles()
    address = parse_address(custom.script)
    secret_name = custom.credentials.secret_name if custom.credentials else ""
    return ScriptFiles(uri=address.uri, path=address.path, secret_name=secret_name)


def _resolve_packages(custom: Custom | None) -> Packages:
    if custom is None or not custom.requirements:
        return Packages()
    credentials = custom.index.credentials if custom.index else None
    return Packages(
        # In the order of their names: another order is no other revision.
        requirements=tuple(sorted(custom.requirements)),
        index_url=custom.index.url if custom.index else "",
        secret_name=credentials.secret_name if credentials else "",
    )


def _resolve_model(model: ModelSource | None) -> ModelFiles:
    if model is None:
        return ModelFiles()
    return ModelFiles(
        uri=mount_image(model.uri or "", model.image_path),
        digest=model.digest,
        secret_name=model.credentials.secret_name if model.credentials else "",
        format=model.format or "",
        config=model.config or "",
    )


def _resolve_instances(component: Component) -> Instances:
    triton = component.triton if isinstance(component, Predictor) else None
    wanted = triton and triton.instances
    if not wanted:
        return Instances()
    return Instances(least=wanted.min, most=wanted.max, cooldown_s=parse_duration_s(wanted.cooldown))


def _resolve_scaling(component: Component, instances: Instances) -> Scaling:
    auto = component.autoscaling
    if auto is None:
        return Scaling(least=component.replicas, most=component.replicas)
    target = auto.target
    is_left_out = target == Target() and not auto.metrics
    return Scaling(
        # An autoscaler wakes nobody: to 0 and from there it is others who scale.
        least=max(1, auto.min),
        most=auto.max,
        cpu_pct=target.cpu or 0,
        memory_pct=target.memory or 0,
        # Another Triton comes when all instances of the model that one may have are busy.
        queue=_BUSY * component.concurrency * max(1, instances.most) if is_left_out else target.queue or 0.0,
        queue_time_s=parse_duration_s(target.queue_time) if target.queue_time else 0.0,
        requests_per_s=target.requests_per_second or 0.0,
        gpu_pct=target.gpu or 0,
        metrics=tuple(auto.metrics),
        behavior=auto.behavior or {},
    )


def _resolve_pod_patch(component: Component, role: Role) -> PodPatch:
    template = component.pod_template
    spec = template.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    for container in spec.get("containers", []):
        if container["name"] == role:
            container.pop("env", None)
            container.pop("args", None)
    return PodPatch(labels=template.metadata.labels, annotations=template.metadata.annotations, spec=spec)


def _server_of(custom: Custom | None) -> Server:
    if custom is None:
        return Server.TRITON
    return Server.IMAGE if custom.image else Server.SCRIPT


def _resolve_resources(component: Component) -> ServerResources:
    wanted = component.resources
    gpu = wanted.gpu
    by_name = gpu if gpu and not gpu.claim else None
    return ServerResources(
        cpu=wanted.cpu,
        memory=wanted.memory,
        gpu_count=by_name.count if by_name else 0,
        gpu_resource=by_name.resource if by_name else "",
        gpu_claim=(gpu and gpu.claim) or "",
    )


def _resolve_queue(queue: Queue, *, slots: int) -> QueueLimits:
    timeout_s = parse_duration_s(queue.timeout)
    unmeasured = derive_depth(slots=slots, service_s=0, deadline_s=timeout_s)
    return QueueLimits(
        slots=slots,
        depth=unmeasured if queue.depth is None else queue.depth,
        depth_derived=queue.depth is None,
        timeout_s=timeout_s,
    )
