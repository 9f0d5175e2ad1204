"""What clients see when processes are killed, and when the whole is stopped, under load."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import loopback
from tests.local.serving_session import REPOSITORIES, SLOW, ServingSession, serving, slow_body

POISONED = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: poisoned}
spec:
  predictor:
    replicas: 3
    custom:
      script: |
        import os
        class Poisoned:
            def predict(self, inputs):
                if inputs["x"].any():
                    os._exit(1)
                return inputs
"""
CLIENTS = 6
SERVICE_S = 0.03


class Load:
    """Closed-loop clients, each with a connection of its own a request: what a client saw is what it was told."""

    def __init__(self, session: ServingSession) -> None:
        self.seen: Counter[str] = Counter()
        self._url = session.url + "/v2/models/slow/infer"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on_and_on) for _ in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        try:
            self.wait_for(50)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, answers: int) -> None:
        """Until that many more were answered well."""
        wanted, deadline = self.seen["200"] + answers, time.monotonic() + 60
        while self.seen["200"] < wanted:
            assert time.monotonic() < deadline, self.seen
            time.sleep(0.01)

    def check_none_lost(self) -> None:
        """Nearly all clients have a request in flight at any moment: these would all be lost."""
        assert set(self.seen) <= {"200", "refused", "ReadError"}, self.seen
        # Whom the kernel connected after Envoy's last accept, and before the port closed, was never heard.
        assert self.seen["ReadError"] <= CLIENTS / 2, self.seen

    def _ask_on_and_on(self) -> None:
        while not self._stop.is_set():
            try:
                answer = loopback.post(self._url, json=slow_body(SERVICE_S), timeout=30)
                outcome = str(answer.status_code)
            except httpx.ConnectError:
                outcome = "refused"
                time.sleep(0.02)
            except httpx.TransportError as error:
                outcome = type(error).__name__
            self.seen[outcome] += 1


@pytest.fixture
def session(tmp_path):
    manifest = SLOW.format(repository=REPOSITORIES / "slow", replicas=2, depth=20, timeout="10s")
    with serving(manifest, tmp_path) as session:
        yield session


def wait_until(condition: Callable[[], bool], session: ServingSession) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, session.output.read_text()
        time.sleep(0.05)


def is_ready(session: ServingSession, instance: str) -> bool:
    line = next(each for each in session.metrics().splitlines() if "instance_ready{" in each and instance in each)
    return line.endswith(" 1.0")


def answers(session: ServingSession, instance: str) -> bool:
    """Whatever is told of it."""
    with contextlib.suppress(httpx.TransportError):
        return loopback.get(f"{session.front(instance)}/v2/health/ready").is_success
    return False


@pytest.mark.parametrize("victim", ["tritonserver", "predictor-0.queue.json"])
def test_a_killed_instance_is_hidden_by_the_other(session, victim):
    with Load(session) as load:
        for _ in range(3):
            os.kill(session.pids(victim)[0], signal.SIGKILL)
            load.wait_for(100)
            wait_until(lambda: is_ready(session, "predictor-0") and is_ready(session, "predictor-1"), session)
    assert set(load.seen) == {"200"}, load.seen
    assert "exited with signal SIGKILL" in session.output.read_text()


def test_an_instance_comes_back_when_the_disk_has_room_again(session):
    draft = session.folder / "endpoints/predictor.gateway.draft"
    with Load(session) as load:
        draft.mkdir()  # so that no file can be written in its place
        os.kill(session.pids("tritonserver")[0], signal.SIGKILL)
        load.wait_for(200)
        assert is_ready(session, "predictor-0"), "nobody could be told"
        draft.rmdir()
        wait_until(lambda: all(answers(session, each) for each in ("predictor-0", "predictor-1")), session)
        os.kill(session.pids("tritonserver")[0], signal.SIGKILL)
        wait_until(lambda: "restarting" in session.output.read_text(), session)
        wait_until(lambda: is_ready(session, "predictor-0") and is_ready(session, "predictor-1"), session)
        load.wait_for(100)
    assert set(load.seen) == {"200"}, load.seen


def test_a_hung_instance_is_taken_out_and_started_again(session):
    victim = session.pids("tritonserver")[0]
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: "has not answered for 20 s" in session.output.read_text(), session)
    wait_until(lambda: is_ready(session, "predictor-0") and is_ready(session, "predictor-1"), session)
    assert not is_running(victim)


def test_a_request_that_kills_whoever_works_on_it_does_not_kill_them_all(tmp_path):
    with serving(POISONED, tmp_path) as session:
        url = session.url + "/v2/models/poisoned/infer"
        tensor = {"name": "x", "shape": [1], "datatype": "FP32"}
        poison = {"inputs": [{**tensor, "data": [1]}]}
        answer = loopback.post(url, json=poison, timeout=30)
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "instance-failed")
        assert "x-forebay-retry" not in answer.headers
        good = {"inputs": [{**tensor, "data": [0]}]}
        assert loopback.post(url, json=good, timeout=30).status_code == 200


def test_a_killed_gateway_comes_back(session):
    with Load(session) as load:
        os.kill(session.pids("gateway.json")[0], signal.SIGKILL)
        load.wait_for(100)
    # What was in flight is lost with it, and who the kernel connected meanwhile; whatever comes after is served.
    lost = sum(count for outcome, count in load.seen.items() if outcome not in ("200", "refused"))
    assert lost <= 2 * CLIENTS, load.seen
    assert "the gateway is restarting: it exited with signal SIGKILL" in session.output.read_text()


def test_ctrl_c_loses_no_accepted_request(session):
    with Load(session) as load, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, session, 4)
        load.wait_for(20)
        session.process.send_signal(signal.SIGINT)
        assert session.process.wait(120) == 0
    load.check_none_lost()
    assert slow.result().status_code == 200
    assert "draining" in session.output.read_text()


def test_a_second_ctrl_c_ends_it_at_once(tmp_path):
    manifest = SLOW.format(repository=REPOSITORIES / "slow", replicas=2, depth=20, timeout="300s")
    with serving(manifest, tmp_path) as session, ThreadPoolExecutor(1) as pool:
        everyone = session.pids(".")
        assert len(everyone) == 5, "two Tritons, two queues, a gateway"
        # The first one alone would wait for it.
        slow = pool.submit(ask, session, 200)
        wait_until(lambda: "forebay_queue_in_flight{" in (found := session.metrics()) and "} 1.0" in found, session)
        session.process.send_signal(signal.SIGINT)
        wait_until(lambda: "draining" in session.output.read_text(), session)
        assert session.stop() == 130
        assert isinstance(slow.exception(60), httpx.TransportError)
        wait_until(lambda: not any(is_running(pid) for pid in everyone), session)


def ask(session: ServingSession, seconds: float) -> httpx.Response:
    return loopback.post(session.url + "/v2/models/slow/infer", json=slow_body(seconds), timeout=250)


def test_a_closed_terminal_is_a_ctrl_c(session):
    with Load(session) as load:
        session.process.send_signal(signal.SIGHUP)
        session.process.send_signal(signal.SIGHUP)  # the shell's, and the kernel's
        assert session.process.wait(120) == 0
    load.check_none_lost()


def test_nothing_is_left_when_it_is_killed(session):
    everyone = session.pids(".")
    session.process.kill()
    session.process.wait(60)
    wait_until(lambda: not any(is_running(pid) for pid in everyone), session)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123  (as /proc is read)
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
