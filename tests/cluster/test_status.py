"""forebay status against a real apiserver. The test plays the operator: it writes the status."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.api.apiserver import ControlPlane
from tests.cluster.conftest import Command

Json = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"
WAITING = "no node has a free nvidia.com/gpu: lower predictor.resources.gpu.count, or add a node"


def condition(kind: str, status: str, reason: str, message: str = "") -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW}


STATUS = {
    "url": "http://digits.models.svc.cluster.local",
    "instances": "1/2",
    "replicas": 1,
    "activeRevision": "0badcafe",
    "targetRevision": "deadbeef",
    "components": [
        {
            "name": "predictor", "workload": "digits-predictor-1", "replicas": 1, "readyReplicas": 0,
            "model": {"state": "Downloading", "progressPct": 40},
        }
    ],
    "traffic": [{"revision": "0badcafe", "workload": "w", "workloads": ["w"], "weightPct": 100}],
}  # fmt: skip


@pytest.fixture(scope="module")
def models(plane: ControlPlane) -> Iterator[ControlPlane]:
    """A namespace `models` with the ModelDeployments digits and doubler."""
    plane.install_crds()
    plane.kubectl("create", "namespace", "models")
    for name in ("digits", "doubler"):
        manifest = {
            "apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": name, "namespace": "models"},
            "spec": {"predictor": {"custom": {"image": "registry.test/m:1"}}},
        }  # fmt: skip
        plane.kubectl("apply", "-f", "-", given=yaml.safe_dump(manifest))
    yield plane
    plane.kubectl("delete", "namespace", "models", "--wait=false")


def write(plane: ControlPlane, *conditions: Json, name: str = "digits", generation: int = 1, **status: Any) -> None:
    body = {"status": {"observedGeneration": generation, "conditions": list(conditions), **STATUS, **status}}
    patch = ("patch", "md", name, "-n", "models", "--subresource=status", "--type=merge", "-p", json.dumps(body))
    plane.kubectl(*patch)


def test_where_nothing_was_installed(plane: ControlPlane, forebay: Command) -> None:
    plane.kubectl("delete", "crd", "modeldeployments.forebay.dev", "--ignore-not-found")
    for command in (("status",), ("status", "a"), ("logs", "a"), ("predict", "a", "/etc/hostname")):
        done = forebay(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "error: Forebay isn't installed in this cluster: run `forebay install`\n"


def test_what_nobody_looks_after(models: ControlPlane, forebay: Command) -> None:
    done = forebay("status", "models/doubler")
    assert done.returncode == 1
    assert "models/doubler is not ready (Pending)\nThe operator has not looked at this object yet" in done.stdout
    assert "next: forebay check -n models" in done.stdout


def test_what_is_not_ready_says_why_and_what_next(models: ControlPlane, forebay: Command) -> None:
    write(models, condition("Ready", "False", "WaitingForGPU", WAITING), condition("Available", "False", "Starting"))
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "models"}, "type": "Warning",
        "reason": "WaitingForGPU", "message": WAITING, "firstTimestamp": NOW, "lastTimestamp": NOW, "count": 1,
        "involvedObject": {
            "apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "name": "digits", "namespace": "models",
            "uid": models.get("md", "digits", "-n", "models")["metadata"]["uid"],
        },
    }  # fmt: skip
    models.kubectl("create", "-f", "-", given=yaml.safe_dump(event))
    done = forebay("status", "digits", "-n", "models")
    assert (done.returncode, done.stderr) == (1, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[:3] == [
        "models/digits is not ready (WaitingForGPU)", WAITING, "next: forebay check -n models",
    ]  # fmt: skip
    assert "url http://digits.models.svc.cluster.local" in lines
    assert "revision 0badcafe serves, deadbeef is wanted" in lines
    assert "traffic 100 % to 0badcafe (w)" in lines
    assert "predictor 0/1 Downloading 40 % digits-predictor-1" in lines
    assert any(line.startswith("Ready False WaitingForGPU ") and line.endswith(WAITING) for line in lines)
    assert any(" Warning WaitingForGPU no node has" in line for line in lines)


def test_a_line_each(models: ControlPlane, forebay: Command) -> None:
    write(models, condition("Ready", "False", "WaitingForGPU", WAITING))
    write(models, condition("Ready", "True", "Ready"), name="doubler", instances="2/2", targetRevision="0badcafe")
    done = forebay("status", "-n", "models")
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["NAME", "READY", "REASON", "INSTANCES", "REVISION", "AGE", "URL"]
    assert rows[1][:5] == ["digits", "False", "WaitingForGPU", "1/2", "0badcafe"]
    assert rows[2][:5] == ["doubler", "True", "Ready", "2/2", "0badcafe"]
    everywhere = forebay("status", "-A")
    assert everywhere.stdout.split()[0] == "NAMESPACE"
    nothing = forebay("status")
    assert (nothing.returncode, nothing.stdout) == (
        0, "no ModelDeployment in namespace default: kubectl apply -f FILE.yaml\n"
    )  # fmt: skip


def test_ready_is_of_the_spec_as_it_is(models: ControlPlane, forebay: Command) -> None:
    write(models, condition("Ready", "True", "Ready", "all is well"), name="doubler")
    ready = forebay("status", "models/doubler")
    assert ready.returncode == 0
    assert "models/doubler is ready\nall is well" in ready.stdout
    write(models, condition("Ready", "True", "Ready"), name="doubler", generation=7)
    stale = forebay("status", "models/doubler")
    assert stale.returncode == 1
    assert "models/doubler is not ready (SpecChanged)\nthe spec was changed, and the operator has not" in stale.stdout


def test_watch_prints_what_changes(models: ControlPlane, forebay: Command) -> None:
    write(models, condition("Ready", "False", "Loading"))
    argv = forebay.build("status", "models/digits", "--watch")
    with subprocess.Popen(argv, env=forebay.environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        assert watching.stdout.readline() == "models/digits is not ready (Loading)\n"
        write(models, condition("Ready", "True", "Ready"))
        deadline = time.monotonic() + 20
        while watching.stdout.readline() != "models/digits is ready\n":
            assert time.monotonic() < deadline
        watching.terminate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "models/digts"), "there is no ModelDeployment digts in namespace models: did you mean digits?"),
        (("status", "digits"), "no ModelDeployment digits in namespace default: there is one in models, write -n mod"),
        (("status", "zzz"), "no ModelDeployment zzz in namespace default: `forebay status -A` lists what there is"),
        (("status", "models/digits", "-n", "b"), "models/digits is in namespace models, -n says b: leave one of them"),
        (("status", "digits", "-A"), "write forebay status digits, or forebay status -A: not both"),
        (("logs", "models/digits"), "digits has no pods yet: forebay status digits -n models"),
        (("logs", "a", "-f", "-p"), "a run that is over can't be followed: write --follow or --previous"),
        (("logs", "a", "--component", "b"), "there is no component b: write --component predictor or --component tra"),
        (("predict", "models/digits"), "nothing to send: write forebay predict models/digits FILE"),
        (("predict", "models/digits", "a", "--local"), "models/digits is not served here. Nothing is: run `forebay s"),
        (("predict", "a", "b", "--local", "-n", "c"), "--local is this machine, and -n, --context and --kubeconfig"),
        (("predict", "models/digits", "a"), "digits is not ready (Loading): it loads. More: forebay status digits -n"),
    ],
)
def test_mistakes(models: ControlPlane, forebay: Command, arguments: tuple[str, ...], message: str) -> None:
    write(models, condition("Ready", "False", "Loading", "it loads"), condition("Available", "False", "Loading"))
    done = forebay(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_predict_without_a_gateway(models: ControlPlane, forebay: Command) -> None:
    write(models, condition("Ready", "True", "Ready"), condition("Available", "True", "Ready"))
    done = forebay("predict", "models/digits", "/etc/hostname")
    assert done.returncode == 1
    assert "no gateway runs in this cluster: forebay check tells what is missing" in done.stderr


def test_without_any_cluster(forebay: Command) -> None:
    done = forebay("status", KUBECONFIG="/none")
    assert done.stderr.startswith("error: no cluster is known: there is no ~/.kube/config, and $KUBECONFIG names no")
    predicted = forebay("predict", "m", "/etc/hostname", KUBECONFIG="/none")
    assert predicted.stderr == "error: m is not served here. Nothing is: run `forebay serve FILE.yaml` first\n"


def test_an_apiserver_that_is_gone(plane: ControlPlane, forebay: Command) -> None:
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file = forebay.home / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    done = forebay("status", "--kubeconfig", file)
    assert done.returncode == 1
    assert "error: the apiserver at https://127.0.0.1:1 does not answer: " in done.stderr


def test_one_whom_the_cluster_does_not_know(models: ControlPlane, forebay: Command) -> None:
    config = yaml.safe_load(models.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = "wrong"
    file = forebay.home / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    done = forebay("status", "--kubeconfig", file)
    assert done.returncode == 1
    assert "the cluster of context forebay-test doesn't know you: log in to it again" in done.stderr
