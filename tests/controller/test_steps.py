"""Each strategy in each of its steps: the operator and the gateway go in it, another spec comes, the one before comes
back, it is deleted, and it is suspended. Wherever that happens, it ends as it would have.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, NamedTuple

import pytest

from tests.controller.gateways import Gateway
from tests.controller.site import BY_KIND, Cluster, Json, Nodes, Operator, wait_for
from tests.controller.test_canary import patch, predictor, routed, shares, wait_phase
from tests.controller.test_history import records, told_of
from tests.controller.test_recreate import end
from tests.gateway.site import find_own_address

pytestmark = pytest.mark.timeout(280)
_numbers = count()
MATCH: Json = {"headers": [{"name": "x-tester", "value": "yes"}]}
CANARY: Json = {"canary": {"steps": [{"weight": 10}, {"weight": 50}], "match": MATCH}}
BLUE_GREEN: Json = {"blueGreen": {}, "scaleDownDelay": "1h"}
RECREATE: Json = {"recreate": {}}
LIMIT_S = 90.0


@dataclass
class Scene:
    """A ModelDeployment in a namespace of its own. Its revisions are told by their CPUs: 1 serves, then 2 comes."""

    cluster: Cluster
    gateway: Gateway
    nodes: Nodes
    rollout: Json
    namespace: str = field(default_factory=lambda: f"steps-{next(_numbers)}")
    verdicts: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """The first one serves."""
        self.cluster.make_namespace(self.namespace)
        self.cluster.create(self.namespace, predictor(self.rollout))
        self.wait_ready("1")

    def change(self, cpu: str, **rollout: Any) -> None:
        """Another spec."""
        self.cluster.replace(self.namespace, predictor(self.rollout | rollout, cpu=cpu))

    def change_held(self, cpu: str, **rollout: Any) -> None:
        """Another spec, of whose revision no instance becomes ready."""
        self.nodes.held.add(self.namespace)
        self.change(cpu, **rollout)
        self.wait_for(lambda: set(self.cpus()) == {"1", cpu})

    def patch(self, **rollout: Any) -> None:
        patch(self.cluster, self.namespace, **rollout)

    def promote(self, *, step: int | None = None) -> None:
        """Let the target that the operator has seen go on, to its end."""
        self.wait_for(self.is_seen)
        self.patch(promote={"revision": self.status()["targetRevision"], "step": step})

    def release(self) -> None:
        self.nodes.release(self.namespace)

    def status(self) -> Json:
        return self.cluster.status(self.namespace)

    def cpus(self) -> dict[str, str]:
        """The workloads by the CPUs of their instances."""
        found = self.cluster.deployments(self.namespace)
        return {find_cpu(each): name for name, each in found.items()}

    def is_seen(self) -> bool:
        """Whether the status is of the present spec."""
        found = self.cluster.find(self.namespace, "ModelDeployment", "digits")
        return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])

    def wait_for(self, what: Callable[[], Any]) -> Any:
        return wait_for(what, limit_s=LIMIT_S, every_s=0.1, why=lambda: f"{self.namespace}: {self.status()}")

    def wait_phase(self, phase: str, step: int = 0) -> None:
        wait_phase(self.cluster, self.namespace, phase, step)

    def wait_ready(self, cpu: str) -> None:
        """Until this one alone serves, and nothing is left to wait for."""
        self.cluster.wait_reason(self.namespace, "Ready", limit_s=LIMIT_S)
        self.wait_for(lambda: self.is_alone(cpu))

    def is_alone(self, cpu: str) -> bool:
        name = self.cpus()[cpu]
        alone = {name: 100}
        return shares(self.cluster, self.namespace) == routed(self.gateway, self.namespace) == alone

    def look(self) -> Json:
        """Who is there, who gets what, and what is told of it."""
        names = {name: cpu for cpu, name in self.cpus().items()}
        found, status = self.cluster.deployments(self.namespace), self.status()
        rollout = {name: status.get("rollout", {}).get(name) for name in ("phase", "step", "weightPct", "message")}
        kept = [(each["data"]["spec"]["predictor"]["resources"]["cpu"], told_of(each, "outcome"))
                for each in records(self.cluster, self.namespace)]  # fmt: skip
        return {
            "instances": {names[name]: each["spec"]["replicas"] for name, each in found.items()},
            "traffic": {names[name]: pct for name, pct in shares(self.cluster, self.namespace).items()},
            "routed": {names[name]: pct for name, pct in routed(self.gateway, self.namespace).items()},
            "conditions": {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]},
            "rollout": rollout if status.get("rollout") else None,
            "warm": [names[name] for name in status.get("warm", {}).get("workloads", ())],
            "history": kept,
        }

    def drop(self) -> None:
        self.release()
        self.cluster.drop(self.namespace)


def find_cpu(deployment: Json) -> str:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    (own,) = (each for each in containers if each["name"] == "predictor")
    return str(own["resources"]["requests"]["cpu"])


class Point(NamedTuple):
    """A step of a rollout: how it comes there from the one before."""

    name: str
    reach: Callable[[Scene], None]


class Walk(NamedTuple):
    """A rollout by a strategy, from step to step and to its end, after which `serves` has all requests."""

    rollout: Json
    points: tuple[Point, ...]
    finish: Callable[[Scene], None]
    serves: str = "2"
    # The points where the first one keeps its place when all is suspended.
    keeps: tuple[str, ...] = ()
    # Where its end is no revision that is ready.
    ends_as: str = "Ready"


def finish_promoted(scene: Scene) -> None:
    scene.release()
    scene.promote()
    scene.wait_ready("2")


def finish_released(scene: Scene) -> None:
    scene.release()
    scene.wait_ready("2")


def start_held(scene: Scene) -> None:
    scene.change_held("2")
    scene.wait_phase("Starting")


def wait_first(scene: Scene) -> None:
    scene.release()
    scene.wait_phase("Waiting", 1)


def promote_first(scene: Scene) -> None:
    scene.promote(step=1)
    scene.wait_phase("Waiting", 2)


def set_ready(scene: Scene, cpu: str, ready: int) -> None:
    status = {"readyReplicas": ready, "availableReplicas": ready}
    path = BY_KIND["Deployment"].path(namespace=scene.namespace, name=scene.cpus()[cpu], subresource="status")
    scene.cluster.write("PATCH", path, {"status": status}, form="application/merge-patch+json")


def fall(scene: Scene) -> None:
    scene.nodes.held.add(scene.namespace)
    set_ready(scene, "2", 0)
    scene.wait_phase("Down", 2)
    scene.wait_for(lambda: routed(scene.gateway, scene.namespace) == {scene.cpus()["1"]: 100})


def abort(scene: Scene) -> None:
    scene.change("2")
    scene.wait_phase("Waiting", 1)
    scene.patch(abort=scene.status()["targetRevision"])
    scene.wait_phase("Aborted")
    wait_given_up(scene)


def wait_given_up(scene: Scene) -> None:
    """Until the new one has no instances, and the old one has all requests."""
    scene.release()
    scene.wait_for(lambda: scene.cluster.deployments(scene.namespace)[scene.cpus()["2"]]["spec"]["replicas"] == 0)
    scene.wait_for(lambda: scene.is_alone("1"))
    scene.wait_for(lambda: scene.cluster.condition(scene.namespace, type_="Available")["status"] == "True")


def switch(scene: Scene) -> None:
    finish_promoted(scene)
    scene.wait_for(lambda: scene.status().get("warm"))


def pause(scene: Scene) -> None:
    scene.change("2", paused=True)
    scene.wait_phase("Paused")


def end_old(scene: Scene) -> None:
    scene.nodes.held.add(scene.namespace)
    scene.patch(paused=None)
    scene.wait_phase("Ending")
    scene.wait_for(lambda: scene.look()["instances"]["1"] == 0)


def start_new(scene: Scene) -> None:
    end(scene.cluster, scene.namespace, scene.cpus()["1"])
    scene.wait_phase("Starting")
    scene.wait_for(lambda: scene.look()["instances"]["2"] == 1)


def go_back(scene: Scene) -> None:
    scene.change("2")
    scene.wait_ready("2")
    scene.wait_for(lambda: [*scene.cpus()] == ["2"])
    first, second = (records(scene.cluster, scene.namespace)[at]["metadata"]["labels"] for at in (1, 0))
    revisions = {"from": second["forebay.dev/revision"], "to": first["forebay.dev/revision"]}
    scene.nodes.held.add(scene.namespace)
    scene.patch(rollback=revisions)
    scene.wait_for(lambda: set(scene.cpus()) == {"1", "2"})
    scene.wait_for(lambda: scene.status()["rollback"])


def serve_back(scene: Scene) -> None:
    scene.release()
    scene.wait_ready("1")


def look_closely(scene: Scene) -> None:
    scene.verdicts[scene.namespace] = "inconclusive"
    scene.change("2")
    scene.wait_phase("Analyzing", 1)


def fail(scene: Scene) -> None:
    scene.verdicts[scene.namespace] = "failed"
    scene.change("2")
    scene.wait_phase("Failed", 1)
    wait_given_up(scene)


def stay(scene: Scene) -> None:
    wait_given_up(scene)


WALKS: dict[str, Walk] = {
    "canary": Walk(
        CANARY,
        (Point("Starting", start_held), Point("step 1", wait_first), Point("step 2", promote_first),
         Point("Down", fall)),
        finish_promoted, keeps=("Starting", "step 1", "step 2", "Down"),
    ),
    "aborted": Walk(
        CANARY, (Point("Aborted", abort),), stay, serves="1", ends_as="RolloutAborted",
    ),
    "blueGreen": Walk(
        BLUE_GREEN, (Point("Starting", start_held), Point("Waiting", wait_first), Point("switched", switch)),
        finish_promoted, keeps=("Starting", "Waiting"),
    ),
    "recreate": Walk(
        RECREATE, (Point("Paused", pause), Point("Ending", end_old), Point("Starting", start_new)), finish_released,
        keeps=("Paused",),
    ),
    "rollback": Walk({}, (Point("going back", go_back), Point("back", serve_back)), serve_back, serves="1"),
    "analysis": Walk({}, (Point("Analyzing", look_closely),), finish_promoted, keeps=("Analyzing",)),
    "failed": Walk({}, (Point("Failed", fail),), stay, serves="1", ends_as="AnalysisFailed"),
}  # fmt: skip


class Stage:
    """What every scene stands on."""

    def __init__(self, cluster: Cluster, gateway: Gateway, nodes: Nodes, url: str, verdicts: dict[str, str]) -> None:
        self._parts = (cluster, gateway, nodes)
        self._verdicts = verdicts
        asked = {"interval": "1s", "webhooks": [{"name": "judge", "url": url}]}
        self._analysis = {"canary": {"steps": [{"weight": 10, "pause": "1s"}], "analysis": asked}}

    def open(self, name: str) -> Scene:
        """A scene for a walk."""
        rollout = self._analysis if name in ("analysis", "failed") else WALKS[name].rollout
        scene = Scene(*self._parts, rollout, verdicts=self._verdicts)
        scene.begin()
        return scene


@pytest.fixture(scope="module")
def stage(cluster: Cluster, gateway: Gateway, nodes: Nodes, operator: Operator) -> Iterator[Stage]:
    """With a service that says of each namespace's revision what its test wants."""
    verdicts: dict[str, str] = {}

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"result": verdicts[asked["namespace"]], "message": "so it is"}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("0.0.0.0", 0), Judge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Stage(cluster, gateway, nodes, f"http://{find_own_address()}:{server.server_port}/", verdicts)
        server.shutdown()


