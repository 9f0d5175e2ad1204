"""The conversation with Envoy, move by move. What a real Envoy makes of it is in the other tests here."""

import dataclasses

from forebay.gateway.objects import ColdStart, Deployment, Slice
from forebay.gateway.report import build_report
from forebay.gateway.state import State
from forebay.gateway.typed import CDS, ECDS, EDS, LDS, RDS
from forebay.gateway.xds import Conversation, Request, Response
from forebay.plan.envoy import Address
from forebay.plan.envoy_access import RateLimit
from forebay.plan.envoy_revisions import Target

REST = ["Listener", "TypedExtensionConfig", "RouteConfiguration"]


class Envoy:
    """Takes what it is sent, and asks for what it then needs, in the order of the real one."""

    def __init__(self, state: State, *, before: "Envoy | None" = None) -> None:
        self.state = state
        self.talk = Conversation()
        self.refused: dict[str, str] = {}
        self._heard: set[str] = set()
        self.has: dict[str, dict[str, str]] = before.has if before else {CDS: {}, EDS: {}, LDS: {}, RDS: {}, ECDS: {}}
        self._hear(CDS)
        self._hear(EDS, subscribe={"gateway", *self.has[CDS]})
        self._hear(LDS)
        if before:
            self._hear(ECDS, subscribe={"rate-limits"})
            self._hear(RDS, subscribe={"gateway"})

    def settle(self) -> list[str]:
        """Until nothing more is sent; returns what was."""
        told = []
        for _ in range(200):
            response = next(iter(self.talk.speak(self.state.snapshot)), None)
            if response is None:
                return told
            told.append(self._take(response))
        raise AssertionError("it never ends")

    def report(self, name: str) -> dict[str, object]:
        return build_report(self.state, self.talk)[f"ns/{name}"]

    def _take(self, response: Response) -> str:
        kind, error = response.kind, self.refused.get(response.kind, "")
        new = response.changed.keys() - self.has[kind].keys()
        if not error:
            self.has[kind] |= {name: piece.version for name, piece in response.changed.items()}
            for name in response.gone:
                del self.has[kind][name]
        self._hear(kind, nonce=response.nonce, error=error)
        if kind == CDS and not error and (new or response.gone):
            for name in response.gone:
                self.has[EDS].pop(name, None)
            self._hear(EDS, subscribe=new, unsubscribe=response.gone)
        if kind == LDS:
            self._hear(ECDS, subscribe={"rate-limits"})
            self._hear(RDS, subscribe={"gateway"})
        named = sorted(response.changed) if kind in {CDS, EDS} else ()
        return " ".join([kind.rpartition(".")[2], *named, *(f"-{name}" for name in sorted(response.gone))])

    def _hear(self, kind: str, *, nonce: str = "", error: str = "", subscribe=(), unsubscribe=()) -> None:
        first = kind not in self._heard
        self._heard.add(kind)
        request = Request(
            kind=kind, subscribe=frozenset(subscribe), unsubscribe=frozenset(unsubscribe),
            known=self.has[kind] if first else {}, nonce=nonce, error=error,
        )  # fmt: skip
        self.talk.hear(request)


def deployment(name: str, *workloads: str, **fields: object) -> Deployment:
    targets = tuple(Target(cluster=f"ns/{each}", revision="r") for each in workloads)
    made = Deployment(
        namespace="ns", name=name, generation=1, timeout_s=3, targets=targets, secret="", limit=None
    )  # fmt: skip
    return dataclasses.replace(made, **fields)


def members(workload: str, *hosts: str) -> Slice:
    return Slice(cluster=f"ns/{workload}", family="IPv4", members=tuple(Address(host, 80) for host in hosts))


def build_state(*deployments: Deployment) -> State:
    state = State(data_port=8080)
    for each in deployments:
        state.put_deployment(each)
    state.build()
    return state


