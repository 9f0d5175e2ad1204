"""forebay rollout, promote, abort, pause and resume, and what the README shows of them, on a real operator."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from tests.api.apiserver import ROOT
from tests.controller.site import Cluster, Json, wait_for
from tests.controller.test_canary import BY_HAND, begin, predictor, shares, wait_done, wait_phase
from tests.controller.test_history import list_numbers, serve

pytestmark = pytest.mark.usefixtures("operator")
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
Forebay = Callable[..., subprocess.CompletedProcess[str]]


def test_by_the_commands(cluster: Cluster, namespace: str, forebay: Forebay) -> None:
    old, new = begin(cluster, namespace, predictor(BY_HAND), predictor(BY_HAND, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    shown = forebay("rollout", "digits")
    assert shown.returncode == 1
    assert f"{namespace}/digits step 1 of 2, Waiting" in shown.stdout
    found = [line.split() for line in shown.stdout.splitlines() if "digits-predictor-" in line]
    assert [line[1:] for line in found] == [
        ["serves", "90", "%", "90", "%", "1/1", old],
        ["new", "10", "%", "10", "%", "1/1", new],
    ]
    assert forebay("pause", "digits").returncode == 0
    wait_phase(cluster, namespace, "Paused", 1)
    refused = forebay("promote", "digits")
    assert refused.returncode == 1
    assert "write `forebay resume digits` first" in refused.stderr
    assert forebay("resume", "digits").returncode == 0
    wait_phase(cluster, namespace, "Waiting", 1)
    assert "goes on to step 2" in forebay("promote", "digits").stdout
    wait_phase(cluster, namespace, "Waiting", 2)
    assert "serves" in forebay("abort", "digits").stdout
    wait_phase(cluster, namespace, "Aborted", 0)
    assert "`forebay resume digits` tries it again" in forebay("promote", "digits").stderr
    assert forebay("resume", "digits").returncode == 0
    wait_phase(cluster, namespace, "Waiting", 1)
    assert "to its end" in forebay("promote", "digits", "--full").stdout
    wait_done(cluster, namespace, new)
    shown = forebay("rollout", "digits")
    assert shown.returncode == 0
    assert "no steps under way" in shown.stdout
    for command, said in (
        ("promote", "there is no rollout of digits by steps under way"),
        ("abort", "there is no rollout of digits to abort"),
    ):
        refused = forebay(command, "digits")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert said in refused.stderr
    assert "there is no ModelDeployment digit in namespace" in forebay("pause", "digit").stderr


def test_one_with_no_steps_is_aborted_and_held(cluster: Cluster, namespace: str, forebay: Forebay) -> None:
    cluster.create(namespace, predictor())
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    assert forebay("pause", "digits").returncode == 0
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": predictor(cpu="2")})
    wait_phase(cluster, namespace, "Paused", 0)
    assert "is paused: write `forebay resume digits` first" in forebay("promote", "digits").stderr
    assert forebay("abort", "digits").returncode == 0
    wait_phase(cluster, namespace, "Aborted", 0)
    assert shares(cluster, namespace) == {old: 100}
    assert forebay("resume", "digits").returncode == 0
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: old not in cluster.deployments(namespace))


def test_looking_back_and_going_back(cluster: Cluster, namespace: str, forebay: Forebay) -> None:
    first, second = serve(cluster, namespace, "1", "2")
    wait_for(lambda: list_numbers(cluster, namespace) == [(2, second, "Served"), (1, first, "Served")])
    shown = [line.split() for line in forebay("history", "digits").stdout.splitlines()]
    assert shown[0] == ["NUMBER", "REVISION", "AGE", "WHO", "MODEL", "STATE", "CAUSE"]
    assert [[*line[:2], *line[3:]] for line in shown[1:]] == [
        ["r2", second, "somebody", "s3://models/digits", "serving"],
        ["r1", first, "python-httpx", "s3://models/digits", "-"],
    ]  # fmt: skip
    dumped = json.loads(forebay("history", "digits", "-o", "json").stdout)
    assert [(each["number"], each["state"], each["outcome"]) for each in dumped] == [
        (2, "serving", "Served"), (1, "-", "Served"),
    ]  # fmt: skip
    assert dumped[0]["spec"]["predictor"]["resources"]["cpu"] == "2"
    lines = forebay("diff", "digits", "r1").stdout.splitlines()
    assert lines[:2] == [f"--- r1 ({first})", f"+++ r2 ({second})"]
    assert [line.split() for line in lines if line[:1] in "+-"][2:] == [["-", "cpu:", "'1'"], ["+", "cpu:", "'2'"]]
    assert forebay("diff", "digits", first, second).stdout.splitlines() == lines
    assert "r2" in forebay("diff", "digits", "r2").stdout
    refused = forebay("diff", "digits", "r3")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"there is no revision r3 of digits: there are r2 ({second}), r1 ({first})" in refused.stderr
    assert "write -o json" in forebay("history", "digits", "-o", "yaml").stderr
    assert "with no steps" in forebay("rollback", "digits").stdout
    wait_for(lambda: cluster.status(namespace)["activeRevision"] == first)
    cluster.wait_reason(namespace, "Ready")
    assert "is what is wanted" in forebay("rollback", "digits", "r3").stderr
    assert f"there is no revision r9 of digits: there are r3 ({first})" in forebay("rollback", "digits", "r9").stderr
    # And on again: as the spec says.
    assert f"r2 ({second}) takes over from {first} as the spec says" in forebay("rollback", "digits").stdout
    wait_for(lambda: cluster.status(namespace)["activeRevision"] == second)
    cluster.wait_reason(namespace, "Ready")
    assert "rollback" not in cluster.status(namespace)


def test_going_back_midway_and_to_one_that_was_aborted(cluster: Cluster, namespace: str, forebay: Forebay) -> None:
    _, new = begin(cluster, namespace, predictor(BY_HAND), predictor(BY_HAND, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    states = [line.split()[4:] for line in forebay("history", "digits").stdout.splitlines()[1:]]
    assert states == [["s3://models/digits", "target", "10", "%"], ["s3://models/digits", "serving", "90", "%"]]
    assert forebay("abort", "digits").returncode == 0
    wait_phase(cluster, namespace, "Aborted", 0)
    wait_for(lambda: list_numbers(cluster, namespace)[0][2] == "Aborted")
    assert "aborted" in forebay("history", "digits").stdout
    aborted = cluster.status(namespace)["targetRevision"]
    assert "takes over" in forebay("rollback", "digits").stdout
    wait_for(lambda: new not in cluster.deployments(namespace))
    cluster.wait_reason(namespace, "Ready")
    cluster.replace(namespace, predictor({"abort": aborted}, cpu="3"))
    cluster.wait_reason(namespace, "Ready")
    assert forebay("rollback", "digits", aborted).returncode == 0, "that it was aborted is over"
    wait_for(lambda: cluster.status(namespace)["activeRevision"] == aborted)


def test_watching_until_it_is_over_or_aborted(
    cluster: Cluster, namespace: str, forebay: Forebay, environment: dict[str, str]
) -> None:
    _, new = begin(cluster, namespace, predictor(BY_HAND), predictor(BY_HAND, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    late = forebay("rollout", "digits", "--watch", "--timeout", "1")
    assert late.returncode == 1
    assert "step 1 of 2, Waiting: " in late.stdout
    assert "isn't over after 1 s: still serving" in late.stderr
    assert "write both" in forebay("rollout", "digits", "--timeout", "1").stderr
    with watching(environment) as lines:
        assert "step 1 of 2, Waiting" in next(lines)
        assert forebay("promote", "digits").returncode == 0
        assert any("step 2 of 2, Waiting" in line for line in lines)
        assert forebay("promote", "digits", "--full").returncode == 0
        assert "the rollout of digits is over" in list(lines)[-1]
    wait_done(cluster, namespace, new)
    assert "the rollout of digits is over" in run_in_terminal(environment)
    cluster.replace(namespace, predictor(BY_HAND, cpu="3"))
    with watching(environment, status=1) as lines:
        assert any("step 1 of 2, Waiting" in line for line in lines)
        assert forebay("abort", "digits").returncode == 0
        assert "the rollout of digits was aborted" in list(lines)[-1]


def test_one_that_cannot_begin_is_not_over(cluster: Cluster, namespace: str, forebay: Forebay) -> None:
    (first,) = serve(cluster, namespace, "1")
    cluster.replace(namespace, predictor(cpu="2") | {"model": {"version": "digits:9"}})
    cluster.wait_reason(namespace, "UnknownModelVersion")
    for options in ((), ("--watch", "--timeout", "60")):
        shown = forebay("rollout", "digits", *options)
        assert shown.returncode == 1
    said = f"the rollout of digits can't begin: still serving {first}; what spec.model.version names can't be used: "
    assert said in shown.stdout.replace("\n", " ")


def run_in_terminal(environment: dict[str, str]) -> str:
    """What `forebay rollout --watch` writes to a terminal, until it ends by itself."""
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "forebay.cli", "rollout", "digits", "--watch", "--timeout", "60"]
    with subprocess.Popen(command, env=environment | {"TERM": "xterm"}, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        written = b""
        # The other end of a terminal that nobody has any more can't be read.
        with suppress(OSError):
            while chunk := os.read(master, 4096):
                written += chunk
        os.close(master)
        assert process.wait(60) == 0, written
    return written.decode()


@contextmanager
def watching(environment: dict[str, str], *, status: int = 0) -> Iterator[Iterator[str]]:
    """The lines of `forebay rollout --watch`, which ends by itself."""
    command = [sys.executable, "-m", "forebay.cli", "rollout", "digits", "--watch", "--timeout", "90"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield iter(process.stdout)
            assert process.wait(60) == status
        finally:
            process.kill()


def test_nothing_to_go_back_to(cluster: Cluster, namespace: str, forebay: Forebay) -> None:
    (only,) = serve(cluster, namespace, "1")
    refused = forebay("rollback", "digits")
    assert refused.returncode == 1
    assert f"no revision of digits served before {only}: there are r1 ({only})" in refused.stderr


def test_one_that_can_be_looked_at(cluster: Cluster, namespace: str, forebay: Forebay) -> None:
    look: Json = {"blueGreen": {}, "scaleDownDelay": "1h"}
    begin(cluster, namespace, predictor(look), predictor(look, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    old = cluster.status(namespace)["activeRevision"]
    shown = forebay("rollout", "digits").stdout
    assert f"/{namespace}/digits@preview" in shown
    assert "goes on to its end" in forebay("promote", "digits").stdout
    cluster.wait_reason(namespace, "Ready")
    shown = forebay("rollout", "digits")
    assert shown.returncode == 0
    assert f"{old} until 20" in shown.stdout


def as_pattern(expected: str) -> str:
    return r"\s*".join(".*".join(re.escape(part) for part in word.split("...")) for word in expected.split())


def test_as_the_readme_shows_it(cluster: Cluster, namespace: str, environment: dict[str, str], tmp_path: Path) -> None:
    blocks = list(BLOCK.finditer((ROOT / "README.md").read_text()))
    (halver,) = (each["text"] for each in blocks if each["text"].startswith("# halver.yaml"))
    spec = yaml.safe_load(halver)["spec"]
    cluster.create(namespace, spec | {"predictor": spec["predictor"] | {"replicas": 1}}, name="halver")
    cluster.wait_reason(namespace, "Ready", "halver")
    told = [each["text"] for each in blocks if each["kind"] == "shell" and '"rollout"' in each["text"]]
    told = [each for each in told if "forebay shadow" not in each]  # needs a gateway: tests/e2e/test_readme.py
    told += [each["text"] for each in blocks if each["kind"] == "shell" and "forebay abort" in each["text"]]
    (analysis,) = (each["text"] for each in blocks if each["text"].startswith("# analysis.yaml"))
    (tmp_path / "analysis.yaml").write_text(analysis)
    commands_run = 0
    for text in dict.fromkeys(told):
        output = ""
        for line in text.splitlines():
            if line.startswith("$ forebay predict"):
                output = "[[0.5, 1.0]]"  # nothing runs here; tests/e2e/test_readme.py asks a real one
            elif line.startswith("$ "):
                done = subprocess.run(
                    ["bash", "-c", line.removeprefix("$ ")], env=environment, capture_output=True, text=True,
                    timeout=180, check=False, cwd=tmp_path,
                )  # fmt: skip
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                output = done.stdout + done.stderr
                commands_run += 1
            else:
                assert re.search(as_pattern(line), output), f"{line!r} is not in:\n{output}"
    assert commands_run >= 15
