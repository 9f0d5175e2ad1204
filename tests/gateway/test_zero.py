"""Requests to a ModelDeployment that is asleep, through a real gateway: held, woken, let go."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import httpx
import pytest

from forebay.local.loopback import NO_TLS
from forebay.local.ports import HOST, find_free_ports
from tests import loopback
from tests.gateway import bounded
from tests.gateway.site import SPEC, WAIT_S, Cluster, GatewaySite, find_own_address, ready, running, wait_for

SLOTS, DEPTH = 4, 12
HELD = 200


def zero(**cold_start: object) -> dict:
    """A predictor that may sleep."""
    told = {"coldStart": cold_start} if cold_start else {}
    return {**SPEC["predictor"], "concurrency": SLOTS, "autoscaling": {"min": 0, "max": 4, **told}}


class Sleeper:
    """A ModelDeployment of one revision that is asleep, and its instance that may come."""

    def __init__(self, site: GatewaySite, cluster: Cluster, name: str, *, beside: tuple[str, ...] = ()) -> None:
        self.site, self.cluster, self.name = site, cluster, name
        self.workload, self.beside = f"{name}-1", beside
        self.path = f"/default/{name}/v2"

    def put(self, *, predictor: dict | None = None, **spec: object) -> None:
        for workload in (*self.beside, self.workload):
            self.cluster.put_workload(workload, replicas=0)
        self.cluster.put_deployment(
            self.name, traffic=[(self.workload, "r1", 100)], beside=self.beside, predictor=predictor or zero(), **spec
        )
        wait_for(self.is_on_hold)

    def tell_idle(self) -> dict:
        answer = self.site.get_pilot("/idle")
        # A pilot that begins, or has no Envoy, knows nothing of it.
        return dict(answer.json()["idle"][f"default/{self.name}"]) if answer.is_success else {}

    def tells_idle(self) -> bool:
        return f"default/{self.name}" in self.site.get_pilot("/idle").json()["idle"]

    def count_held(self) -> int:
        return int(self.tell_idle()["held"])

    def wait_held(self, count: int) -> None:
        wait_for(lambda: self.count_held() == count)

    def wait_woken(self) -> None:
        wait_for(lambda: all(self.cluster.count_wanted(each) == 1 for each in (*self.beside, self.workload)))

    def come(self, port: int, workload: str = "") -> None:
        """An instance is ready."""
        self.cluster.put_slice(workload or self.workload, ready(find_own_address()), port=port)

    def is_on_hold(self) -> bool:
        """Whether Envoy asks the pilot for each request."""
        dump = json.loads(self.site.admin("/config_dump?resource=dynamic_route_configs"))
        hosts = dump["configs"][0]["route_config"]["virtual_hosts"]
        return any("ext_authz" in json.dumps(host) for host in hosts if host["name"] == f"default/{self.name}")


@pytest.fixture(scope="module")
def instance() -> Iterator[dict[str, int]]:
    """Ports of an instance with a queue: HTTP and gRPC."""
    ports = dict(zip(("http", "grpc"), find_free_ports(2), strict=True))
    argv = ["-m", "tests.gateway.bounded", *map(str, ports.values()), str(SLOTS), str(DEPTH), "0.002"]
    with running([sys.executable, *argv]):
        wait_for(lambda: loopback.get(f"http://{HOST}:{ports['http']}/").is_success)
        yield ports


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


async def ask_many(site: GatewaySite, path: str, count: int) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    async with httpx.AsyncClient(timeout=WAIT_S, limits=limits, trust_env=False, verify=NO_TLS) as client:
        return await asyncio.gather(*(client.post(site.url + path, content=b"x" * 1000) for _ in range(count)))


async def call_many(site: GatewaySite, name: str, count: int) -> list[dict]:
    """Half of them streams."""
    headers = [("forebay-deployment", f"default/{name}")]
    async with grpc.aio.insecure_channel(f"{HOST}:{site.data_port}") as channel:
        unary, stream = channel.unary_unary(bounded.UNARY), channel.stream_stream(bounded.STREAM)

        async def ask_stream() -> dict:
            call = stream(iter([b'{"part": 1}', b'{"part": 2}']), metadata=headers, timeout=WAIT_S)
            return [json.loads(part) async for part in call][-1]

        async def ask_unary() -> dict:
            return json.loads(await unary(b"", metadata=headers, timeout=WAIT_S))

        calls = [ask_stream() if number % 2 else ask_unary() for number in range(count)]
        return await asyncio.gather(*calls)


def test_held_requests_are_let_go_when_there_is_an_instance_and_none_is_lost(site, cluster, instance, pool):
    rest, rpc = Sleeper(site, cluster, "rest-zero"), Sleeper(site, cluster, "rpc-zero")
    for each in (rest, rpc):
        each.put(queue={"depth": DEPTH})
    answers = pool.submit(lambda: asyncio.run(ask_many(site, rest.path, HELD)))
    calls = pool.submit(lambda: asyncio.run(call_many(site, rpc.name, HELD)))
    for each in (rest, rpc):
        each.wait_held(HELD)
        each.wait_woken()
    assert site.get_pilot("/load").json()["load"]["default/rest-zero"] == HELD
    rest.come(instance["http"])
    assert {answer.status_code for answer in answers.result(WAIT_S)} == {200}
    rpc.come(instance["grpc"])
    parts = calls.result(WAIT_S)
    assert sum(part.get("part") == 2 for part in parts) == HELD // 2
    told = [answer.json() for answer in answers.result()] + [part for part in parts if "number" in part]
    assert max(each["peak"] for each in told) <= SLOTS + DEPTH
    assert max(each["refused"] for each in told) == 0, "no queue was too full for them"
    for each in (rest, rpc):
        wait_for(lambda each=each: not each.is_on_hold())
    text = site.get_pilot("/metrics").text
    assert 'forebay_cold_starts_total{namespace="default",deployment="rest-zero"} 1' in text
    waited = 'forebay_cold_start_seconds_count{namespace="default",deployment="rpc-zero",outcome="passed"}'
    assert f"{waited} {HELD}" in text
    assert 'forebay_requests_held{namespace="default",deployment="rest-zero"} 0' in text


@pytest.fixture
def sleeper(request: pytest.FixtureRequest, site: GatewaySite, cluster: Cluster) -> Sleeper:
    return Sleeper(site, cluster, request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-"))


def ask(sleeper: Sleeper, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return loopback.get(sleeper.site.url + sleeper.path, headers=named, timeout=WAIT_S)


def call(sleeper: Sleeper) -> bytes:
    with grpc.insecure_channel(f"{HOST}:{sleeper.site.data_port}") as channel:
        headers = [("forebay-deployment", f"default/{sleeper.name}")]
        return bytes(channel.unary_unary(bounded.UNARY)(b"", metadata=headers, timeout=WAIT_S))


def test_first_come_first_served(sleeper, instance, pool):
    sleeper.put(predictor={**zero(), "concurrency": 1}, queue={"depth": 1})
    answers: list[Future[httpx.Response]] = []
    for number in range(12):
        answers.append(pool.submit(ask, sleeper))
        sleeper.wait_held(number + 1)
    sleeper.come(instance["http"])
    order = [answer.result().json()["number"] for answer in answers]
    # Two at once are on their way over two connections.
    assert all(abs(place - wanted) <= 1 for place, wanted in zip(order, range(min(order), 99), strict=False))


def test_those_that_are_too_many_are_refused_and_the_rest_in_time(sleeper, pool):
    sleeper.put(predictor=zero(maxHeld=2, timeout="4s"))
    held = [pool.submit(ask, sleeper) for _ in range(2)]
    sleeper.wait_held(2)
    answer = ask(sleeper)
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "cold-start-full")
    assert answer.json()["reason"] == "cold-start-full"
    assert "coldStart.maxHeld" in answer.json()["error"]
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["content-type"] == "application/json"
    with pytest.raises(grpc.RpcError) as caught:
        call(sleeper)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "coldStart.maxHeld" in caught.value.details()
    for each in held:
        answer = each.result()
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "cold-start-timeout")
        assert f"kubectl describe md {sleeper.name} -n default" in answer.json()["error"]
        assert answer.headers["retry-after"] == "5"
    with pytest.raises(grpc.RpcError) as caught:
        call(sleeper)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "within 4 s (coldStart.timeout)" in caught.value.details()
    assert sleeper.is_on_hold()


async def test_a_client_that_leaves_frees_its_place(sleeper, instance):
    sleeper.put(predictor=zero(maxHeld=2))
    url = f"{HOST}:{sleeper.site.data_port}"
    async with (
        grpc.aio.insecure_channel(url) as channel,
        httpx.AsyncClient(timeout=WAIT_S, trust_env=False, verify=NO_TLS) as client,
    ):
        headers = [("forebay-deployment", f"default/{sleeper.name}")]
        calling = channel.unary_unary(bounded.UNARY)(b"", metadata=headers)
        asking = asyncio.create_task(client.post(sleeper.site.url + sleeper.path, content=b"x"))
        await asyncio.to_thread(sleeper.wait_held, 2)
        calling.cancel()
        asking.cancel()
        await asyncio.to_thread(sleeper.wait_held, 0)
        staying = asyncio.create_task(client.post(sleeper.site.url + sleeper.path, content=b"x"))
        await asyncio.to_thread(sleeper.wait_held, 1)
        sleeper.come(instance["http"])
        assert (await staying).status_code == 200
    text = sleeper.site.get_pilot("/metrics").text
    assert (
        f'forebay_cold_start_seconds_count{{namespace="default",deployment="{sleeper.name}",outcome="left"}} 2' in text
    )


def test_who_may_not_call_wakes_nobody(sleeper, instance, pool):
    sleeper.cluster.put_secret("zero-keys", {"anna": "a-key"})
    limit = {"requests": 1, "per": "1m"}
    sleeper.put(access={"apiKeys": {"secretName": "zero-keys"}, "rateLimit": limit})
    wait_for(lambda: ask(sleeper, x_api_key="wrong").status_code == 401)
    assert ask(sleeper).headers["x-forebay-reason"] == "no-api-key"
    assert sleeper.cluster.count_wanted(sleeper.workload) == 0
    held = pool.submit(ask, sleeper, x_api_key="a-key", x_forebay_held_for="default/zero-forged")
    sleeper.wait_held(1)
    assert ask(sleeper, x_api_key="a-key").headers["x-forebay-reason"] == "rate-limit"
    assert sleeper.count_held() == 1
    sleeper.wait_woken()
    sleeper.come(instance["http"])
    assert held.result().status_code == 200


def test_all_workloads_are_woken_and_waited_for(site, cluster, instance, pool):
    sleeper = Sleeper(site, cluster, "pair", beside=("pair-predictor",))
    sleeper.put(transformer={**SPEC["predictor"], "concurrency": 3})
    held = pool.submit(ask, sleeper)
    sleeper.wait_held(1)
    sleeper.wait_woken()
    sleeper.come(instance["http"])
    wait_for(lambda: site.routes()["default/pair"]["workloads"] == {"pair-1": 1})
    assert ask_soon(pool, sleeper) == "held", "the transformer alone answers nothing"
    assert not held.done()
    sleeper.come(instance["http"], "pair-predictor")
    assert held.result().status_code == 200


def ask_soon(pool: ThreadPoolExecutor, sleeper: Sleeper) -> str:
    """One more request, until it is held, too."""
    before = sleeper.count_held()
    pool.submit(ask, sleeper)
    sleeper.wait_held(before + 1)
    return "held"


def test_one_that_can_t_be_woken_is_tried_again(sleeper, pool, instance):
    sleeper.put()
    wait_for(sleeper.is_on_hold)
    sleeper.cluster.drop_workload(sleeper.workload)
    held = pool.submit(ask, sleeper)
    wait_for(lambda: f"default/{sleeper.name} is asleep, and can't be woken yet" in sleeper.site.log.read_text())
    sleeper.cluster.put_workload(sleeper.workload, replicas=0)
    sleeper.wait_woken()
    sleeper.come(instance["http"])
    assert held.result().status_code == 200


def test_one_that_is_suspended_or_gone_meanwhile(sleeper, pool):
    sleeper.put()
    held = pool.submit(ask, sleeper)
    sleeper.wait_held(1)
    traffic = [(sleeper.workload, "r1", 100)]
    sleeper.cluster.put_deployment(sleeper.name, traffic=traffic, predictor=zero(), suspend=True)
    answer = held.result()
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "suspended")
    wait_for(lambda: not sleeper.is_on_hold())
    sleeper.cluster.put_deployment(sleeper.name, traffic=traffic, predictor=zero())
    wait_for(sleeper.is_on_hold)
    held, called = pool.submit(ask, sleeper), pool.submit(call, sleeper)
    sleeper.wait_held(2)
    sleeper.cluster.drop_deployment(sleeper.name)
    answer = held.result()
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (404, "no-such-deployment")
    error = called.exception()
    assert isinstance(error, grpc.RpcError)
    assert error.code() == grpc.StatusCode.NOT_FOUND


def test_who_was_held_goes_to_the_revision_that_there_is_then(sleeper, instance, pool):
    sleeper.put()
    held = pool.submit(ask, sleeper)
    sleeper.wait_held(1)
    later = f"{sleeper.name}-2"
    sleeper.cluster.put_workload(later, replicas=0)
    sleeper.cluster.put_deployment(sleeper.name, traffic=[(later, "r2", 100)], predictor=zero())
    wait_for(lambda: f"default/{sleeper.workload}" not in sleeper.site.admin("/clusters"))
    wait_for(lambda: sleeper.cluster.count_wanted(later) == 1)
    sleeper.come(instance["http"], later)
    answer = held.result()
    assert answer.status_code == 200
    assert answer.headers["x-forebay-revision"] == "r2"


def test_a_request_that_comes_while_it_falls_asleep_is_held(sleeper, instance, pool):
    """From awake to asleep and back under load: none is lost."""
    sleeper.put()
    sleeper.come(instance["http"])
    wait_for(lambda: not sleeper.is_on_hold())
    failures, answered = [], [0]
    stop = threading.Event()

    def load() -> None:
        with loopback.build_client(timeout=WAIT_S) as client:
            while not stop.is_set():
                answer = client.get(sleeper.site.url + sleeper.path)
                answered[0] += 1
                if answer.status_code != 200:
                    failures.append(answer.text)

    loads = [pool.submit(load) for _ in range(2)]
    for _ in range(5):
        before = answered[0]
        wait_for(lambda before=before: answered[0] > before + 20)
        sleeper.cluster.drop_slice(f"{sleeper.workload}-a")
        sleeper.wait_held(2)
        sleeper.come(instance["http"])
    stop.set()
    for each in loads:
        each.result()
    assert not failures


def test_others_go_on_meanwhile_and_tell_who_is_idle(sleeper, digits, pool):
    sleeper.put(predictor=zero(timeout="3s"))
    held = pool.submit(ask, sleeper)
    sleeper.wait_held(1)
    assert sleeper.site.ask(f"{digits}/v2").json()["name"] == "one"
    told = sleeper.site.get_pilot("/idle").json()["idle"]
    assert told[f"default/{sleeper.name}"] == {"idleS": 0.0, "held": 1}
    assert "default/digits" not in told, "it never sleeps"
    assert held.result().status_code == 503
    wait_for(lambda: sleeper.tell_idle()["idleS"] > 0.5)


def test_a_request_ends_idleness(sleeper, instance):
    sleeper.put()
    sleeper.come(instance["http"])
    wait_for(lambda: not sleeper.is_on_hold())

    def idle_s() -> float:
        return float(sleeper.tell_idle()["idleS"])

    wait_for(lambda: idle_s() > 1)
    before = idle_s()
    assert ask(sleeper).status_code == 200
    assert idle_s() < before
    # Who is not let in is no request of it.
    assert sleeper.site.ask("/default/none/v2").status_code == 404
    wait_for(lambda: idle_s() > 1)


def test_a_pilot_that_dies_is_asked_again_when_it_is_back(sleeper, instance, pool):
    """Envoy keeps the requests, and their clients notice nothing."""
    sleeper.put()
    held = [pool.submit(ask, sleeper) for _ in range(4)] + [pool.submit(call, sleeper) for _ in range(4)]
    sleeper.wait_held(8)
    sleeper.site.kill_pilot()
    sleeper.site.start_pilot()
    sleeper.wait_held(8)
    sleeper.come(instance["http"])
    for each in held[:4]:
        assert each.result().status_code == 200
    for each in held[4:]:
        # It speaks HTTP only: the call was let go, which is what matters here.
        assert isinstance(each.exception(), grpc.RpcError)


def test_a_pilot_that_stays_away_costs_the_held_ones_a_reason(sleeper, pool):
    sleeper.put()
    held, called = pool.submit(ask, sleeper), pool.submit(call, sleeper)
    sleeper.wait_held(2)
    sleeper.site.kill_pilot()
    try:
        answer = held.result()
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "pilot-away")
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["reason"] == "pilot-away"
        error = called.exception()
        assert isinstance(error, grpc.RpcError)
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert "pilot" in str(error.details())
    finally:
        sleeper.site.start_pilot()


async def test_a_long_body_waits_with_its_client(sleeper, instance):
    """What Envoy keeps of it is bounded: a thousand of them would be more than it has memory."""
    sleeper.put()
    size, count = 16 << 20, 6
    async with httpx.AsyncClient(timeout=WAIT_S, trust_env=False, verify=NO_TLS) as client:
        url = sleeper.site.url + sleeper.path
        asking = [asyncio.create_task(client.post(url, content=b"x" * size)) for _ in range(count)]
        await asyncio.to_thread(sleeper.wait_held, count)
        allocated = json.loads(await asyncio.to_thread(sleeper.site.admin, "/memory"))["allocated"]
        assert int(allocated) < count * size
        sleeper.come(instance["http"])
        for each in asking:
            answer = await each
            assert (answer.status_code, answer.json()["length"]) == (200, size)


def test_who_waits_for_one_that_is_to_sleep_no_more_waits_on(sleeper, instance, pool):
    sleeper.put()
    held = pool.submit(ask, sleeper)
    sleeper.wait_held(1)
    awake = {**zero(), "autoscaling": {"min": 1, "max": 2}}
    sleeper.cluster.put_deployment(sleeper.name, traffic=[(sleeper.workload, "r1", 100)], predictor=awake)
    wait_for(lambda: not sleeper.tells_idle())
    sleeper.come(instance["http"])
    assert held.result().status_code == 200
    wait_for(lambda: not sleeper.is_on_hold())


def test_a_gateway_that_ends_says_so_to_the_held_ones(sleeper, pool):
    sleeper.put()
    held = pool.submit(ask, sleeper)
    sleeper.wait_held(1)
    # The last test here: an Envoy that was drained takes no more connections.
    assert sleeper.site.end_pilot() == 0
    try:
        answer = held.result()
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "pilot-away")
    finally:
        sleeper.site.start_pilot()
