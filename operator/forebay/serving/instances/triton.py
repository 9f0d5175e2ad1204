"""A model in Triton, as its gRPC on loopback tells it, and how it is loaded again with another number of instances.

By gRPC: a load by HTTP holds up one of the threads that answer predictions by HTTP until it is done. Where nothing but
that number is other, Triton keeps the instances that it has, and they work on. (Files that are newer are another thing:
where a Python model's own folder can be written to, as no pod's can, its bytecode is, and the first load makes all of
its instances anew, beside those that there are.)
"""

from dataclasses import dataclass

import grpc
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from forebay.serving.instances.queue import Unreached

_ANSWER_S = 5.0
_MOST_SHOWN = 500


class Unscalable(Exception):  # noqa: N818  (of the model, not of ours)
    """The number of the model's instances can't be changed, and why, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model as it is loaded."""

    config: model_config_pb2.ModelConfig

    @property
    def count(self) -> int:
        """Its instances, on each of its GPUs."""
        return int(self.config.instance_group[0].count)


class Triton:
    """The Triton at `address`, HOST:PORT, and one of its models: the only one, or else `model`."""

    def __init__(self, address: str, *, model: str) -> None:
        self._channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._wanted = model

    def read(self) -> Loaded:
        """What is loaded. Raises Unreached, and Unscalable."""
        try:
            model = self._find_model()
            answer = self._stub.ModelConfig(pb.ModelConfigRequest(name=model), timeout=_ANSWER_S)
        except grpc.RpcError as error:
            raise Unreached(f"Triton doesn't tell of its model: {describe(error)}") from error
        check_scalable(answer.config)
        return Loaded(config=answer.config)

    def load(self, loaded: Loaded, count: int) -> grpc.Future:
        """Begin to load it with another number of instances."""
        config = model_config_pb2.ModelConfig()
        config.CopyFrom(loaded.config)
        config.instance_group[0].count = count
        text = json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)
        request = pb.RepositoryModelLoadRequest(model_name=config.name)
        request.parameters["config"].string_param = text
        call: grpc.Future = self._stub.RepositoryModelLoad.future(request)
        return call

    def close(self) -> None:
        """Let go of the connection. What is being loaded is loaded all the same."""
        self._channel.close()

    def _find_model(self) -> str:
        index = self._stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=_ANSWER_S)
        names = sorted({each.name for each in index.models})
        if self._wanted in names or not names:
            return self._wanted
        if len(names) > 1:
            raise Unscalable(
                f"the repository has the models {', '.join(names)}, and none is called {self._wanted}: write in "
                "predictor.triton.model which one triton.instances is for"
            )
        return str(names[0])


def check_scalable(config: model_config_pb2.ModelConfig) -> None:
    """Raise Unscalable where more or fewer instances would break what the model does."""
    if config.HasField("ensemble_scheduling"):
        raise Unscalable(
            f"the model {config.name} is an ensemble, which has no instances of its own: leave triton.instances out, "
            "and write instance_group into the config.pbtxt of its steps"
        )
    if config.HasField("sequence_batching"):
        raise Unscalable(
            f"the model {config.name} has sequence_batching, whose sequences a change of its instances would break "
            "off: leave triton.instances out"
        )
    if len(config.instance_group) != 1:
        raise Unscalable(
            f"the model {config.name} has {len(config.instance_group)} entries in instance_group, and triton.instances "
            "is the count of one: leave one in its config.pbtxt, or triton.instances out"
        )


def describe(error: grpc.RpcError) -> str:
    """What a call's failure says of itself."""
    details = str(error.details() or "") if isinstance(error, grpc.Call) else str(error)
    return details.strip()[:_MOST_SHOWN] or "no reason given"
