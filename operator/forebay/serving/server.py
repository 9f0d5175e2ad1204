"""The serving process: listens at once, loads, serves, and on SIGTERM finishes what it took on."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator

import uvicorn

from forebay.serving.client import PredictorClient
from forebay.serving.errors import describe_fault
from forebay.serving.grpc import build_grpc_server
from forebay.serving.http import build_app
from forebay.serving.metrics import LOAD_SECONDS
from forebay.serving.model import Model
from forebay.serving.options import Options
from forebay.serving.pipeline import Pipeline, PredictorPipeline, TransformerPipeline
from forebay.serving.request import Context
from forebay.serving.script import Script
from forebay.serving.service import Service
from forebay.serving.source import ScriptError

EXIT_OK, EXIT_PORT, EXIT_SCRIPT, EXIT_LOAD = 0, 1, 2, 3
# Longer than any proxy keeps an idle connection: so it is never we who close one just as a request comes.
_KEEP_ALIVE_S = 3900
_LAST_ANSWERS_S = 2

logger = logging.getLogger("forebay.serving")


async def serve(script: Script, options: Options) -> int:
    """Serve until SIGTERM or SIGINT; returns the process's exit status."""
    service = Service(options.name, _build_pipeline(script, options), options.max_request_bytes)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    grpc_server = build_grpc_server(service)
    try:
        listener = _listen(options)
        grpc_server.add_insecure_port(_address(options.host, options.grpc_port))
    except (OSError, RuntimeError) as error:
        logger.critical("cannot listen on %s: %s", options.host, error)
        return EXIT_PORT
    await grpc_server.start()
    rest_server = _RestServer(_rest_config(service))
    rest = asyncio.create_task(rest_server.serve(sockets=[listener]))
    logger.info(
        "%s '%s' listens: REST on %s, gRPC on %s", options.role, options.name,
        _address(options.host, options.http_port), _address(options.host, options.grpc_port),
    )  # fmt: skip
    status = await _load_and_wait(service, options, stop)
    if status == EXIT_OK:
        await _drain(service, options)
    rest_server.should_exit = True
    await asyncio.gather(rest, grpc_server.stop(_LAST_ANSWERS_S))
    service.pipeline.model.close()
    return status


def _build_pipeline(script: Script, options: Options) -> Pipeline:
    model = Model(script, concurrency=options.concurrency)
    if options.role == "predictor" or options.predictor is None:
        return PredictorPipeline(model)
    return TransformerPipeline(
        model, PredictorClient(options.predictor, model=options.predictor_model, default_model=options.name)
    )


async def _load_and_wait(service: Service, options: Options, stop: asyncio.Event) -> int:
    loading = asyncio.create_task(_load(service, options))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if loading.done() and not loading.result():
        return EXIT_LOAD
    await stopping
    return EXIT_OK


async def _load(service: Service, options: Options) -> bool:
    started = time.perf_counter()
    try:
        await service.pipeline.model.load(Context(options.name, options.model_dir, options.parameters))
    except Exception as error:
        text = "load failed: the script's own exception follows. Fix it, or what it could not find"
        logger.error(text, exc_info=describe_fault(error) or error)  # noqa: TRY400  (of which a part)
        return False
    elapsed_s = time.perf_counter() - started
    LOAD_SECONDS.set(elapsed_s)
    # Where it finds its predictor by DNS, that may take some seconds longer than the predictor itself: whoever is told
    # that this server is ready sends requests at once.
    try:
        await service.pipeline.connect()
    except ScriptError as error:
        # As the last line, and nothing but it: what shows why a container ended takes that one.
        print(error, file=sys.stderr, flush=True)
        return False
    service.set_loaded()
    logger.info("'%s' is ready: loaded in %.2f s", options.name, elapsed_s)
    return True


async def _drain(service: Service, options: Options) -> None:
    logger.info("shutting down: %d requests are at work", service.in_flight)
    if not await service.drain(options.shutdown_timeout_s):
        logger.warning(
            "%d requests did not end in %g s and are given up", service.in_flight, options.shutdown_timeout_s
        )
    logger.info("done")


class _RestServer(uvicorn.Server):
    """uvicorn, with our own handling of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


def _rest_config(service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(service), log_level="warning", access_log=False, lifespan="off", server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=_LAST_ANSWERS_S, log_config=None, ws="none",
    )  # fmt: skip


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    return socket.create_server((options.host, options.http_port), family=family, backlog=2048)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