def do_all(do: Callable[..., Any], *cases: Sequence[Any]) -> list[Any]:
    """At once, each in its namespace."""
    with ThreadPoolExecutor(len(cases[0])) as pool:
        return list(pool.map(do, *cases))


def restart_operator(operator: Operator) -> None:
    operator.kill()
    operator.start()
    operator.wait_leading()
    operator.wait_quiet()


def restart_gateway(gateway: Gateway, scenes: Sequence[Scene]) -> None:
    """The pilot first, and then Envoy, which has forgotten everything."""
    gateway.site.kill_pilot()
    gateway.site.start_pilot()
    wait_routed(gateway, scenes)
    assert gateway.site.envoy
    gateway.site.envoy.kill()
    gateway.site.envoy.wait()
    gateway.site.start_envoy()
    wait_for(gateway.site.is_ready)
    wait_routed(gateway, scenes)


def wait_routed(gateway: Gateway, scenes: Sequence[Scene]) -> None:
    for each in scenes:
        wait_for(lambda each=each: f"{each.namespace}/digits" in gateway.site.routes())


def test_the_operator_and_the_gateway_go_in_every_step(stage: Stage, gateway: Gateway, operator: Operator) -> None:
    """And each time nothing is changed by that; in the end all is as it is without."""
    walks = list(WALKS.values())
    scenes = do_all(stage.open, list(WALKS))
    undisturbed = do_all(stage.open, list(WALKS))
    for at in range(max(len(each.points) for each in walks)):
        here = [(walk, scene) for walk, scene in zip(walks, scenes, strict=True) if len(walk.points) > at]
        do_all(lambda each, at=at: each[0].points[at].reach(each[1]), here)
        operator.wait_quiet()
        before = do_all(lambda each: each[1].look(), here)
        restart_operator(operator)
        assert do_all(lambda each: each[1].look(), here) == before
        restart_gateway(gateway, [scene for _, scene in here])
        operator.wait_quiet()
        for (_, scene), look in zip(here, before, strict=True):
            scene.wait_for(lambda scene=scene, look=look: scene.look() == look)

    def walk_through(walk: Walk, scene: Scene) -> Json:
        for point in walk.points:
            point.reach(scene)
        walk.finish(scene)
        return scene.look()

    do_all(lambda walk, scene: walk.finish(scene), walks, scenes)
    do_all(walk_through, walks, undisturbed)
    operator.wait_quiet()
    for disturbed, other in zip(do_all(Scene.look, scenes), do_all(Scene.look, undisturbed), strict=True):
        assert disturbed == other
    do_all(Scene.drop, [*scenes, *undisturbed])


