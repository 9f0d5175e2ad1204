"""forebay push, models, alias and compare, against a real apiserver and a real S3 server (SeaweedFS)."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from tests.api.apiserver import ROOT, ControlPlane
from tests.cluster.conftest import Command
from tests.e2e.bucket import ADMIN, READER, Bucket, serve_bucket

EXAMPLES = ROOT / "hack/examples"
CONFIG = """\
name: "digits"
backend: "onnxruntime"
max_batch_size: 64
input [ { name: "image" data_type: TYPE_FP32 dims: [ 64 ] } ]
output [
  { name: "label" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "probabilities" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" }
]
"""
Json = dict[str, Any]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with serve_bucket(tmp_path_factory.mktemp("weed"), node="127.0.0.1") as made:
        made.put("up", b"")
        yield made


@dataclass(frozen=True, kw_only=True)
class Site:
    """A namespace, a bucket, and the command for who may write to both."""

    plane: ControlPlane
    bucket: Bucket
    forebay: Command
    namespace: str

    @property
    def to(self) -> str:
        return f"s3://models/{self.namespace}"

    @property
    def aws(self) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": ADMIN[0], "AWS_SECRET_ACCESS_KEY": ADMIN[1]}
        return self.bucket.credentials | keys | {"FOREBAY_PUSH_TO": ""}

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.forebay(*arguments, "-n", self.namespace, **(self.aws | environment))

    def list_objects(self, prefix: str = "") -> dict[str, Any]:
        """When each was written, by its name below the namespace's prefix."""
        client = boto3.client(
            "s3", endpoint_url=f"http://{self.bucket.address}:{self.bucket.port}", region_name="us-east-1",
            aws_access_key_id=ADMIN[0], aws_secret_access_key=ADMIN[1],
        )  # fmt: skip
        prefix = f"{self.namespace}/{prefix}"
        found = client.list_objects_v2(Bucket="models", Prefix=prefix).get("Contents", [])
        return {each["Key"].removeprefix(prefix): each["LastModified"] for each in found}


@pytest.fixture(scope="module")
def installed(plane: ControlPlane) -> ControlPlane:
    plane.install_crds()
    return plane


@pytest.fixture
def site(installed: ControlPlane, bucket: Bucket, forebay: Command, tmp_path: Path) -> Iterator[Site]:
    plane = installed
    name = re.sub("[^a-z0-9]+", "-", tmp_path.name)[:40].strip("-")
    plane.kubectl("create", "namespace", name)
    yield Site(plane=plane, bucket=bucket, forebay=forebay, namespace=name)
    plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    (folder / "1").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("not part of it")
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "labels.txt").write_text("zero\none\n")
    (folder / "1/model.onnx").write_bytes(b"weights")
    return folder


def digest_of(folder: Path) -> str:
    """As the field's description has it, by the tools of a shell."""
    shell = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(["bash", "-c", shell], cwd=folder, capture_output=True, text=True, check=True)
    return f"sha256:{done.stdout.split()[0]}"


def test_a_folder_becomes_a_version(site: Site, model: Path) -> None:
    # In parts, as S3 takes what is large.
    (model / "1/model.onnx").write_bytes(os.urandom(20 * 1024 * 1024))
    options = ("--to", site.to, "--metric", "accuracy=0.97", "--alias", "candidate", "--by", "ada")
    done = site.run("push", model, "digits", *options, "--from", "s3://data", "--secret", "keys")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{site.to}/digits/1: 3 files uploaded, 0 were there already",
        f"digits:1 is in namespace {site.namespace}, {digest_of(model)}",
        "digits@candidate is digits:1",
    ]
    assert site.list_objects("digits/1/").keys() == {"1/model.onnx", "config.pbtxt", "labels.txt"}
    spec = site.plane.get("mv", "digits-1", "-n", site.namespace)["spec"]
    assert spec == {
        "model": "digits", "version": "1", "uri": f"{site.to}/digits/1", "digest": digest_of(model), "format": "triton",
        "inputs": [{"name": "image", "dataType": "FP32", "shape": [-1, 64]}],
        "outputs": [
            {"name": "label", "dataType": "BYTES", "shape": [-1, 1]},
            {"name": "probabilities", "dataType": "FP32", "shape": [-1, 10]},
        ],
        "labels": ["zero", "one"], "metrics": {"accuracy": 0.97}, "aliases": ["candidate"],
        "lineage": {"by": "ada", "from": ["s3://data"], "run": ""}, "credentials": {"secretName": "keys"},
    }  # fmt: skip


