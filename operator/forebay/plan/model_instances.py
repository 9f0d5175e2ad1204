"""What scales the model's instances inside a Triton: the process beside it, and the numbers that it goes by.

The numbers lie with the queue's own, so that to change them starts no pod anew.
"""

from forebay.plan.envoy import Json
from forebay.plan.envoy_queue import QueueAddresses
from forebay.plan.names import INSTANCES_KEY
from forebay.plan.resolve import Workload

MODULE = "forebay.serving.instances"


def build_scaler(workload: Workload, addresses: QueueAddresses) -> Json:
    """What its container has beside what all have: a native sidecar, whose end is not the server's."""
    return {
        "restartPolicy": "Always",
        "command": ["python", "-m", MODULE],
        "args": build_scaler_args(workload, addresses),
        "resources": {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  (the container's own)
    }


def build_scaler_args(workload: Workload, addresses: QueueAddresses) -> list[str]:
    """Arguments of `python -m forebay.serving.instances`: where Triton and the queue in front of it are told."""
    told = {
        "triton": addresses.model_grpc,
        "triton-metrics": addresses.model_metrics,
        "admin": addresses.admin,
        "listen": addresses.scaler,
    }
    return [*(f"--{name}={at.host}:{at.port}" for name, at in told.items()), f"--model={workload.served_model}"]


def build_scaler_numbers(workload: Workload) -> dict[str, str]:
    """The live numbers, as those of the queue: none where nothing is scaled."""
    instances = workload.instances
    if not instances.scaled:
        return {}
    numbers = {
        "min": instances.least,
        "max": instances.most,
        "cooldown_ms": round(instances.cooldown_s * 1000),
        "depth_follows": int(workload.limits.depth_derived),
    }
    return {f"{INSTANCES_KEY}.{name}": str(number) for name, number in numbers.items()}