def test_a_new_envoy_gets_clusters_and_members_before_routes():
    told = Envoy(build_state(deployment("a", "w1"))).settle()
    assert told == ["Cluster ns/w1", "ClusterLoadAssignment gateway ns/w1", *REST]


def test_an_empty_cluster_has_routes_too():
    assert Envoy(build_state()).settle() == ["Cluster", "ClusterLoadAssignment gateway", *REST]


def test_of_members_only_those_that_changed_are_sent():
    state = build_state(deployment("a", "w1"), deployment("b", "w2"))
    envoy = Envoy(state)
    envoy.settle()
    state.put_slice(("ns", "w1-x"), members("w1", "10.0.0.1"))
    state.build()
    assert envoy.settle() == ["ClusterLoadAssignment ns/w1"]
    assert envoy.report("a")["workloads"] == {"w1": 1}
    assert envoy.settle() == []


def test_routes_move_when_the_new_cluster_is_there_and_the_old_one_goes_after():
    state = build_state(deployment("a", "w1"))
    envoy = Envoy(state)
    envoy.settle()
    state.put_deployment(deployment("a", "w2"))
    state.build()
    assert envoy.settle() == [
        "Cluster ns/w2",
        "ClusterLoadAssignment ns/w2",
        "RouteConfiguration",
        "Cluster -ns/w1",
    ]


def test_routes_move_when_the_new_instances_are_known():
    """EndpointSlices come later than the status that names their workload."""
    state = build_state(deployment("a", "w1"))
    state.put_slice(("ns", "w1-x"), members("w1", "10.0.0.1"))
    state.build()
    envoy = Envoy(state)
    envoy.settle()
    state.put_deployment(deployment("a", "w2", timeout_s=5, generation=2))
    state.build()
    assert envoy.settle() == ["Cluster ns/w2", "ClusterLoadAssignment ns/w2", "RouteConfiguration"]
    assert envoy.report("a") == {"workloads": {"w1": 1}, "weights": {"w1": 100}, "generation": 2, "error": ""}
    state.put_slice(("ns", "w2-x"), members("w2", "10.0.0.2"))
    state.build()
    assert envoy.settle() == ["ClusterLoadAssignment ns/w2", "RouteConfiguration", "Cluster -ns/w1"]
    assert envoy.report("a")["workloads"] == {"w2": 1}


def test_routes_move_when_the_old_instances_are_gone():
    state = build_state(deployment("a", "w1"))
    state.put_slice(("ns", "w1-x"), members("w1", "10.0.0.1"))
    state.build()
    state.put_deployment(deployment("a", "w2"))
    state.build()
    envoy = Envoy(state)
    envoy.settle()
    assert envoy.report("a")["workloads"] == {"w1": 1}
    state.drop_slice(("ns", "w1-x"))
    state.build()
    assert envoy.settle()[-1] == "Cluster -ns/w1"
    assert envoy.report("a")["workloads"] == {"w2": 0}


def test_routes_that_were_to_move_and_then_not_after_all():
    state = build_state(deployment("a", "w1"))
    state.put_slice(("ns", "w1-x"), members("w1", "10.0.0.1"))
    state.build()
    envoy = Envoy(state)
    envoy.settle()
    for workload in ("w2", "w1"):
        state.put_deployment(deployment("a", workload))
        state.build()
    assert envoy.settle() == []
    state.drop_deployment("ns/a")
    state.build()
    assert "Cluster -ns/w1" in envoy.settle()


def test_an_envoy_that_comes_back_is_sent_nothing_that_it_has():
    state = build_state(deployment("a", "w1"), deployment("b", "w2"))
    state.put_slice(("ns", "w1-x"), members("w1", "10.0.0.1"))
    state.build()
    envoy = Envoy(state)
    envoy.settle()
    back = Envoy(state, before=envoy)
    assert back.settle() == ["Cluster"], "it is told that these are all"
    assert back.report("a") == {"workloads": {"w1": 1}, "weights": {"w1": 100}, "generation": 1, "error": ""}
    state.put_slice(("ns", "w2-x"), members("w2", "10.0.0.2"))
    state.build()
    assert back.settle() == ["ClusterLoadAssignment ns/w2"]


