"""The command line of each model server, wherever it runs."""

from dataclasses import dataclass

from forebay.plan.envoy import Address
from forebay.plan.names import Role
from forebay.plan.resolve import Server, Workload


@dataclass(frozen=True, kw_only=True)
class ServerAddresses:
    """Where a model server listens, and where a transformer finds its predictor (HOST:PORT of the egress)."""

    http: Address
    grpc: Address
    metrics: Address
    egress: Address
    model_dir: str
    script: str
    environment: str


def build_server_args(workload: Workload, addresses: ServerAddresses) -> list[str]:
    """Arguments of the model server: of `tritonserver`, or of `python -m forebay.serving`; an image gets the user's."""
    match workload.server:
        case Server.TRITON:
            ours = _build_triton_args(addresses, scaled=workload.instances.scaled)
        case Server.SCRIPT:
            ours = _build_script_args(workload, addresses)
        case Server.IMAGE:
            ours = []
    return [*ours, *workload.args]


def build_image_env(workload: Workload, addresses: ServerAddresses) -> dict[str, str]:
    """What an image is told: as variables what a script is told as arguments. `forebay build` makes images for that."""
    args = dict(arg.removeprefix("--").split("=", 1) for arg in _build_script_args(workload, addresses))
    # One port for both is of an image that knows how; those of `forebay build` have two.
    unsaid = {"script", *(["grpc-port"] if addresses.grpc == addresses.http else [])}
    return {f"FOREBAY_{name.replace('-', '_').upper()}": value for name, value in args.items() if name not in unsaid}


def _build_triton_args(addresses: ServerAddresses, *, scaled: bool) -> list[str]:
    # Seconds that Triton gives requests in flight when it is told to stop: the queue has drained by then.
    return [
        f"--model-repository={addresses.model_dir}",
        f"--http-address={addresses.http.host}",
        f"--http-port={addresses.http.port}",
        f"--grpc-address={addresses.grpc.host}",
        f"--grpc-port={addresses.grpc.port}",
        f"--metrics-address={addresses.metrics.host}",
        f"--metrics-port={addresses.metrics.port}",
        "--exit-timeout-secs=10",
        # All at the start as else, and again with other numbers of instances.
        *(["--model-control-mode=explicit", "--load-model=*"] if scaled else []),
    ]


def _build_script_args(workload: Workload, addresses: ServerAddresses) -> list[str]:
    args = [
        f"--script={addresses.script}",
        f"--name={workload.deployment if workload.role is Role.TRANSFORMER else workload.served_model}",
        f"--role={workload.role}",
        f"--host={addresses.http.host}",
        f"--http-port={addresses.http.port}",
        f"--grpc-port={addresses.grpc.port}",
        f"--concurrency={workload.limits.slots}",
    ]
    if workload.role is Role.TRANSFORMER:
        egress = f"{addresses.egress.host}:{addresses.egress.port}"
        args += [f"--predictor={egress}", f"--predictor-model={workload.served_model}"]
    if workload.packages.requirements:
        args.append(f"--environment={addresses.environment}")
    if workload.model.uri:
        args.append(f"--model-dir={addresses.model_dir}")
    return args
