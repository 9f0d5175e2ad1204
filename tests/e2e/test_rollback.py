"""What was before serves again with no request lost: by `forebay rollback`, midway and when it is over, and by a spec
that is applied as it was.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.load import Load
from tests.e2e.models import DOUBLE, build_doubler, describe, find_condition, is_ready, read_status, wait_ready

pytestmark = pytest.mark.timeout(300)

Json = dict[str, Any]
Forebay = Callable[..., str]
NAMESPACE = "test-rollback"
NAME = "returning"
PATH = f"/{NAMESPACE}/{NAME}/v2/models/{NAME}/infer"
RATE = 30
BY_HAND: Json = {"canary": {"steps": [{"weight": 20}]}}


def build(label: str, **rollout: Any) -> Json:
    """Two instances of a doubler, in a revision that is called by its label."""
    made = build_doubler(NAME, replicas=2)
    made["spec"]["predictor"]["podTemplate"].setdefault("metadata", {})["labels"] = {"round": label}
    return made | {"spec": made["spec"] | ({"rollout": rollout} if rollout else {})}


@pytest.fixture(scope="module")
def returning(namespace: Kubectl, gateway: str) -> Kubectl:
    namespace.apply(build("first"))
    wait_ready(namespace, NAME)
    return namespace


@pytest.fixture
def load(returning: Kubectl, gateway: str) -> Iterator[Load]:
    """A load for as long as a test lasts: at its end, every request was answered well."""
    tensor = ("x", np.zeros((1, 2), np.float32))
    with Load(gateway, path=PATH, body=DOUBLE, tensor=tensor, rate=RATE) as load:
        yield load
        load.wait_for(RATE)
    load.check()


@pytest.fixture
def forebay(returning: Kubectl, tmp_path: Path) -> Forebay:
    """The command, with none of this machine's own state; what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "FOREBAY"))}
    environment = {**kept, "KUBECONFIG": returning.kubeconfig, "HOME": str(tmp_path), "NO_COLOR": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "forebay.cli", *arguments, "-n", NAMESPACE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def wait_alone(kubectl: Kubectl, label: str) -> None:
    """Until no pods are there but two of this label, which are ready."""

    def is_alone() -> bool:
        found = kubectl.get("pods", f"--selector=app.kubernetes.io/instance={NAME}")["items"]
        labels = {pod["metadata"]["labels"].get("round", "") for pod in found}
        return len(found) == 2 and labels == {label} and all(map(is_ready, found))

    eventually(is_alone, timeout_s=120, explain=lambda: describe(kubectl, NAME))


def list_history(forebay: Forebay) -> list[Json]:
    found: list[Json] = json.loads(forebay("history", NAME, "-o", "json"))
    return found


def test_three_revisions_and_back(returning: Kubectl, load: Load, forebay: Forebay) -> None:
    revisions = [read_status(returning, NAME)["activeRevision"]]
    for label in ("second", "third"):
        returning.apply(build(label))
        wait_ready(returning, NAME, timeout_s=120)
        wait_alone(returning, label)
        revisions.append(read_status(returning, NAME)["activeRevision"])
    first, second, third = revisions
    eventually(lambda: [each["outcome"] for each in list_history(forebay)] == ["Served"] * 3, timeout_s=60)
    found = list_history(forebay)
    assert [(each["number"], each["revision"]) for each in found] == [(3, third), (2, second), (1, first)]
    assert found[0]["state"] == "serving"
    assert all(each["changedBy"] and each["rolledOutAt"] for each in found)
    changed = [line.split() for line in forebay("diff", NAME, "r1", "r3").splitlines() if line[:1] in ("-", "+")]
    assert changed[2:] == [["-", "round:", "first"], ["+", "round:", "third"]]
    # Steps are for what is new.
    patch = json.dumps({"spec": {"rollout": BY_HAND}})
    returning("patch", "md", NAME, "--type=merge", "-p", patch)
    forebay("rollback", NAME)
    wait_alone(returning, "second")
    wait_ready(returning, NAME)
    status = read_status(returning, NAME)
    assert status["activeRevision"] == second
    assert status["rollback"] == {"from": third, "to": second}
    assert "change the spec to go on" in find_condition(status, "RolledBack")["message"]
    forebay("rollback", NAME, "r1")
    wait_alone(returning, "first")
    wait_ready(returning, NAME)
    assert read_status(returning, NAME)["rollback"] == {"from": third, "to": first}
    load.wait_for(RATE)


def test_midway_and_by_a_reverted_spec(returning: Kubectl, load: Load, forebay: Forebay) -> None:
    # What is rolled back says nothing of new content.
    returning.apply(build("fourth", **BY_HAND))

    def find() -> Json | None:
        status = read_status(returning, NAME)
        return status if status.get("rollout", {}).get("phase") == "Waiting" else None

    status = eventually(find, timeout_s=120, explain=lambda: describe(returning, NAME))
    assert "rollback" not in status
    load.wait_for(RATE)
    forebay("rollback", NAME)
    forebay("rollout", NAME, "--watch", "--timeout", "120")
    wait_alone(returning, "first")
    assert read_status(returning, NAME)["activeRevision"] == status["activeRevision"]
    # As Git would: the content of the second, which is known, and goes by the steps since none of its pods is there.
    returning.apply(build("second", **BY_HAND))
    status = eventually(find, timeout_s=120, explain=lambda: describe(returning, NAME))
    kept = {each["revision"]: each for each in list_history(forebay)}
    assert kept[status["targetRevision"]]["outcome"] == "Served"
    forebay("promote", NAME, "--full")
    forebay("rollout", NAME, "--watch", "--timeout", "120")
    wait_alone(returning, "second")
