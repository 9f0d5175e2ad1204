"""A revision that is broken on purpose, through a real gateway."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from forebay.local.ports import HOST
from tests import commands
from tests.api.apiserver import ControlPlane
from tests.gateway.site import Cluster, GatewaySite, ready, wait_for

OLD, NEW = "aaaa1111", "bbbb2222"
PATH = "/default/drilled/v2"
LONG = timedelta(minutes=30)


def drill(fault: str, *, revision: str = OLD, lasts: timedelta = LONG, **fields: Any) -> dict[str, Any]:
    since = datetime.now(UTC) - timedelta(seconds=1)
    times = {"since": f"{since:%Y-%m-%dT%H:%M:%SZ}", "until": f"{since + lasts:%Y-%m-%dT%H:%M:%SZ}"}
    return {"fault": fault, "revision": revision, **times, **fields}


class Drilled:
    def __init__(self, site: GatewaySite, cluster: Cluster) -> None:
        self.site, self._cluster = site, cluster

    def put(self, *, weights: tuple[int, int] = (100, 0), **spec: Any) -> None:
        traffic = [("drilled-0", OLD, weights[0]), ("drilled-1", NEW, weights[1])]
        shares = [each for each in traffic if each[2]]
        generation = self._cluster.put_deployment("drilled", traffic=shares, **spec)
        wait_for(lambda: self.told["generation"] == generation)
        wait_for(lambda: self.told["weights"] == {name: weight for name, _, weight in shares})

    @property
    def told(self) -> dict[str, Any]:
        return dict(self.site.routes()["default/drilled"])

    def ask(self, query: str = "") -> Any:
        return self.site.ask(PATH + query)


@pytest.fixture
def drilled(site: GatewaySite, cluster: Cluster, backends: dict[str, int], address: str) -> Iterator[Drilled]:
    for index, name in enumerate(backends):
        cluster.put_slice(f"drilled-{index}", ready(address), port=backends[name])
    yield Drilled(site, cluster)
    cluster.drop_deployment("drilled")
    wait_for(lambda: "default/drilled" not in site.routes())


def told(kind: str, status: str) -> dict[str, Any]:
    """A condition, as the operator writes it."""
    since = "2026-01-02T03:04:05Z"
    return {"type": kind, "status": status, "lastTransitionTime": since, "reason": "Ready", "message": "told"}


@pytest.mark.parametrize(
    ("fault", "told", "code"),
    [
        ("PredictorDown", (503, "no-instance"), grpc.StatusCode.UNAVAILABLE),
        ("Refusing", (429, "queue-full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_clients_get_what_they_would_get(drilled, fault, told, code):
    drilled.put(drill=drill(fault))
    answer = wait_for(lambda: not (found := drilled.ask()).is_success and found)
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == told
    assert "drill" in answer.json()["error"]
    assert answer.headers["retry-after"] == "1"
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{drilled.site.data_port}") as client:
        with pytest.raises(InferenceServerException) as caught:
            client.is_server_live(headers={"forebay-deployment": "default/drilled"})
        assert caught.value.status() == str(code)
    drilled.put()
    assert wait_for(lambda: drilled.ask().is_success)


def test_it_ends_by_itself(drilled):
    def sees_one(lasts_s: int) -> bool:
        drilled.put(drill=drill("PredictorDown", lasts=timedelta(seconds=lasts_s)))
        end = datetime.now(UTC) + timedelta(seconds=lasts_s)
        seen = wait_for(lambda: (not drilled.ask().is_success and "broken") or (datetime.now(UTC) > end and "over"))
        return bool(seen == "broken")

    # On a machine that is slow it may be over before it is seen.
    assert any(sees_one(lasts_s) for lasts_s in (5, 20, 60))
    wait_for(lambda: drilled.ask().is_success)


def test_it_begins_by_itself(drilled):
    told = drill("PredictorDown")
    later = datetime.now(UTC) + timedelta(seconds=4)
    drilled.put(drill={**told, "since": f"{later:%Y-%m-%dT%H:%M:%SZ}"})
    wait_for(lambda: not drilled.ask().is_success)


def test_it_is_of_one_revision_alone(drilled):
    drilled.put(weights=(50, 50), drill=drill("PredictorDown", revision=NEW))
    wait_for(lambda: not drilled.ask().is_success)
    answers = [drilled.ask() for _ in range(60)]
    assert {answer.json()["name"] for answer in answers if answer.is_success} == {"one"}
    assert {answer.status_code for answer in answers} == {200, 503}
    drilled.put(drill=drill("PredictorDown", revision="0000aaaa"))
    assert all(drilled.ask().is_success for _ in range(10))


@pytest.mark.parametrize("fault", ["PredictorDown", "Refusing", "Slow"])
def test_the_fallback_answers_meanwhile(drilled, fault):
    fallback = {"response": {"body": "{}"}, "after": "200ms"}
    more = {"delay": "1m"} if fault == "Slow" else {}
    drilled.put(fallback=fallback, drill=drill(fault, **more))
    answer = wait_for(lambda: "x-forebay-fallback" in (found := drilled.ask()).headers and found)
    assert answer.text == "{}"
    drilled.put(fallback=fallback)
    answer = wait_for(lambda: "x-forebay-fallback" not in (found := drilled.ask()).headers and found)
    assert answer.json()["name"] == "one"


@pytest.fixture
def forebay(plane: ControlPlane, drilled: Drilled) -> Callable[..., subprocess.CompletedProcess[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "FOREBAY"))}
    environment = {**kept, "KUBECONFIG": str(plane.kubeconfig), "NO_COLOR": "1", "COLUMNS": "200"}
    options = ["-n", "default", "--url", drilled.site.url]
    return lambda *said: commands.run(["drill", "drilled", *said, *options], environment=environment, timeout_s=120)


def test_the_command_breaks_it_for_a_while_and_tells_what_clients_saw(drilled, forebay):
    drilled.put(fallback={"response": {"body": "{}"}}, told={"conditions": [told("Ready", "True")]})
    refused = forebay("--fault", "predictor-down", "--revision", OLD)
    assert (refused.returncode, "write --yes" in refused.stderr) == (1, True)
    refused = forebay("--fault", "slow", "--revision", NEW, "--yes")
    assert f"no revision {NEW} that gets requests: it has {OLD}" in refused.stderr
    done = forebay("--fault", "predictor-down", "--for", "6s", "--yes", "--revision", OLD, "--path", "/v2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"before: \d+ requests: 200: \d+\n", done.stdout)
    assert re.search(r"drill: \d+ requests: 200: \d+\n", done.stdout)
    assert re.search(r"\d+ % answered by the fallback \(response\)", done.stdout)
    assert "p99" in done.stdout
    wait_for(lambda: "x-forebay-fallback" not in drilled.ask().headers)


def test_nothing_more_is_broken_of_one_that_is_not_well(drilled, forebay):
    drilled.put(told={"conditions": [told("Ready", "False")]})
    assert "so nothing more is broken" in forebay("--fault", "refusing", "--yes").stderr
    drilled.put(told={"conditions": [told("Ready", "True"), told("Drill", "True")]})
    assert "a drill of drilled is going on" in forebay("--fault", "refusing", "--yes").stderr
    assert "lie between 1s and 1h" in forebay("--fault", "refusing", "--for", "2h", "--yes").stderr
