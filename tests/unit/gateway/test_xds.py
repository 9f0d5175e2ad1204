"""What Envoy is sent next, and that nothing is passed over because it was looked at before."""

from collections.abc import Iterable
from dataclasses import replace

from forebay.gateway.objects import ColdStart, Deployment, Slice
from forebay.gateway.state import State
from forebay.gateway.typed import CDS, EDS, LDS, RDS
from forebay.gateway.xds import Conversation, Request, Response
from forebay.plan.envoy import Address
from forebay.plan.envoy_revisions import Target

MOST = 20


def put(state: State, name: str, revision: int, *, port: int = 80) -> None:
    """A deployment that is served by one instance of a revision."""
    cluster = f"default/{name}-{revision}"
    members = (Address("10.0.0.1", port),)
    state.put_slice(("default", cluster), Slice(cluster=cluster, family="IPv4", members=members))
    state.put_deployment(
        Deployment(
            namespace="default", name=name, generation=1, timeout_s=30, secret="", limit=None,
            targets=(Target(cluster=cluster, revision=f"r{revision}"),),
        )
    )  # fmt: skip
    state.build()


def begin(state: State) -> Conversation:
    conversation = Conversation()
    conversation.hear(Request(kind=CDS))
    conversation.hear(Request(kind=LDS))
    talk(conversation, state)
    return conversation


def answer(conversation: Conversation, response: Response) -> None:
    """Take it, as Envoy does: new clusters ask for their members, the listener for its routes."""
    conversation.hear(Request(kind=response.kind, nonce=response.nonce))
    if response.kind == CDS:
        conversation.hear(Request(kind=EDS, subscribe=frozenset(response.changed), unsubscribe=response.gone))
    if response.kind == LDS:
        conversation.hear(Request(kind=RDS, subscribe=frozenset({"gateway"})))


def talk(conversation: Conversation, state: State) -> list[str]:
    """Until nothing is left to say. Envoy answers before the pilot has said the rest."""
    said: list[str] = []
    for _ in range(MOST):
        before = len(said)
        for response in conversation.speak(state.snapshot):
            said.append(response.kind)
            answer(conversation, response)
        if len(said) == before:
            return said
    raise AssertionError(f"no end: {said}")


def build_sleeper() -> Deployment:
    return Deployment(
        namespace="default", name="sleeper", generation=1, timeout_s=30, secret="", limit=None,
        targets=(Target(cluster="default/t-0", revision="r0"),),
        needs=frozenset({"default/t-0", "default/p-0"}),
        cold_start=ColdStart(timeout_s=60, max_held=10, slots=1, depth=1),
    )  # fmt: skip


def put_member(state: State, cluster: str) -> None:
    found = Slice(cluster=cluster, family="IPv4", members=(Address("10.0.0.1", 80),))
    state.put_slice(("default", cluster), found)


def name_all(responses: Iterable[Response]) -> list[tuple[str, list[str]]]:
    return [(each.kind, sorted(each.changed)) for each in responses]


def test_a_deployment_that_comes_is_sent_whole():
    state = State(data_port=8080)
    put(state, "first", 0)
    conversation = begin(state)
    put(state, "second", 0)
    assert talk(conversation, state) == [CDS, EDS, RDS]
    assert conversation.members["default/second-0"].count == 1
    assert conversation.find_entrance("default/second") is state.find_entrance("default/second")


def test_only_what_changed_is_sent():
    state = State(data_port=8080)
    for name in ("first", "second"):
        put(state, name, 0)
    conversation = begin(state)
    put(state, "second", 0, port=81)
    assert name_all(conversation.speak(state.snapshot)) == [(EDS, ["default/second-0"])]


def test_what_changes_back_while_it_is_on_its_way_is_sent_again():
    state = State(data_port=8080)
    put(state, "first", 0)
    conversation = begin(state)
    put(state, "first", 0, port=81)
    (sent,) = conversation.speak(state.snapshot)
    put(state, "first", 0)
    assert not list(conversation.speak(state.snapshot))
    answer(conversation, sent)
    assert talk(conversation, state) == [EDS]


