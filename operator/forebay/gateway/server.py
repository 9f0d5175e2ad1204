"""The ADS server: one aggregated stream to Envoy over a unix socket."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from envoy.service.accesslog.v3.als_pb2_grpc import AccessLogServiceServicer, add_AccessLogServiceServicer_to_server
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationServicer, add_AuthorizationServicer_to_server
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from forebay.gateway.pushes import Pushes
from forebay.gateway.snapshot import Snapshot
from forebay.gateway.xds import Conversation, Request, Response

# For answers that were given already.
_LAST_WORDS_S = 0.2
_log = logging.getLogger(__name__)


class DiscoveryServer(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """Tells every Envoy that connects what it is to have. There is one; while it is replaced, two."""

    def __init__(self, find_snapshot: Callable[[], Snapshot]) -> None:
        self._find_snapshot = find_snapshot
        self._synced = asyncio.Event()
        self._wakes: set[asyncio.Event] = set()
        self._server: grpc.aio.Server | None = None
        self.pushes = Pushes()
        # The newest, or the last that there was: Envoy keeps what it has when the stream ends.
        self.conversation = Conversation()

    @property
    def connected(self) -> int:
        """How many Envoys are connected."""
        return len(self._wakes)

    async def start(
        self,
        socket: str,
        authorization: AuthorizationServicer | None = None,
        answers: AccessLogServiceServicer | None = None,
    ) -> None:
        """Listen. Nobody but the pod's own user may connect."""
        # A thousand models' routes are one message.
        self._server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, self._server)
        if authorization is not None:
            add_AuthorizationServicer_to_server(authorization, self._server)
        if answers is not None:
            add_AccessLogServiceServicer_to_server(answers, self._server)
        self._server.add_insecure_port(f"unix:{socket}")
        await self._server.start()
        await asyncio.to_thread(Path(socket).chmod, 0o600)

    async def stop(self) -> None:
        """End all streams."""
        if self._server is not None:
            await self._server.stop(_LAST_WORDS_S)

    def publish(self) -> None:
        """There is a new snapshot; the first one is whole."""
        self._synced.set()
        for wake in self._wakes:
            wake.set()

    async def DeltaAggregatedResources(  # noqa: N802
        self, request_iterator: AsyncIterator[DeltaDiscoveryRequest], context: Any
    ) -> AsyncIterator[DeltaDiscoveryResponse]:
        """One Envoy's stream."""
        # Half of the routes would take the other half from an Envoy that has them.
        await self._synced.wait()
        wake = asyncio.Event()
        conversation = Conversation()
        reader = asyncio.create_task(self._listen(request_iterator, conversation, wake))
        self._wakes.add(wake)
        self.conversation = conversation
        _log.info("Envoy is connected")
        try:
            while not reader.done():
                await wake.wait()
                wake.clear()
                for response in conversation.speak(self._find_snapshot()):
                    self.pushes.sent(response.kind)
                    yield _encode(response)
        finally:
            self._wakes.discard(wake)
            reader.cancel()
            _log.info("Envoy is gone")

    async def _listen(
        self, requests: AsyncIterator[DeltaDiscoveryRequest], conversation: Conversation, wake: asyncio.Event
    ) -> None:
        try:
            async for message in requests:
                request = _decode(message)
                if conversation.hear(request):
                    self.pushes.answered(request.kind, refused=bool(request.error))
                    if request.error:
                        _log.error("Envoy refused %s: %s", request.kind.rpartition(".")[2], request.error)
                wake.set()
        finally:
            wake.set()


def _decode(message: DeltaDiscoveryRequest) -> Request:
    return Request(
        kind=message.type_url,
        subscribe=frozenset(message.resource_names_subscribe),
        unsubscribe=frozenset(message.resource_names_unsubscribe),
        known=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else "",
    )


def _encode(response: Response) -> DeltaDiscoveryResponse:
    return DeltaDiscoveryResponse(
        nonce=response.nonce,
        type_url=response.kind,
        resources=[response.changed[name].packed for name in sorted(response.changed)],
        removed_resources=sorted(response.gone),
    )
