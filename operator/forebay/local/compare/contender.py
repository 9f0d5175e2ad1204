"""One version, served until it has answered: the plan of `forebay serve`, with one instance and no gateway."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from forebay.api import ModelDeployment
from forebay.local.compare.samples import Sample
from forebay.local.deployment import Deployment
from forebay.local.display import Display
from forebay.local.errors import LocalError
from forebay.local.instance import Instance, State
from forebay.local.run_folder import RunFolder
from forebay.plan.resolve import Scaling, Serving, resolve
from forebay.serving.errors import BadRequest
from forebay.serving.protobuf import decode_metadata, decode_tensors, encode_request
from forebay.serving.tensors import Arrays, Tensor

_POLL_S = 0.05
_STOP_GRACE_S = 10.0
_METADATA_S = 30.0
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A version to be compared: what it is called, and the ModelDeployment that serves it."""

    reference: str
    deployment: ModelDeployment
    labels: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one request: the outputs, or why there are none."""

    latency_s: float
    outputs: Arrays = field(default_factory=dict)
    refusal: str = ""


class Server:
    """A running version: what it takes, and its answers."""

    def __init__(self, address: str, model: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_UNLIMITED)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._model = model

    async def read_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that the model declares. Raises LocalError where it can't say."""
        try:
            answer = await self._stub.ModelMetadata(pb.ModelMetadataRequest(name=self._model), timeout=_METADATA_S)
        except grpc.aio.AioRpcError as error:
            raise LocalError(f"model {self._model} does not tell its inputs: {error.details()}") from error
        return decode_metadata(answer.inputs)

    async def answer(self, sample: Sample, *, timeout_s: float) -> Answer:
        """Predict for one sample."""
        message = encode_request(self._model, sample.name, sample.inputs, {})
        started = time.perf_counter()
        try:
            reply = await self._stub.ModelInfer(message, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            text = f"{error.code().name}: {error.details()}"
            return Answer(latency_s=time.perf_counter() - started, refusal=text)
        latency_s = time.perf_counter() - started
        try:
            return Answer(latency_s=latency_s, outputs=decode_tensors(reply.outputs, reply.raw_output_contents))
        except BadRequest as error:
            return Answer(latency_s=latency_s, refusal=f"its answer can't be read: {error.message}")

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


@contextlib.asynccontextmanager
async def running(contender: Contender, display: Display) -> AsyncIterator[Server]:
    """Serve a version until the block ends. Raises LocalError where it can't be."""
    serving = alone(resolve(contender.deployment))
    async with contextlib.AsyncExitStack() as stack:
        folder = RunFolder(f"{serving.namespace}/{contender.reference}.compared")
        stack.callback(folder.close)
        deployment = Deployment(serving, folder)
        stack.callback(deployment.close)
        await deployment.prepare(display)
        instance = deployment.instances[0]
        stack.push_async_callback(instance.stop, grace_s=_STOP_GRACE_S)
        instance.start()
        with display.console.status(f"{contender.reference} is loading"):
            await _wait_until_ready(instance, contender.reference)
        address = instance.addresses.model_grpc
        server = Server(f"{address.host}:{address.port}", serving.predictor.served_model)
        stack.push_async_callback(server.close)
        yield server


def alone(serving: Serving) -> Serving:
    """One instance of the predictor, and nothing in front of it: what is compared is what the model says."""
    return replace(serving, transformers=(), predictor=replace(serving.predictor, scaling=Scaling(least=1, most=1)))


async def answer_all(
    server: Server, samples: Sequence[Sample], *, timeout_s: float, on_answer: Callable[[int], None]
) -> list[Answer]:
    """One after the other, so that each latency is that of the model alone. The first is sent twice, to warm up."""
    await server.answer(samples[0], timeout_s=timeout_s)
    answers = []
    for sample in samples:
        answers.append(await server.answer(sample, timeout_s=timeout_s))
        on_answer(len(answers))
    return answers


async def _wait_until_ready(instance: Instance, reference: str) -> None:
    while instance.state is not State.READY:
        if instance.state is State.FAILED:
            raise LocalError(f"{reference}: {instance.reason}\n  log: {instance.server.command.log}")
        await asyncio.sleep(_POLL_S)