def change_to_third(scene: Scene) -> None:
    """The one in between is left where it stood."""
    scene.change("3")
    scene.release()
    scene.wait_for(lambda: "3" in scene.cpus())
    if scene.rollout and "recreate" not in scene.rollout:
        scene.promote()
    scene.wait_ready("3")
    scene.wait_for(lambda: not scene.status().get("warm") or "blueGreen" in scene.rollout)


@pytest.mark.parametrize("name", WALKS)
def test_another_spec_in_every_step(stage: Stage, name: str) -> None:
    """It serves in the end, whoever was on its way; who it took over from is kept where that is wanted."""
    walk = WALKS[name]

    def interrupt(at: int) -> None:
        scene = stage.open(name)
        for point in walk.points[: at + 1]:
            point.reach(scene)
        served = scene.look()["traffic"]
        change_to_third(scene)
        kept = (
            [cpu for cpu, pct in served.items() if pct == max(served.values())] if "blueGreen" in scene.rollout else []
        )
        scene.wait_for(lambda: set(scene.cpus()) == {"3", *kept[:1]})
        found = scene.look()
        assert found["instances"] == dict.fromkeys(("3", *kept[:1]), 1)
        assert (found["rollout"], found["warm"]) == (None, kept[:1])
        assert found["history"][0] == ("3", "Served")
        check_serving(found)
        scene.drop()

    do_all(interrupt, range(len(walk.points)))


