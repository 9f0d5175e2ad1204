"""The instances of one workload, and who is told which of them are ready."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.local.endpoints import Endpoints
from forebay.local.envoy_binary import build_envoy_command
from forebay.local.instance import Instance, State
from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import Command
from forebay.plan.envoy import Address, EndpointFile, Upstream
from forebay.plan.envoy_queue import QueueAddresses, build_queue
from forebay.plan.names import PREDICTOR_CLUSTER, Role, build_route_name
from forebay.plan.resolve import Server, Workload
from forebay.plan.servers import ServerAddresses, build_server_args


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """How the model server of a workload is run here: the program, and what it is told beside the plan's arguments."""

    program: tuple[str, ...]
    env: dict[str, str]
    model_dir: str
    script: str
    environment: str
    extra_args: tuple[str, ...]


class Pool:
    """All instances of one workload. `on_event` is told of every change of one of them."""

    def __init__(self, workload: Workload, launcher: Launcher, *, folder: Path, predictors: Sequence[Upstream]) -> None:
        self.workload = workload
        route = build_route_name(namespace=workload.namespace, deployment=workload.deployment)
        cluster = {"gateway": route, "egress": PREDICTOR_CLUSTER}
        self._endpoints = {
            reader: Endpoints(folder / "endpoints" / f"{workload.role}.{reader}.json", cluster=name)
            for reader, name in cluster.items()
        }
        self.on_event: Callable[[Instance], None] = lambda _instance: None
        self.instances = [
            self._build_instance(index, launcher, folder, predictors) for index in range(workload.replicas)
        ]

    def members(self, reader: str) -> EndpointFile:
        """The ready instances, for a reader: "gateway" or "egress"."""
        return self._endpoints[reader].members

    def _build_instance(self, index: int, launcher: Launcher, folder: Path, predictors: Sequence[Upstream]) -> Instance:
        name = f"{self.workload.role}-{index}"
        addresses = _find_addresses(self.workload, folder / "runtime" / name, predictors)
        arguments = build_server_args(
            self.workload,
            ServerAddresses(
                http=addresses.model_http,
                grpc=addresses.model_grpc,
                metrics=addresses.model_metrics,
                egress=addresses.egress,
                model_dir=launcher.model_dir,
                script=launcher.script,
                environment=launcher.environment,
            ),
        )
        arguments += launcher.extra_args
        region = ""
        if self.workload.server is Server.TRITON:
            # Instances of one machine share /dev/shm.
            region = f"forebay-{os.getpid()}-{addresses.front.port}-"
            arguments.append(f"--backend-config=python,shm-region-prefix-name={region}")
        server = Command(
            name=name,
            argv=(*launcher.program, *arguments),
            log=folder / "logs" / f"{name}.log",
            env={**launcher.env, **self.workload.env},
            shared_memory=region,
        )
        scaled, timeout_s = self.workload.instances.scaled, self.workload.limits.timeout_s
        config = build_queue(self.workload.server, addresses, timeout_s=timeout_s, scaled=scaled)
        queue = build_envoy_command(f"{name}.queue", config, folder=folder)
        return Instance(self.workload, addresses=addresses, server=server, queue=queue, on_change=self._on_change)

    def _on_change(self, instance: Instance) -> None:
        self._publish([each.addresses.front for each in self.instances if each.state is State.READY])
        self.on_event(instance)

    def _publish(self, addresses: list[Address]) -> None:
        for endpoints in self._endpoints.values():
            endpoints.write(addresses)


def _find_addresses(workload: Workload, runtime: Path, predictors: Sequence[Upstream]) -> QueueAddresses:
    front, metrics, admin, http, grpc, triton_metrics, egress, scaler = (
        Address(HOST, port) for port in find_free_ports(8)
    )
    return QueueAddresses(
        front=front,
        metrics=metrics,
        admin=admin,
        model_http=http,
        model_grpc=grpc,
        model_metrics=triton_metrics if workload.server is Server.TRITON else http,
        egress=egress,
        predictors=tuple(predictors) if workload.role is Role.TRANSFORMER else (),
        runtime_dir=str(runtime),
        scaler=scaler,
    )
