"""Prometheus and webhooks are asked about a revision: a real Prometheus, and servers that do what they shouldn't."""

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from forebay.controller.questions import Asked, ask_outside
from forebay.local.ports import find_free_ports
from forebay.local.process import die_with_parent
from forebay.plan.analysis import Analysis, Query, Webhook
from forebay.rollout.analysis.verdict import Finding, Outcome
from tests import loopback
from tests.gateway.site import find_own_address, wait_for
from tests.programs import ensure_prometheus

SUBJECT = {"namespace": "ns", "name": "md", "revision": "new", "stable": "old", "step": 1}


class Handler(BaseHTTPRequestHandler):
    """A service of as many manners as it has paths."""

    asked: list[object] = []  # noqa: RUF012  (of the class: each request has an instance of its own)

    def do_POST(self) -> None:
        self.asked.append(self.read())
        kind = self.path.strip("/")
        status = {"redirect": 307, "broken": 500, "accepted": 202}.get(kind, 200)
        self.send_response(status)
        if kind == "redirect":
            self.send_header("location", "/accepted")
        self.end_headers()
        if kind == "slow":
            for _ in range(100):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.2)
        told = json.dumps({"result": "passed", "message": "fine"})
        body = {"text": "no JSON", "deep": "[" * 60_000}.get(kind, told)
        self.wfile.write((" " * 100_000 if kind == "large" else "").encode() + body.encode())

    def read(self) -> object:
        body = self.rfile.read(int(self.headers["content-length"]))
        return json.loads(body) if self.headers["content-type"] == "application/json" else body

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Its address, which is no loopback one."""
    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{find_own_address()}:{server.server_port}"
        server.shutdown()


def ask(analysis: Analysis, **asked: Any) -> list[Finding]:
    return asyncio.run(ask_outside(analysis, SUBJECT, Asked(**asked)))


def ask_webhook(url: str, **asked: Any) -> Finding:
    (found,) = ask(Analysis(webhooks=(Webhook(name="smoke", url=url),)), **asked)
    return found


def test_a_webhook_is_told_what_it_is_about(service: str) -> None:
    assert ask_webhook(f"{service}/accepted") == Finding(outcome=Outcome.PASSED, message="smoke says passed: fine")
    assert Handler.asked[-1] == SUBJECT


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("redirect", "it answers 307"),
        ("broken", "it answers 500"),
        ("text", "it doesn't answer with JSON"),
        ("deep", "it doesn't answer with JSON"),
        ("large", "it answers more than 64 KiB"),
        ("slow", "it doesn't answer in time"),
    ],
)
def test_one_that_misbehaves_tells_nothing(service: str, path: str, why: str) -> None:
    found = ask_webhook(f"{service}/{path}")
    assert found == Finding(outcome=Outcome.INCONCLUSIVE, message=f"Paused by missing metrics: smoke: {why}")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "127.1", "0x7f000001", "169.254.169.254", "metadata.google.internal",
             "[::ffff:169.254.169.254]", "0.0.0.0", "\uff11\uff12\uff17.0.0.1", "\u246f\u2468.254.169.254"],
)  # fmt: skip
def test_nothing_is_asked_that_only_the_operator_reaches(service: str, host: str) -> None:
    before = len(Handler.asked)
    found = ask_webhook(f"http://{host}:{service.rpartition(':')[2]}/accepted")
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "smoke: nothing is sent to " in found.message
    assert len(Handler.asked) == before


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "x.test:port", "x.test:99999999", "..", "%20", "\u2024"])
def test_addresses_that_are_none(host: str) -> None:
    said = ("its address is none", "its address is neither http:// nor https://", "its host isn't found")
    assert ask_webhook(f"http://{host}/").message.partition("smoke: ")[2].startswith(said)


def test_only_hosts_that_the_installation_allows(service: str) -> None:
    hosts = ("hooks.test", "*.hooks.test")
    assert "smoke: this installation sends to hooks.test, *.hooks.test" in ask_webhook(service, hosts=hosts).message
    assert "smoke: this installation sends to nobody" in ask_webhook(service, hosts=()).message
    assert ask_webhook(f"{service}/accepted", hosts=(find_own_address(),)).outcome is Outcome.PASSED
    query = Query(name="drops", address=service, query="1", max=1.0)
    (found,) = ask(Analysis(queries=(query,)), hosts=())
    assert "drops: this installation sends to nobody" in found.message
    # Its own Prometheus is where it says.
    (found,) = ask(Analysis(queries=(replace(query, address=""),)), hosts=(), prometheus_url=service)
    assert "drops: the query gives no single value" in found.message


def test_who_is_not_there(service: str) -> None:
    (port,) = find_free_ports(1)
    assert "it doesn't answer (ClientConnectorError)" in ask_webhook(f"{service.rpartition(':')[0]}:{port}/").message


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """The address of a real one, which knows of itself."""
    (port,) = find_free_ports(1)
    (tmp_path / "prometheus.yml").write_text("global: {scrape_interval: 1s}\n")
    options = {"config.file": tmp_path / "prometheus.yml", "storage.tsdb.path": tmp_path / "data"}
    options |= {"web.listen-address": f"0.0.0.0:{port}"}
    command = [ensure_prometheus(), *(f"--{name}={value}" for name, value in options.items())]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)  # noqa: PLW1509
    try:
        wait_for(lambda: loopback.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).is_success)
        yield f"http://{find_own_address()}:{port}"
    finally:
        process.kill()
        process.wait()


def test_a_real_prometheus(prometheus: str) -> None:
    def build(name: str, query: str, address: str = "") -> Query:
        return Query(name=name, address=address, query=query, max=5.0)

    queries = (
        build("good", 'label_replace(vector(4), "r", "{{revision}}", "", "")', prometheus),
        build("bad", "scalar(vector(6))"),
        build("none", "absent(vector(1))"),
        build("wrong", "sum(("),
    )
    found = ask(Analysis(queries=queries), prometheus_url=f"{prometheus}/")
    assert [each.message for each in found] == [
        "good is 4",
        "bad is 6, more than 5",
        "Paused by missing metrics: none: the query gives no single value",
        "Paused by missing metrics: wrong: it answers 400",
    ]
    (lost,) = ask(Analysis(queries=queries[1:2]))
    assert "write its address" in lost.message
