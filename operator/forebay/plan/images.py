"""The container images of a pod, pinned."""

from dataclasses import dataclass

from forebay.plan.resolve import Server, Workload


@dataclass(frozen=True, kw_only=True)
class Images:
    """What runs in pods. `runtime` serves scripts and downloads models, `operator` builds images."""

    envoy: str = "docker.io/envoyproxy/envoy:distroless-v1.40.0"
    triton: str = "ghcr.io/forebay/triton:0.1.0"
    operator: str = "ghcr.io/forebay/operator:0.1.0"
    runtime: str = "ghcr.io/forebay/runtime:0.1.0"

    def of(self, workload: Workload) -> str:
        """The image of a workload's model server."""
        return {Server.TRITON: self.triton, Server.SCRIPT: self.runtime, Server.IMAGE: workload.image}[workload.server]