def test_an_envoy_that_comes_back_keeps_its_clusters_until_it_has_the_routes():
    envoy = Envoy(build_state(deployment("a", "w1")))
    envoy.settle()
    told = Envoy(build_state(deployment("a", "w2")), before=envoy).settle()
    assert told == ["Cluster ns/w2", "ClusterLoadAssignment ns/w2", "RouteConfiguration", "Cluster -ns/w1"]


def test_a_request_with_an_old_nonce_settles_nothing():
    state = build_state()
    talk = Conversation()
    talk.hear(Request(kind=CDS))
    (first,) = talk.speak(state.snapshot)
    assert not talk.hear(Request(kind=CDS, nonce="0"))
    assert list(talk.speak(state.snapshot)) == [], "the first is still to be answered"
    assert talk.hear(Request(kind=CDS, nonce=first.nonce))


def test_what_is_refused_is_not_sent_again_and_says_why():
    state = build_state(deployment("a", "w1"))
    envoy = Envoy(state)
    envoy.settle()
    envoy.refused[RDS] = "no such thing"
    state.put_deployment(deployment("a", "w1", timeout_s=-1, generation=2))
    state.build()
    assert envoy.settle() == ["RouteConfiguration"]
    report = envoy.report("a")
    assert (report["generation"], report["workloads"]) == (1, {"w1": 0}), "it has what it had"
    assert report["error"] == "Envoy refused the gateway's routes: no such thing"
    envoy.refused.clear()
    state.put_deployment(deployment("a", "w1", timeout_s=5, generation=3))
    state.build()
    assert envoy.settle() == ["RouteConfiguration"]
    assert envoy.report("a") == {"workloads": {"w1": 0}, "weights": {"w1": 100}, "generation": 3, "error": ""}


def test_one_deployment_s_refused_routes_hold_up_no_other_s():
    state = build_state(*(deployment(f"d{n}", "w") for n in range(20)))
    envoy = Envoy(state)
    envoy.settle()
    speak = envoy.talk.speak

    def refuse_d7(snapshot):
        for response in speak(snapshot):
            tables = response.changed.values() if response.kind == RDS else ()
            bad = any(each.entrances["ns/d7"].entrance.timeout_s == 9 for each in tables)
            envoy.refused = {RDS: "bad d7"} if bad else {}
            yield response

    envoy.talk.speak = refuse_d7  # type: ignore[method-assign]
    for n in range(20):
        state.put_deployment(deployment(f"d{n}", "w", timeout_s=9, generation=2))
    state.build()
    pushes = envoy.settle()
    assert len(pushes) <= 12
    assert [envoy.report(f"d{n}")["generation"] for n in range(20)] == [2] * 7 + [1] + [2] * 12
    assert "bad d7" in str(envoy.report("d7")["error"])
    assert not envoy.report("d8")["error"]


def test_a_generation_is_live_when_its_limit_is_too():
    state = build_state(deployment("a", "w1"))
    envoy = Envoy(state)
    envoy.settle()
    envoy.refused[ECDS] = "no"
    limit = RateLimit(requests=1, per_s=1, by_client=False)
    state.put_deployment(deployment("a", "w1", limit=limit, generation=2))
    state.build()
    assert envoy.settle() == ["TypedExtensionConfig", "RouteConfiguration"]
    assert envoy.report("a")["generation"] == 1


def test_a_change_that_means_nothing_to_envoy_sends_nothing_and_is_live():
    state = build_state(deployment("a", "w1"))
    envoy = Envoy(state)
    envoy.settle()
    state.put_deployment(deployment("a", "w1", generation=2))
    state.build()
    assert envoy.settle() == []
    assert envoy.report("a")["generation"] == 2


