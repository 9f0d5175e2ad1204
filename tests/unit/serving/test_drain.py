"""The drain of a model server, against a real Envoy with a cluster `queue` of one slot and a server that is slow."""

import ast
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forebay.local.envoy_binary import find_envoy
from forebay.local.errors import LocalError
from forebay.local.ports import find_free_ports
from forebay.serving import drain
from tests import loopback

SETTLE_S = 0.4


class Late(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(float(self.path.strip("/")))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def free_port() -> int:
    return find_free_ports(1)[0]


def build_address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def build_envoy(admin: int, front: int, server: int) -> dict[str, object]:
    prefix = "type.googleapis.com/envoy.extensions.filters"
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "queue"}}]
    manager = {
        "@type": f"{prefix}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{prefix}.http.router.v3.Router"}},
        ],
    }
    endpoint = {"lb_endpoints": [{"endpoint": {"address": build_address(server)}}]}
    queue = {
        "name": "queue",
        "circuit_breakers": {"thresholds": [{"max_connections": 1, "max_pending_requests": 10}]},
        "load_assignment": {"cluster_name": "queue", "endpoints": [endpoint]},
    }
    filters = [{"name": "http", "typed_config": manager}]
    listener = {"name": "front", "address": build_address(front), "filter_chains": [{"filters": filters}]}
    return {
        "admin": {"address": build_address(admin)},
        "static_resources": {"listeners": [listener], "clusters": [queue]},
    }


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of Envoy's admin and of its front."""
    try:
        envoy = find_envoy()
    except LocalError as error:
        pytest.skip(str(error))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    admin, front = free_port(), free_port()
    config = tmp_path_factory.mktemp("envoy") / "envoy.json"
    config.write_text(json.dumps(build_envoy(admin, front, server.server_port)))
    command = [envoy, "--config-path", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 20
        while drain.count_requests(f"127.0.0.1:{admin}") is None:
            assert time.monotonic() < deadline, "Envoy doesn't start"
            time.sleep(0.05)
        yield admin, front
    finally:
        process.kill()
        process.wait()
        server.shutdown()


def send(front: int, *, seconds: float, times: int) -> list[threading.Thread]:
    """Requests under way: one works, the others wait for it."""
    url = f"http://127.0.0.1:{front}/{seconds}"
    senders = [threading.Thread(target=loopback.get, args=(url,), kwargs={"timeout": 20}) for _ in range(times)]
    for sender in senders:
        sender.start()
    return senders


def await_requests(admin: int, number: int) -> None:
    deadline = time.monotonic() + 5
    while drain.count_requests(f"127.0.0.1:{admin}") != number:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run_drain(admin: int, *, timeout_s: float = 10) -> tuple[int, float, str]:
    """Its exit status, the seconds it took, and what it said: as the hook runs it, by its file."""
    options = [f"--admin=127.0.0.1:{admin}", f"--settle={SETTLE_S}", f"--timeout={timeout_s}"]
    # -I and -S: nothing beside the standard library, as in Triton's image.
    command = [sys.executable, "-I", "-S", drain.__file__, *options]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, time.monotonic() - began, done.stderr


def test_an_empty_queue_takes_the_settling_time(ports: tuple[int, int]) -> None:
    status, took_s, _ = run_drain(ports[0])
    assert status == 0
    assert SETTLE_S <= took_s < SETTLE_S + 2


def test_it_waits_for_requests_in_the_server_and_in_the_queue(ports: tuple[int, int]) -> None:
    admin, front = ports
    senders = send(front, seconds=0.7, times=3)
    await_requests(admin, 3)
    status, took_s, _ = run_drain(admin)
    assert status == 0
    # One after the other: the first may have been under way for a moment.
    assert took_s >= 2.0
    for sender in senders:
        sender.join(0.5)
        assert not sender.is_alive(), "the drain ended before a request did"


def test_a_request_that_comes_while_it_drains_is_waited_for(ports: tuple[int, int]) -> None:
    admin, front = ports
    late = threading.Timer(SETTLE_S / 2, send, [front], {"seconds": 1, "times": 1})
    late.start()
    status, took_s, _ = run_drain(admin)
    assert status == 0
    assert took_s >= SETTLE_S / 2 + 1


def test_it_gives_up_and_says_what_is_left(ports: tuple[int, int]) -> None:
    admin, front = ports
    senders = send(front, seconds=2.5, times=1)
    await_requests(admin, 1)
    status, took_s, said = run_drain(admin, timeout_s=1)
    assert status == 1
    assert took_s >= 1
    assert said == "1 requests are still there after 1 s, and are cut off\n"
    for sender in senders:
        sender.join()


def test_without_a_sidecar_it_only_settles() -> None:
    status, took_s, said = run_drain(free_port())
    assert (status, said) == (0, "")
    assert SETTLE_S <= took_s < SETTLE_S + 2


def test_the_file_is_python_3_8() -> None:
    ast.parse(Path(drain.__file__).read_text(), feature_version=(3, 8))