def test_what_is_there_is_not_uploaded_again(site: Site, model: Path) -> None:
    push = ("push", model, "digits")
    assert site.run(*push, "--to", site.to).returncode == 0
    before = site.list_objects("digits/1/")
    again = site.run(*push, "--alias", "champion")
    # The same content is the same version.
    assert f"{site.to}/digits/1: 0 files uploaded, 3 were there already" in again.stdout
    assert site.list_objects("digits/1/") == before
    (model / "labels.txt").write_text("null\neins\n")
    clash = site.run(*push, "--version", "1")
    assert clash.returncode == 1
    assert "digits:1 is there already, with other content" in clash.stderr
    other = site.run(*push, "--alias", "champion")
    assert f"{site.to}/digits/2: 3 files uploaded" in other.stdout, "the next number, beside the last"
    assert "digits@champion is digits:2, and no more digits:1" in other.stdout
    found = {
        each["metadata"]["name"]: each["spec"].get("aliases")
        for each in site.plane.get("mv", "-n", site.namespace)["items"]
    }
    assert found == {"digits-1": [], "digits-2": ["champion"]}
    # What belongs to something else is told of, and stays.
    site.bucket.put(f"{site.namespace}/digits/3/labels.txt", b"half")
    (model / "labels.txt").write_text("cero\nuno\n")
    clash = site.run(*push)
    assert "digits/3 holds labels.txt already, with other content" in " ".join(clash.stderr.split())
    assert site.list_objects("digits/3/").keys() == {"labels.txt"}
    assert "3 files uploaded" in site.run(*push, "--version", "three").stdout
    site.bucket.put(f"{site.namespace}/digits/3/stray.bin", b"stray")
    (model / "labels.txt").write_text("0\n1\n")
    stray = site.run(*push)
    assert "holds 1 files that are not of this model, such as stray.bin" in stray.stderr


def test_a_manifest_to_keep_in_git(site: Site, model: Path) -> None:
    options = ("--to", site.to, "--alias", "champion", "--version", "1.2.0")
    dry = site.run("push", model, "digits", *options, "--dry-run", KUBECONFIG="/none")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert site.list_objects() == {}
    done = site.run("push", model, "digits", *options, "-o", "yaml", KUBECONFIG="/none")
    assert "3 files uploaded" in done.stderr
    assert done.stdout == dry.stdout
    manifest = yaml.safe_load(done.stdout)
    assert manifest["spec"]["aliases"] == ["champion"]
    site.plane.kubectl("apply", "-n", site.namespace, "-f", "-", given=done.stdout)
    assert site.plane.get("mv", "digits-1.2.0", "-n", site.namespace)["spec"]["digest"] == digest_of(model)