def check_serving(found: Json) -> None:
    """Nothing is left to be done."""
    said = found["conditions"]
    assert {each: said[each][0] for each in ("Ready", "Available", "Progressing", "Stalled")} == {
        "Ready": "True", "Available": "True", "Progressing": "False", "Stalled": "False",
    }  # fmt: skip


@pytest.mark.parametrize("name", WALKS)
def test_the_first_one_again_in_every_step(stage: Stage, name: str) -> None:
    """Nothing is started anew but what had to end."""
    walk = WALKS[name]

    def interrupt(at: int) -> None:
        scene = stage.open(name)
        uid = scene.cluster.deployments(scene.namespace)[scene.cpus()["1"]]["metadata"]["uid"]
        for point in walk.points[: at + 1]:
            point.reach(scene)
        scene.change("1")
        scene.release()
        scene.wait_ready("1")
        scene.wait_for(lambda: set(scene.cpus()) == {"1"})
        scene.wait_for(lambda: scene.look()["instances"] == {"1": 1})
        deployment = scene.cluster.deployments(scene.namespace)[scene.cpus()["1"]]
        assert deployment["metadata"]["uid"] == uid or name == "rollback"
        if name in ("canary", "aborted", "analysis", "failed"):
            assert deployment["metadata"]["generation"] == 1
        found = scene.look()
        assert (found["rollout"], found["warm"]) == (None, [])
        assert found["history"][0] == ("1", "Served")
        check_serving(found)
        scene.drop()

    do_all(interrupt, range(len(walk.points)))


