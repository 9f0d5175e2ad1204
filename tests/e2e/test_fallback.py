"""A simpler deployment answers for one whose pods are gone, and a drill shows it beforehand."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.models import (
    DOUBLE,
    build_doubler,
    describe,
    find_condition,
    is_ready,
    list_pods,
    read_status,
    wait_ready,
)
from tests.e2e.test_cli import Command

pytestmark = pytest.mark.timeout(300)

NAMESPACE = "test-fallback"
RICH, SIMPLE = "rich", "simple"


@pytest.fixture(scope="module")
def rich(namespace: Kubectl, gateway: str) -> Kubectl:
    """Two doublers, of which one answers for the other."""
    manifest = build_doubler(RICH)
    manifest["spec"]["fallback"] = {"deployment": SIMPLE, "after": "2s"}
    namespace.apply(build_doubler(SIMPLE))
    namespace.apply(manifest)
    for name in (SIMPLE, RICH):
        wait_ready(namespace, name)
    wait_condition(namespace, "True")
    return namespace


@pytest.fixture
def client(gateway: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{gateway}", timeout=30) as client:
        yield client


def wait_condition(kubectl: Kubectl, status: str) -> None:
    def is_so() -> bool:
        found = [each for each in read_status(kubectl, RICH)["conditions"] if each["type"] == "FallbackReady"]
        return [each["status"] for each in found] == [status]

    eventually(is_so, timeout_s=90, explain=lambda: describe(kubectl, RICH))


def ask(client: httpx.Client, name: str = RICH) -> str:
    """Who answered in place of the model, if anybody did: nobody gets an error."""
    answer = client.post(f"/{NAMESPACE}/{name}/v2/models/{name}/infer", json=DOUBLE)
    if name != RICH and answer.status_code in {404, 503}:
        return "nobody yet"
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == [2, 4]
    return answer.headers.get("x-forebay-fallback", "")


def test_a_drill_shows_who_would_answer(rich: Kubectl, client: httpx.Client, tmp_path: Path) -> None:
    assert ask(client) == ""
    forebay = Command(rich, tmp_path)
    shown = forebay("drill", RICH, "--fault", "predictor-down", "--for", "10s", "--yes").stdout
    assert re.search(r"drill: \d+ requests: 200: \d+", shown), shown
    assert re.search(r"\d+ % answered by the fallback \(simple\)", shown), shown
    wait_ready(rich, RICH)
    eventually(lambda: ask(client) == "", timeout_s=60)


def test_it_answers_until_there_is_an_instance(rich: Kubectl, client: httpx.Client) -> None:
    manifest = build_doubler("late", pod={"nodeSelector": {"forebay.dev/none": "there"}})
    manifest["spec"]["fallback"] = {"deployment": SIMPLE}
    rich.apply(manifest)
    eventually(lambda: ask(client, "late") == SIMPLE, timeout_s=60, explain=lambda: describe(rich, "late"))
    manifest = build_doubler("late")
    manifest["spec"]["fallback"] = {"deployment": SIMPLE}
    rich.apply(manifest)
    wait_ready(rich, "late")
    eventually(lambda: ask(client, "late") == "", timeout_s=60, explain=lambda: describe(rich, "late"))


def test_no_request_is_lost_while_pods_are_replaced(rich: Kubectl, client: httpx.Client) -> None:
    (pod,) = list_pods(rich, RICH)
    rich("delete", "pod", pod["metadata"]["name"], "--wait=false")
    eventually(lambda: ask(client) in {"", SIMPLE} and is_replaced(rich, pod), timeout_s=120)
    eventually(lambda: ask(client) == "", timeout_s=60, explain=lambda: describe(rich, RICH))


def is_replaced(kubectl: Kubectl, pod: dict[str, Any]) -> bool:
    names = [each["metadata"]["name"] for each in list_pods(kubectl, RICH) if is_ready(each)]
    return bool(names) and pod["metadata"]["name"] not in names


def test_a_fallback_that_is_gone_is_told(rich: Kubectl, client: httpx.Client) -> None:
    rich("delete", "md", SIMPLE, "--timeout=60s", timeout_s=70)
    wait_condition(rich, "False")
    found = find_condition(read_status(rich, RICH), "FallbackReady")
    assert (found["reason"], SIMPLE in found["message"]) == ("FallbackMissing", True)
    assert ask(client) == ""