def test_tables(site: Site, model: Path) -> None:
    push = ("push", model, "digits", "--to", site.to)
    site.run(*push, "--metric", "accuracy=0.97", "--metric", "latency-ms=3", "--alias", "champion")
    (model / "config.pbtxt").write_text(CONFIG.replace("[ 64 ]", "[ 8, 8 ]"))
    site.run(*push, "--metric", "accuracy=0.985")
    serving = {
        "apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "live"},
        "spec": {"model": {"version": "digits@champion"}, "predictor": {"triton": {}}},
    }  # fmt: skip
    site.plane.kubectl("apply", "-n", site.namespace, "-f", "-", given=yaml.safe_dump(serving))
    status = {"status": {"model": {"version": "digits:1", "uri": "s3://x/y"}}}
    patch = ("patch", "md", "live", "-n", site.namespace, "--subresource=status", "--type=merge")
    site.plane.kubectl(*patch, "-p", json.dumps(status))
    rows = [line.split() for line in site.run("models").stdout.splitlines()]
    assert rows == [
        ["MODEL", "VERSIONS", "LATEST", "ALIASES", "SERVED", "BY"],
        ["digits", "2", "2", "champion=1", "live"],
    ]
    versions = [line.split() for line in site.run("models", "digits").stdout.splitlines()]
    assert versions[0] == ["VERSION", "ALIASES", "ACCURACY", "LATENCY-MS", "FORMAT", "SERVED", "BY", "AGE", "URI"]
    assert versions[1][:3] == ["2", "0.985", "triton"]
    assert versions[2][:6] == ["1", "champion", "0.97", "3", "triton", "live"]
    compared = site.run("compare", "digits@champion", "digits:2").stdout
    lines = [" ".join(line.split()) for line in compared.splitlines()]
    assert lines[:3] == ["digits:1 digits:2 DIFFERENCE", "accuracy 0.97 0.985 +0.015", "latency-ms 3"]
    assert "inputs image FP32[-1, 64] image FP32[-1, 8, 8] differ" in lines
    moved = site.run("alias", "digits@champion", "2")
    assert moved.stdout == "digits@champion is digits:2, and no more digits:1\n"
    assert site.run("alias", "digits@champion", "digits:2").stdout == "digits@champion is digits:2\n"
    assert "model digits:1 at s3://x/y" in " ".join(site.run("status", "live").stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("push", "NOWHERE", "digits", "--to", "s3://models"), "there is no file or folder NOWHERE"),
        (("push", "MODEL", "digits"), "where to? write --to s3://BUCKET/PREFIX"),
        (("push", "MODEL", "digits", "--to", "gs://a"), "s3://BUCKET/PREFIX"),
        (("push", "MODEL", "Digits", "--to", "s3://models"), "spec.model"),
        (("push", "MODEL", "digits", "--to", "s3://models", "--metric", "a=b"), "--metric a=b: write NAME=NUMBER"),
        (("push", "MODEL", "digits", "--to", "s3://none/x"), "s3://none/x/digits/1: "),
        (("models",), ""),
        (("models", "digit"), "there is no ModelVersion of digit here"),
        (("alias", "digits:3", "4"), "digits:3 is no alias: write forebay alias digits@champion VERSION"),
        (("alias", "digits@champion", "4"), "there is no ModelVersion of digits here"),
        (("compare", "digits", "digits:2"), "digits names no version: write digits:VERSION or digits@ALIAS"),
    ],
)
def test_mistakes(site: Site, model: Path, arguments: tuple[str, ...], message: str) -> None:
    given = [str(model) if each == "MODEL" else each for each in arguments]
    done = site.run(*given)
    if not message:
        assert f"no ModelVersion in namespace {site.namespace}" in done.stdout
        return
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split())


def test_who_may_not_write_is_told(site: Site, model: Path) -> None:
    reader = {"AWS_ACCESS_KEY_ID": READER[0], "AWS_SECRET_ACCESS_KEY": READER[1]}
    done = site.run("push", model, "digits", "--to", site.to, **reader)
    assert done.returncode == 1
    assert "AccessDenied" in done.stderr
    assert READER[1] not in done.stderr


BLOCK = re.compile(r"^```sh\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(900)
def test_every_command_does_what_the_readme_shows(site: Site, tmp_path: Path) -> None:
    if not (EXAMPLES / "digits/build/repository").exists():
        subprocess.run([sys.executable, str(EXAMPLES / "digits/prepare.py")], check=True, timeout=600)
    shutil.copytree(EXAMPLES / "digits", tmp_path / "digits")
    path = f"{Path(sys.executable).parent}:{site.plane.kubectl_program.parent}:{os.environ['PATH']}"
    environment = site.forebay.environment | site.aws | {"PATH": path}
    output, commands = "", 0
    for block in BLOCK.finditer((ROOT / "README.md").read_text()):
        for line in block["text"].splitlines():
            if line.startswith("$ "):
                done = subprocess.run(
                    ["bash", "-c", line.removeprefix("$ ")], cwd=tmp_path, env=environment,
                    capture_output=True, text=True, timeout=240, check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
                output, commands = done.stdout + done.stderr, commands + 1
            else:
                shown = ".*".join(re.escape(part) for part in line.split("..."))
                assert re.search(shown, output), f"{line!r} is not in:\n{output}"
    assert commands >= 6
    site.plane.kubectl("delete", "md,mv", "--all")