def test_a_cluster_that_is_replaced_is_sent_its_members_again():
    """The new one waits for them, and Envoy doesn't ask: for the old one it has them."""
    state = build_state(deployment("a", "w1"))
    envoy = Envoy(state)
    envoy.settle()
    state.put_deployment(deployment("a", "w1", targets=(Target(cluster="ns/w1", revision="r2"),)))
    state.build()
    assert envoy.settle()[:2] == ["Cluster ns/w1", "ClusterLoadAssignment ns/w1"]


def test_members_on_their_way_when_the_cluster_is_replaced_are_sent_again():
    state = build_state(deployment("a", "w1"))
    talk = Conversation()
    talk.hear(Request(kind=EDS, subscribe=frozenset({"gateway", "ns/w1"})))
    (members,) = talk.speak(state.snapshot)
    assert members.changed.keys() == {"gateway", "ns/w1"}
    talk.hear(Request(kind=CDS, known={"ns/w1": "another"}))
    (clusters,) = talk.speak(state.snapshot)
    assert clusters.kind == CDS
    talk.hear(Request(kind=EDS, nonce=members.nonce))
    (again,) = talk.speak(state.snapshot)
    assert (again.kind, set(again.changed)) == (EDS, {"ns/w1"})


def test_members_that_envoy_asks_for_again_are_sent_again():
    """It may have let go of the cluster, and found it again, before it said either."""
    state = build_state(deployment("a", "w1"))
    envoy = Envoy(state)
    envoy.settle()
    envoy.talk.hear(Request(kind=EDS, unsubscribe=frozenset({"ns/w1"})))
    assert envoy.settle() == []
    envoy.talk.hear(Request(kind=EDS, subscribe=frozenset({"ns/w1"})))
    assert envoy.settle() == ["ClusterLoadAssignment ns/w1"]


def test_a_target_without_a_share_is_asked_by_name_as_soon_as_it_has_an_instance():
    state = build_state(
        deployment(
            "a",
            targets=(
                Target(cluster="ns/w1", revision="r", weight_pct=100),
                Target(cluster="ns/w2", revision="r2", weight_pct=0),
            ),
        )
    )
    envoy = Envoy(state)
    envoy.settle()
    assert envoy.report("a")["workloads"] == {"w1": 0}
    state.put_slice(("ns", "w2-x"), members("w2", "10.0.0.2"))
    state.build()
    assert envoy.settle() == ["ClusterLoadAssignment ns/w2", "RouteConfiguration"]
    assert envoy.report("a")["workloads"] == {"w1": 0, "w2": 1}
    assert envoy.report("a")["weights"] == {"w1": 100}
    state.put_deployment(deployment("a", targets=(Target(cluster="ns/w1", revision="r", weight_pct=100),)))
    state.build()
    assert envoy.settle() == ["RouteConfiguration", "Cluster -ns/w2"]
    assert envoy.report("a")["workloads"] == {"w1": 0}


def test_a_hold_is_told_until_envoy_has_let_go_of_it():
    """Or who has no instances any more would seem to have the requests, and nobody to hold them."""
    start = ColdStart(timeout_s=60, max_held=10, slots=1, depth=10, is_recreation=True)
    held = deployment("a", "w1", held_since="then", needs=frozenset({"ns/w1"}), cold_start=start)
    state = build_state(held)
    state.put_slice(("ns", "w2-x"), members("w2", "10.0.0.2"))
    envoy = Envoy(state)
    envoy.settle()
    assert envoy.report("a")["heldSince"] == "then"
    state.put_deployment(deployment("a", "w2", needs=frozenset({"ns/w2"}), cold_start=start))
    state.build()
    assert envoy.report("a")["heldSince"] == "then"
    assert envoy.report("a")["workloads"] == {"w1": 0}
    envoy.settle()
    assert "heldSince" not in envoy.report("a")
    assert envoy.report("a")["workloads"] == {"w2": 1}