@pytest.mark.parametrize("name", WALKS)
def test_deleted_in_every_step(stage: Stage, gateway: Gateway, operator: Operator, name: str) -> None:
    """Nothing comes back, and one of its name begins as the first."""
    walk = WALKS[name]

    def interrupt(at: int) -> Scene:
        scene = stage.open(name)
        for point in walk.points[: at + 1]:
            point.reach(scene)
        scene.drop()
        scene.wait_for(lambda: f"{scene.namespace}/digits" not in gateway.site.routes())
        return scene

    def begin_again(scene: Scene) -> None:
        assert scene.cluster.list_children(scene.namespace) == {}
        assert records(scene.cluster, scene.namespace) == []
        scene.cluster.create(scene.namespace, predictor(scene.rollout, cpu="2"))
        scene.wait_ready("2")
        found = scene.look()
        assert (found["instances"], found["history"]) == ({"2": 1}, [("2", "Served")])
        check_serving(found)
        scene.drop()

    scenes = do_all(interrupt, range(len(walk.points)))
    operator.wait_quiet()
    do_all(begin_again, scenes)


@pytest.mark.parametrize("name", WALKS)
def test_suspended_and_resumed_in_every_step(stage: Stage, gateway: Gateway, name: str) -> None:
    """Nobody runs meanwhile; and nobody gets all requests by that who has steps to go, was aborted or found bad."""
    walk = WALKS[name]

    def interrupt(at: int) -> None:
        scene = stage.open(name)
        for point in walk.points[: at + 1]:
            point.reach(scene)
        before = scene.look()
        scene.cluster.patch(scene.namespace, "ModelDeployment", "digits", {"spec": {"suspend": True}})
        scene.release()
        wait_stopped(scene)
        scene.cluster.patch(scene.namespace, "ModelDeployment", "digits", {"spec": {"suspend": False}})
        scene.wait_for(scene.is_seen)
        if walk.ends_as != "Ready":
            scene.wait_for(lambda: scene.look() == before)
        elif walk.points[at].name in walk.keeps:
            wait_again(scene)
            walk.finish(scene)
        scene.cluster.wait_reason(scene.namespace, walk.ends_as, limit_s=LIMIT_S)
        if walk.ends_as == "Ready":
            scene.wait_for(lambda: scene.is_alone(walk.serves))
            scene.wait_for(lambda: set((found := scene.look())["instances"]) == {walk.serves, *found["warm"]})
            check_serving(scene.look())
        scene.drop()

    do_all(interrupt, range(len(walk.points)))


def wait_again(scene: Scene) -> None:
    """Until the first one serves, and the second is where it has to wait."""
    scene.wait_for(lambda: scene.status()["rollout"]["phase"] in ("Waiting", "Analyzing", "Paused"))
    scene.wait_for(lambda: max(found := scene.look()["traffic"], key=lambda cpu: found[cpu]) == "1")
    scene.wait_for(lambda: scene.look()["instances"]["1"] == 1)
    if scene.status()["rollout"]["phase"] == "Paused":
        scene.patch(paused=None)


def wait_stopped(scene: Scene) -> None:
    def is_stopped() -> bool:
        said = {each["type"]: each for each in scene.status()["conditions"]}
        return said["Ready"]["reason"] == "Suspended" and said["Progressing"]["status"] == "False"

    scene.wait_for(is_stopped)
    assert set(scene.look()["instances"].values()) == {0}
