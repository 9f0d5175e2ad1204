"""The generated CRD before Kubernetes' own code: what its apiserver does on a create, without the apiserver."""

import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.api.dump import to_data
from forebay.api.load import load_text
from forebay.api.problems import InvalidManifest

pytestmark = pytest.mark.api

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parent / "crdcheck"
CRD = ROOT / "crds/forebay.dev_modeldeployments.yaml"
CASES = yaml.safe_load((ROOT / "tests/unit/api/cases.yaml").read_text())
HEADER = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: case}\nspec:\n"


def manifest_of(case: dict[str, Any]) -> str:
    text = case["manifest"]
    return text if "apiVersion" in text else HEADER + "".join(f"  {line}\n" for line in text.splitlines())


@pytest.fixture(scope="session")
def crdcheck() -> Path:
    """The checker, built once for each state of its sources."""
    digest = hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "forebay"
    binary = cache / f"crdcheck-{digest.hexdigest()[:12]}" / "crdcheck"
    if not binary.exists():
        if shutil.which("go") is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("no go to build crdcheck with")
        binary.parent.mkdir(parents=True, exist_ok=True)
        # Built aside and moved: another run may be looking at the same moment.
        made = binary.with_name(f"crdcheck.{os.getpid()}")
        subprocess.run(["go", "build", "-trimpath", "-o", made, "."], cwd=SOURCES, check=True)
        made.rename(binary)
    return binary


def check(crdcheck: Path, crd: Path, texts: list[str]) -> dict[str, Any]:
    done = subprocess.run([crdcheck, crd], input=json.dumps(texts), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="session")
def answers(crdcheck: Path) -> dict[str, Any]:
    answer = check(crdcheck, CRD, [manifest_of(case) for case in CASES])
    assert answer["crd"] == []
    return {case["name"]: each for case, each in zip(CASES, answer["objects"], strict=True)}


@pytest.mark.timeout(900)
def test_crd_is_valid(answers):
    assert len(answers) == len(CASES)


@pytest.mark.timeout(900)
def test_checker_refuses_a_crd_that_is_not_valid(crdcheck, tmp_path):
    crd = yaml.safe_load(CRD.read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "self.nothing == 1", "message": "no"}]
    path = tmp_path / "crd.yaml"
    path.write_text(yaml.safe_dump(crd))
    assert "undefined field 'nothing'" in check(crdcheck, path, [])["crd"][0]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_kubernetes_agrees_with_the_loader(case, answers):
    answer = answers[case["name"]]
    try:
        (made,) = load_text(manifest_of(case), file="case.yaml", folder=ROOT)
    except InvalidManifest:
        made = None
    assert bool(answer["errors"]) == (made is None and not case.get("stricter")), answer["errors"]
    if made is None:
        return
    stored = answer["defaulted"]
    wanted = to_data(made)["spec"]
    if stored["spec"].get("model", {}).get("uri", "").startswith("file:"):
        wanted["model"]["uri"] = stored["spec"]["model"]["uri"]  # the loader makes it absolute
    assert stored["spec"] == wanted


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", [case for case in CASES if case.get("refused")], ids=lambda case: case["name"])
def test_rules_messages_reach_the_user(case, answers):
    """A rule that is broken alone (the apiserver evaluates none beside schema errors) is told in the same words."""
    rules = [error for error in answers[case["name"]]["errors"] if "Invalid value" in error]
    for words in case["refused"].values():
        alone = len(case["refused"]) == 1
        if alone and words.startswith(("write exactly", "Triton needs", "goes with image", "must lie")):
            assert any(words in error for error in rules), rules


ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**6, 10**20, "", "x", "3", "y", "1Gi", "30s", "2h", "a\n", "s3://a/b", "Ä\u00a0b"),
    *([], {}, [None], [1], [{"name": "predictor"}], {"uri": "s3://a/b"}, {"image": "x"}, {"zzz": 1}),
]


def places(data: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    below = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at] + [place for step, child in below for place in places(child, (*at, step))]


def mutate(data: dict[str, Any], chance: random.Random) -> None:
    """Put something else into one place of the spec, take it away, or add a field beside it."""
    place = chance.choice(places(data["spec"])[1:])
    parent = data["spec"]
    for step in place[:-1]:
        parent = parent[step]
    deed = chance.randrange(4)
    if deed == 0:
        del parent[place[-1]]
    elif deed == 1 and isinstance(parent, dict):
        parent[chance.choice(["replicas", "custom", "triton", "queue", "model", "env", "zzz"])] = chance.choice(ODD)
    else:
        parent[place[-1]] = chance.choice(ODD)


@pytest.mark.timeout(900)
def test_kubernetes_agrees_on_mutations(crdcheck, answers):
    chance = random.Random(7)
    kept = [answers[case["name"]] for case in CASES if not case.get("stricter")]
    sound = [json.dumps(answer["defaulted"]) for answer in kept if not answer["errors"]]
    texts = []
    for _ in range(3000):
        data = json.loads(chance.choice(sound))
        mutate(data, chance)
        texts.append(json.dumps(data))
    accepted = 0
    for text, answer in zip(texts, check(crdcheck, CRD, texts)["objects"], strict=True):
        try:
            load_text(text, file="mutated.yaml", folder=ROOT)
            said = ""
        except InvalidManifest as invalid:
            said = str(invalid)
        assert bool(said) == bool(answer["errors"]), f"{text}\nloader: {said}\nKubernetes: {answer['errors']}"
        accepted += not said
    assert 300 < accepted < 2700
