"""A ModelDeployment with every default decided: after this nothing is optional."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from forebay.api import Component, Custom, ModelDeployment, Queue, Transformer
from forebay.plan.depth import derive_depth
from forebay.plan.names import MODEL_HTTP_PORT, Role
from forebay.plan.units import parse_duration_s


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
class ModelFiles:
    """The model's files, and the Secret with credentials for them. An empty string is none."""

    uri: str = ""
    secret_name: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerResources:
    """What one instance is given, as Kubernetes quantities. `gpu_count` 0 is no GPU."""

    cpu: str
    memory: str
    gpu_count: int = 0
    gpu_resource: str = ""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Instances of one kind: what runs in each, and the queue in front of it."""

    namespace: str
    deployment: str
    role: Role
    replicas: int
    server: Server
    served_model: str
    script: str
    script_file: str
    image: str
    image_port: int
    model: ModelFiles
    resources: ServerResources
    env: Mapping[str, str]
    args: tuple[str, ...]
    limits: QueueLimits


@dataclass(frozen=True, kw_only=True)
class Serving:
    """One ModelDeployment as workloads: the entry is what the gateway sends requests to."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    predictor: Workload
    transformers: tuple[Workload, ...]

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
    return Serving(
        namespace=md.metadata.namespace,
        name=md.metadata.name,
        labels=md.metadata.labels,
        predictor=_resolve_workload(md, Role.PREDICTOR, predictor, custom=predictor.custom, served_model=served_model),
        transformers=() if transformer is None else (_resolve_transformer(md, transformer, served_model),),
    )


def _resolve_transformer(md: ModelDeployment, transformer: Transformer, served_model: str) -> Workload:
    return _resolve_workload(md, Role.TRANSFORMER, transformer, custom=transformer.custom, served_model=served_model)


def _resolve_workload(
    md: ModelDeployment, role: Role, component: Component, *, custom: Custom | None, served_model: str
) -> Workload:
    patches = [c for c in component.pod_template.spec.containers if c.name == role]
    model = md.spec.model if role is Role.PREDICTOR else None
    return Workload(
        namespace=md.metadata.namespace,
        deployment=md.metadata.name,
        role=role,
        replicas=component.replicas,
        server=_server_of(custom),
        served_model=served_model,
        script=(custom and custom.script) or "",
        script_file=custom.script_file if custom else "",
        image=(custom and custom.image) or "",
        image_port=(custom and custom.port) or MODEL_HTTP_PORT,
        model=ModelFiles(
            uri=model.uri if model else "",
            secret_name=model.credentials.secret_name if model and model.credentials else "",
        ),
        resources=_resolve_resources(component),
        env={variable.name: variable.value for patch in patches for variable in patch.env},
        args=tuple(argument for patch in patches for argument in patch.args),
        limits=_resolve_queue(md.spec.queue, slots=component.concurrency),
    )


def _server_of(custom: Custom | None) -> Server:
    if custom is None:
        return Server.TRITON
    return Server.IMAGE if custom.image else Server.SCRIPT


def _resolve_resources(component: Component) -> ServerResources:
    wanted = component.resources
    gpu = wanted.gpu
    return ServerResources(
        cpu=wanted.cpu,
        memory=wanted.memory,
        gpu_count=gpu.count if gpu else 0,
        gpu_resource=gpu.resource if gpu else "",
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
