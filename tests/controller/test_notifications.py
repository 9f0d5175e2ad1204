"""Webhooks are told how a rollout goes, and a rollout doesn't wait for them."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from forebay.controller.notifier import Notifier, NotifierSettings
from forebay.kube.apply import OwnerReference
from forebay.kube.client import Client
from forebay.kube.holdings import Owner
from forebay.kube.kubeconfig import load_login
from forebay.status.notices import Notice
from tests.controller.site import Cluster, Json, Operator, wait_for
from tests.controller.test_canary import BY_HAND, begin, patch, predictor, told, wait_done, wait_phase
from tests.unit.controller.listener import Listener

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        yield made


def notify(*webhooks: Json, **fields: Any) -> Json:
    return {"notify": [{"webhook": each, **fields} for each in webhooks]}


def kinds(listener: Listener) -> list[str]:
    return [json.loads(each.body)["kind"] for each in listener.seen]


def test_each_step_is_told(cluster: Cluster, operator: Operator, namespace: str, listener: Listener) -> None:
    rollout = BY_HAND | notify({"url": f"{listener.url}/hook"})
    _, new = begin(cluster, namespace, predictor(rollout), predictor(rollout, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    revision = cluster.status(namespace)["targetRevision"]
    patch(cluster, namespace, promote={"revision": revision})
    wait_done(cluster, namespace, new)
    wait_for(lambda: sorted(kinds(listener)) == ["Completed", "Completed", "Started", "Step", "Waiting"])
    step = next(json.loads(each.body) for each in listener.seen if json.loads(each.body)["kind"] == "Step")
    assert (step["namespace"], step["name"], step["revision"]) == (namespace, "digits", revision)
    assert (step["step"], step["steps"], step["weightPct"]) == (1, 2, 10)
    assert operator.metrics()["forebay_notifications_total sent"] >= 5


def test_slack_is_told_what_it_wants(cluster: Cluster, namespace: str, listener: Listener) -> None:
    rollout = BY_HAND | notify({"url": listener.url + "/slack"}, format="Slack", events=["Aborted"])
    begin(cluster, namespace, predictor(rollout), predictor(rollout, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    wait_for(lambda: listener.seen)
    (seen,) = [json.loads(each.body) for each in listener.seen]
    assert seen["text"].startswith(f"*{namespace}/digits* Aborted: revision ")


def test_who_does_not_listen_is_told_of_and_holds_nobody(
    cluster: Cluster, operator: Operator, namespace: str, listener: Listener
) -> None:
    listener.free.clear()
    rollout = notify(
        {"url": f"{listener.url}/hung"}, {"url": "http://169.254.169.254/latest"}, {"secretName": "slack"},
        events=["Completed"],
    )  # fmt: skip
    cluster.create(namespace, predictor(rollout))
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: told(cluster, namespace).count("NotificationFailed") == 2)
    said = [each["message"] for each in cluster.events(namespace) if each["reason"] == "NotificationFailed"]
    assert any("notify[1].webhook: nothing is sent to link-local and metadata addresses" in each for each in said)
    assert any("notify[2].webhook: this installation may read no Secret for it" in each for each in said)
    assert not any("latest" in each for each in said)
    assert "/latest" not in operator.log
    wait_for(lambda: listener.seen)
    assert cluster.condition(namespace)["status"] == "True"


def refer(namespace: str) -> OwnerReference:
    owner = Owner(namespace, "digits")
    return OwnerReference(owner=owner, uid="1", api_version="forebay.dev/v1alpha1", kind="ModelDeployment")


NOTICE = Notice(kind="Completed", namespace="n", name="digits", message="said", at="2026-11-22T08:00:00Z", status={})


@asynccontextmanager
async def notifying(cluster: Cluster) -> AsyncIterator[tuple[Notifier, Counter[str]]]:
    """One that may read Secrets, and what became of what it was to send."""
    login = await load_login(context=None, kubeconfig=str(cluster.plane.kubeconfig))
    settings, results = NotifierSettings(hosts=("127.0.0.1",), secrets=True), Counter[str]()
    async with Client(login.connection) as client:
        count = lambda result: results.update([result])  # noqa: E731
        notifier = Notifier(client, settings, count=count, clock=lambda: datetime.now(UTC))
        running = asyncio.create_task(notifier.run())
        try:
            yield notifier, results
        finally:
            running.cancel()
            await asyncio.wait([running])


async def until(what: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_for, what)


async def test_an_address_may_be_in_a_secret(cluster: Cluster, namespace: str, listener: Listener) -> None:
    data = {"url": base64.b64encode(f"{listener.url}/from-a-secret\n".encode()).decode(), "other": "////"}
    path = f"/api/v1/namespaces/{namespace}/secrets"
    cluster.write("POST", path, {"metadata": {"name": "slack"}, "data": data})
    webhooks = ({"secretName": "slack"}, {"secretName": "slack", "key": "no"}, {"secretName": "gone"},
                {"secretName": "slack", "key": "other"})  # fmt: skip
    async with notifying(cluster) as (notifier, results):
        notifier.tell(refer(namespace), {"rollout": notify(*webhooks)}, [NOTICE])
        await until(lambda: results == {"sent": 1, "failed": 3})
    assert [each.path for each in listener.seen] == ["/from-a-secret"]
    said = wait_for(lambda: (found := cluster.events(namespace)) and len(found) == 3 and str(found))
    for each in ("Secret slack has no key no", "there is no Secret gone", "other of Secret slack is no text"):
        assert each in said


async def test_who_is_busy_is_asked_again(cluster: Cluster, namespace: str, listener: Listener) -> None:
    listener.answers = [503, 404]
    async with notifying(cluster) as (notifier, results):
        notifier.tell(refer(namespace), {"rollout": notify({"url": f"{listener.url}/a"})}, [NOTICE])
        await until(lambda: results == {"failed": 1})
        notifier.tell(refer(namespace), {"rollout": notify({"url": f"{listener.url}/b"}, events=["Step"])}, [NOTICE])
        notifier.tell(refer(namespace), {"rollout": notify({"url": f"{listener.url}/c"})}, [NOTICE])
        await until(lambda: results == {"failed": 1, "sent": 1})
    assert [each.path for each in listener.seen] == ["/a", "/a", "/c"]


async def test_no_more_wait_than_may(cluster: Cluster, namespace: str, listener: Listener) -> None:
    listener.free.clear()
    async with notifying(cluster) as (notifier, results):
        spec = {"rollout": notify({"url": f"{listener.url}/a"})}
        notifier.tell(refer(namespace), spec, [NOTICE] * 300)
        assert results == {"dropped": 300 - 256}
        listener.free.set()
        await until(lambda: results["sent"] == 256)