def test_a_switch_takes_the_old_cluster_last():
    state = State(data_port=8080)
    put(state, "first", 0)
    conversation = begin(state)
    put(state, "first", 1)
    assert talk(conversation, state) == [CDS, EDS, RDS, CDS]
    assert set(state.snapshot.clusters) == {"default/first-1"}


def test_who_waits_for_instances_keeps_the_cluster_that_serves():
    state = State(data_port=8080)
    put(state, "first", 0)
    known = state.deployments["default/first"]
    targets = (Target(cluster="default/first-1", revision="r1"),)
    state.put_deployment(Deployment(**{**vars(known), "targets": targets}))
    state.build()
    assert set(state.snapshot.clusters) == {"default/first-0", "default/first-1"}
    put(state, "first", 1)
    assert set(state.snapshot.clusters) == {"default/first-1"}
    state.drop_deployment("default/first")
    state.build()
    assert not state.snapshot.clusters


def hold_s(conversation: Conversation) -> float:
    live = conversation.find_entrance("default/sleeper")
    assert live
    return live.entrance.hold_s


def test_one_that_may_sleep_is_on_hold_while_anything_that_it_needs_has_no_instance():
    state = State(data_port=8080)
    state.put_deployment(build_sleeper())
    state.build()
    conversation = begin(state)
    assert hold_s(conversation) == 60
    for cluster, held_s in (("default/t-0", 60), ("default/p-0", 0)):
        put_member(state, cluster)
        state.build()
        talk(conversation, state)
        assert hold_s(conversation) == held_s
    state.drop_slice(("default", "default/p-0"))
    state.build()
    talk(conversation, state)
    assert hold_s(conversation) == 60


def test_it_stays_on_hold_until_the_last_held_one_is_gone():
    state = State(data_port=8080)
    state.put_deployment(build_sleeper())
    state.build()
    conversation = begin(state)
    state.begin_hold("default/sleeper", 60)
    for cluster in ("default/t-0", "default/p-0"):
        put_member(state, cluster)
    state.build()
    assert talk(conversation, state) == [EDS]
    assert hold_s(conversation) == 60
    state.end_hold("default/sleeper")
    state.build()
    assert talk(conversation, state) == [RDS]
    assert hold_s(conversation) == 0


def test_envoy_holds_requests_before_it_hears_that_the_last_instance_is_gone():
    state = State(data_port=8080)
    state.put_deployment(build_sleeper())
    for cluster in ("default/t-0", "default/p-0"):
        put_member(state, cluster)
    state.build()
    conversation = begin(state)
    for cluster in ("default/t-0", "default/p-0"):
        state.drop_slice(("default", cluster))
    state.build()
    (response,) = conversation.speak(state.snapshot)
    assert response.kind == RDS
    assert list(conversation.speak(state.snapshot)) == []
    answer(conversation, response)
    assert talk(conversation, state) == [EDS]
    assert conversation.members["default/t-0"].count == 0
    assert talk(conversation, state) == []


def test_an_envoy_that_refuses_to_hold_hears_of_it_all_the_same():
    state = State(data_port=8080)
    state.put_deployment(build_sleeper())
    put_member(state, "default/t-0")
    put_member(state, "default/p-0")
    state.build()
    conversation = begin(state)
    state.drop_slice(("default", "default/t-0"))
    state.build()
    (response,) = conversation.speak(state.snapshot)
    conversation.hear(Request(kind=RDS, nonce=response.nonce, error="no"))
    assert talk(conversation, state) == [EDS]
    assert conversation.members["default/t-0"].count == 0


def test_sleepers_don_t_wait_for_those_that_take_over():
    state = State(data_port=8080)
    put_member(state, "default/t-0")
    put_member(state, "default/p-0")
    state.put_deployment(build_sleeper())
    state.build()
    later = replace(
        build_sleeper(), targets=(Target(cluster="default/t-1", revision="r1"),), needs=frozenset({"default/t-1"})
    )
    state.put_deployment(later)
    state.build()
    entrance = state.find_entrance("default/sleeper")
    assert entrance
    assert [each.cluster for each in entrance.entrance.targets] == ["default/t-1"]
    assert entrance.entrance.hold_s == 60
    assert state.snapshot.clusters.keys() == {"default/t-1"}
