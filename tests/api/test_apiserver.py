"""The generated CRD in a real apiserver: what people see of it with kubectl, and that it refuses what the CLI does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from forebay.api.document import YamlError, plain, read_documents
from forebay.api.dump import to_data
from forebay.api.load import load_text
from forebay.api.problems import InvalidManifest
from tests.api.apiserver import CRDS, ROOT, ControlPlane

pytestmark = [pytest.mark.api, pytest.mark.timeout(3600)]

CASES = yaml.safe_load((ROOT / "tests/unit/api/cases.yaml").read_text())
HEADER = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: case}\nspec:\n"
API = ("forebay.dev/v1alpha1", "ModelDeployment")
OBJECTS = "/apis/forebay.dev/v1alpha1/namespaces/default/modeldeployments"
MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: NAME}
spec:
  model: {uri: s3://models/digits}
  predictor: {triton: {}}
"""
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
    "url": "http://digits.default",
    "instances": "2/2",
    "replicas": 2,
    "readyReplicas": 2,
    "selector": "app.kubernetes.io/instance=digits",
    "activeRevision": "0123abcd",
}


@pytest.fixture(scope="module")
def client(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.client() as made:
        yield made


@pytest.fixture
def create(control_plane: ControlPlane, request: pytest.FixtureRequest):
    """Apply a manifest under a name of the test's own."""

    def apply(manifest: str = MANIFEST) -> str:
        name = re.sub("[^a-z]+", "-", request.node.name.removeprefix("test_"))[:40].strip("-")
        control_plane.kubectl("apply", "--server-side", "-f", "-", given=manifest.replace("NAME", name))
        return name

    return apply


def set_status(plane: ControlPlane, name: str, status: dict[str, Any]) -> None:
    plane.kubectl("patch", "md", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def test_crd_is_served_with_no_warning(control_plane):
    done = control_plane.kubectl("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", CRDS)
    assert done.stderr == ""
    crds = control_plane.get("crd")["items"]
    assert len(crds) == len(list(CRDS.glob("*.yaml")))
    for crd in crds:
        conditions = {each["type"]: each["status"] for each in crd["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}


def objects(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects that have fields, by the paths that kubectl explain takes."""
    schema = schema.get("items", schema)
    if "properties" in schema:
        yield path, schema["properties"]
        for name, child in schema["properties"].items():
            yield from objects(child, f"{path}.{name}")


def read_fields(short: str, plural: str) -> dict[str, dict[str, Any]]:
    crd = yaml.safe_load((CRDS / f"forebay.dev_{plural}.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return dict(objects({"properties": {name: schema["properties"][name] for name in ("spec", "status")}}, short))


FIELDS = read_fields("md", "modeldeployments") | read_fields("mv", "modelversions")


@pytest.mark.parametrize("path", FIELDS)
def test_explain_describes_every_field(control_plane, path):
    shown = " ".join(control_plane.kubectl("explain", path).stdout.split())
    for name, field in FIELDS[path].items():
        assert re.search(rf"\b{name}\s*<", shown), name
        assert " ".join(field["description"].split()) in shown, name


def test_nobody_takes_an_object_for_ready_that_no_operator_has_seen(control_plane, create):
    name = create()
    status = control_plane.get("md", name)["status"]
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [("Ready", "Unknown")]
    waited = control_plane.kubectl("wait", "md", name, "--for=condition=Ready", "--timeout=1s", check=False)
    assert "timed out" in waited.stderr
    assert "The operator has not looked at this object yet" in control_plane.kubectl("describe", "md", name).stdout


def test_wait_for_ready(control_plane, create):
    name = create()
    set_status(control_plane, name, STATUS)
    control_plane.kubectl("wait", "md", name, "--for=condition=Ready", "--timeout=10s")


def table(text: str) -> list[dict[str, str]]:
    head, *rows = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_columns(control_plane, create):
    name = create()
    set_status(control_plane, name, STATUS)
    (row,) = table(control_plane.kubectl("get", "md", name).stdout)
    assert row.pop("AGE")
    wanted = {"NAME": name, "READY": "True", "REASON": "Ready", "INSTANCES": "2/2", "URL": "http://digits.default"}
    assert row == wanted
    head = control_plane.kubectl("get", "md", name, "-o", "wide").stdout.splitlines()[0]
    assert head.split()[5:] == ["REVISION", "NUMBER", "MODEL", "VERSION", "MESSAGE", "AGE"]
    assert name in control_plane.kubectl("get", "all", "-o", "name").stdout


def test_the_status_is_no_part_of_what_people_write(control_plane, create):
    name = create()
    printed = control_plane.get("md", name)
    for field in ("managedFields", "resourceVersion", "uid", "creationTimestamp"):
        printed["metadata"].pop(field, None)
    printed["status"] = STATUS
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=json.dumps(printed))
    assert control_plane.get("md", name)["status"]["conditions"][0]["status"] == "Unknown"
    set_status(control_plane, name, STATUS)
    generation = control_plane.get("md", name)["metadata"]["generation"]
    assert generation == 1, "a status is no change of the spec"


def test_scale(control_plane, create):
    name = create()
    control_plane.kubectl("scale", "md", name, "--replicas=3")
    assert control_plane.get("md", name)["spec"]["predictor"]["replicas"] == 3
    set_status(control_plane, name, STATUS)
    scale = control_plane.get("md", name, "--subresource=scale")
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": "app.kubernetes.io/instance=digits"}
    refused = control_plane.kubectl("scale", "md", name, "--replicas=1001", check=False)
    assert "1000" in refused.stderr


def test_scale_where_an_autoscaler_decides(control_plane, create):
    name = create(MANIFEST.replace("{triton: {}}", "{triton: {}, autoscaling: {max: 3, target: {cpu: 70}}}"))
    refused = control_plane.kubectl("scale", "md", name, "--replicas=2", check=False)
    assert refused.returncode
    assert "leave replicas out, and change autoscaling.min and max" in refused.stderr


def test_variables_of_two_writers_stand_side_by_side(control_plane, create):
    def with_variable(name: str) -> str:
        containers = f"[{{name: predictor, env: [{{name: {name}, value: a}}]}}]"
        return MANIFEST.replace(
            "{triton: {}}", f"{{triton: {{}}, podTemplate: {{spec: {{containers: {containers}}}}}}}"
        )

    name = create(with_variable("A"))
    given = with_variable("B").replace("NAME", name)
    control_plane.kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", given=given)
    (container,) = control_plane.get("md", name)["spec"]["predictor"]["podTemplate"]["spec"]["containers"]
    assert sorted(each["name"] for each in container["env"]) == ["A", "B"]


def manifest_of(case: dict[str, Any]) -> str:
    text = case["manifest"]
    return text if "apiVersion" in text else HEADER + "".join(f"  {line}\n" for line in text.splitlines())


def read(manifest: str) -> tuple[str, str] | None:
    """The name and the JSON that kubectl would send; None where it sends nothing."""
    try:
        (document,) = read_documents(manifest)
        data = plain(document)
        for field in ("namespace", "uid", "resourceVersion"):  # of an object that is there already, elsewhere
            data["metadata"].pop(field, None)
        name, body = data["metadata"]["name"], json.dumps(data, allow_nan=False)
    except (YamlError, ValueError, KeyError, TypeError):
        return None
    return (name, body) if (data.get("apiVersion"), data.get("kind")) == API else None


def send(plane: ControlPlane, client: httpx.Client, manifest: str, *, apply: bool) -> Any:
    """What the apiserver would store; where it or kubectl refuses, the message."""
    request = read(manifest)
    if request is None:
        command = ["apply", "--server-side"] if apply else ["create"]
        done = plane.kubectl(*command, "--dry-run=server", "--output=json", "-f", "-", given=manifest, check=False)
        return done.stderr if done.returncode else json.loads(done.stdout)
    name, body = request
    options = {"dryRun": "All", "fieldManager": "test", "fieldValidation": "Strict"}
    if apply:
        headers = {"content-type": "application/apply-patch+yaml"}
        answer = client.patch(f"{OBJECTS}/{name}", params=options, headers=headers, content=body)
    else:
        headers = {"content-type": "application/json"}
        answer = client.post(OBJECTS, params=options, headers=headers, content=body)
    return answer.json() if answer.is_success else answer.json()["message"]


def holds_nothing(data: Any) -> bool:
    below = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return data is None or any(holds_nothing(each) for each in below)


@pytest.mark.parametrize("apply", [False, True], ids=["create", "apply"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_apiserver_agrees_with_the_loader(case, apply, control_plane, client):
    manifest = manifest_of(case)
    answer = send(control_plane, client, manifest, apply=apply)
    try:
        (made,) = load_text(manifest, file="case.yaml", folder=ROOT)
    except InvalidManifest:
        assert isinstance(answer, str) != bool(case.get("stricter")), answer
        return
    if apply and holds_nothing(plain(next(iter(read_documents(manifest))))):
        # What a create takes for left out, server-side apply may refuse: Kubernetes isn't of one mind.
        return
    assert not isinstance(answer, str), answer
    wanted = to_data(made)["spec"]
    if answer["spec"].get("model", {}).get("uri", "").startswith("file:"):
        wanted["model"]["uri"] = answer["spec"]["model"]["uri"]  # the loader makes it absolute
    assert answer["spec"] == wanted
