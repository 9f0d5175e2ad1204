"""`forebay build` against the registry of the distribution project: without TLS, and with TLS and a password."""

import base64
import hashlib
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trustme

from forebay.api.load import load_text
from forebay.build.__main__ import Log, read_order
from forebay.build.order import fulfil
from forebay.plan.builds import plan_build
from forebay.plan.site import Site
from forebay.serving.storage.__main__ import main as fetch_script
from tests.local.image_registry import ImageRegistry, serving_images
from tests.unit.serving.storage.conftest import Web, authority, web  # noqa: F401  (fixtures)
from tests.unit.serving.storage.git_server import GIT, GitServer

SCRIPT = """\
import features
from forebay.serving import Tensor


class Doubler:
    inputs = [Tensor("x", "FP32", [-1, 2])]

    def predict(self, inputs):
        return {"y": features.double(inputs["x"])}
"""
BASE = "forebay/runtime"
# s3cret, by bcrypt, as htpasswd writes it.
HTPASSWD = "reader:$2b$04$ozDb1XjovD98.fxCbvQ2Lejijj79EDSTgivxb0Thk6n9uqrr7t3mK\n"
LOGIN = base64.b64encode(b"reader:s3cret").decode()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with serving_images(folder) as host, httpx.Client(base_url=f"http://{host}", timeout=30) as client:
        made = ImageRegistry(host, client)
        made.push_base(BASE, "1", "linux/amd64", "linux/arm64/v8", folder=folder)
        made.push_base(BASE, "amd64", "linux/amd64", folder=folder)
        made.push_base(BASE, "silent", "linux/amd64", folder=folder, python="")
        yield made


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A script, a module of its own, a model."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.txt").write_text("2\n")
    (tmp_path / "doubler.py").write_text(SCRIPT)
    (tmp_path / "features.py").write_text("import numbers\n\n\ndef double(x):\n    return x * 2\n")
    (tmp_path / "stranger.py").write_text("raise SystemExit\n")
    return tmp_path


def build(folder: Path, *arguments: str, status: int = 0, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "forebay.cli", "build", *arguments], cwd=folder, capture_output=True, text=True,
        timeout=240, check=False, env={**os.environ, "COLUMNS": "200", "DOCKER_CONFIG": str(folder / "docker"), **env},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def list_layer(registry: ImageRegistry, repository: str, digest: str) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(registry.read_blob(repository, digest))) as tar:
        return {member.name: member for member in tar if member.isfile()}


def test_an_image_for_two_platforms_is_the_same_from_two_clean_builds(registry: ImageRegistry, sources: Path) -> None:
    (sources / "requirements.txt").write_text("orjson==3.11.4\nsix==1.17.0\n")
    options = ("--base", f"{registry.host}/{BASE}:1", "--platform", "linux/amd64,linux/arm64", "--model", "model",
               "--requirements", "requirements.txt", "doubler.py")  # fmt: skip
    said = build(sources, "--tag", f"{registry.host}/models/doubler:1", *options, UV_CACHE_DIR=str(sources / "one"))
    index, digest = registry.read("models/doubler", "1")
    assert f"image: {registry.host}/models/doubler@{digest}" in said
    # As another person would, later: other times, another umask, nothing cached.
    os.utime(sources / "features.py", (1, 1))
    (sources / "doubler.py").chmod(0o600)
    build(sources, "--tag", f"{registry.host}/models/again:1", *options, UV_CACHE_DIR=str(sources / "two"))
    assert registry.read("models/again", "1")[1] == digest
    platforms = {each["platform"]["architecture"]: each["digest"] for each in index["manifests"]}
    assert platforms.keys() == {"amd64", "arm64"}
    machines = {}
    for architecture, each in platforms.items():
        manifest, found = registry.read("models/doubler", each)
        assert found == each
        config = json.loads(registry.read_blob("models/doubler", manifest["config"]["digest"]))
        assert config["architecture"] == architecture
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 4
        base, packages, model, script = (
            list_layer(registry, "models/doubler", layer["digest"]) for layer in manifest["layers"]
        )
        assert list(base) == ["etc/platform"]
        assert {"opt/forebay/packages/six.py", "opt/forebay/packages/six-1.17.0.dist-info/RECORD"} <= packages.keys()
        assert not [name for name in packages if "__pycache__" in name or "/bin/" in name]
        machines[architecture] = [name for name in packages if name.endswith(".so")]
        assert list(model) == ["opt/forebay/model/weights.txt"]
        assert list(script) == ["opt/forebay/app/doubler.py", "opt/forebay/app/features.py"]
        members = [*packages.values(), *script.values()]
        assert {(each.mtime, each.uid, each.gid, each.uname, each.mode & 0o22) for each in members} == {
            (0, 0, 0, "", 0)
        }
    assert "x86_64" in machines["amd64"][0]
    assert "aarch64" in machines["arm64"][0]


@pytest.mark.skipif(not GIT and not os.environ.get("CI"), reason="needs git, for its server")
def test_what_the_job_of_an_image_build_fetches_is_the_same_image(
    registry: ImageRegistry,
    sources: Path,
    web: Web,  # noqa: F811
) -> None:
    server = GitServer(web, sources / "repositories")
    server.root.mkdir()
    server.start()
    server.commit(
        {f"serving/{name}.py": (sources / f"{name}.py").read_text() for name in ("doubler", "features")}, tag="v1"
    )
    spec = {"script": f"{server.address}@v1#path=serving/doubler.py", "image": f"{registry.host}/models/fetched:1"}
    head = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "doubler"}}
    (made,) = load_text(json.dumps(head | {"spec": spec}), file="b.yaml", folder=sources)
    pod = plan_build(made, Site()).manifests[1]["spec"]["template"]["spec"]
    digests = set()
    for number in "12":  # each in a pod of its own
        folder = sources / number
        fetch, args = (
            [each.replace("/mnt/script", str(folder)) for each in pod[kind][0]["args"]]
            for kind in ("initContainers", "containers")
        )
        folder.mkdir()
        assert fetch_script([*fetch, "--allow-loopback"]) == 0
        order, _ = read_order([*args, f"--base={registry.host}/{BASE}:amd64"])
        digests.add(fulfil(replace(order, in_pod=False), Log()).image.digest)
    base = ("--base", f"{registry.host}/{BASE}:amd64", "--platform", "linux/amd64", "--name", "doubler")
    build(sources, "--tag", f"{registry.host}/models/beside:1", *base, "doubler.py")
    assert digests == {registry.read("models/beside", "1")[1]}, "as built of the files themselves"


def test_what_is_there_is_not_sent_again(registry: ImageRegistry, sources: Path) -> None:
    options = ("doubler.py", "--base", f"{registry.host}/{BASE}:amd64", "--tag", f"{registry.host}/models/once:1")
    assert "uploaded" in build(sources, *options, "--platform", "linux/amd64")
    said = build(sources, *options, "--platform", "linux/amd64")
    assert "there already" in said
    assert "uploaded" not in said
    (sources / "features.py").write_text("double = lambda x: x + x\n")
    assert "uploaded" in build(sources, *options, "--platform", "linux/amd64")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.py"], "cannot be read"),
        (["broken.py"], "broken.py:1: "),
        (["classless.py"], "has no class with predict"),
        (["lost.py"], "infinite.py:1: "),
        (["doubler.py", "--tag", "doubler:1"], "write REGISTRY/NAME:TAG, as in docker.io/doubler:1"),
        (["doubler.py", "--tag", "HOST/Upper:1"], "lower-case"),
        (["doubler.py", "--tag", "{host}/a@sha256:" + "0" * 64], "the digest follows"),
        (["doubler.py", "--tag", "{host}/a:1", "--platform", "windows/amd64"], "write linux/amd64, linux/arm64"),
        (["doubler.py", "--tag", "{host}/a:1", "--add", "nowhere"], "nowhere is not there"),
        (["doubler.py", "--tag", "{host}/a:1", "--requirements", "none.txt"], "none.txt is not there"),
        (["doubler.py", "--tag", "{host}/a:1", "--base", "{host}/forebay/runtime:one"], "forebay/runtime:1"),
        (["doubler.py", "--tag", "{host}/a:1", "--base", "{host}/forebay/runtime:amd64", "--platform", "linux/arm64"],
         "is not for linux/arm64: it is for linux/amd64"),
        (["doubler.py", "--tag", "{host}/a:1", "--base", "{host}/forebay/runtime:silent", "--platform", "linux/amd64",
          "--requirements", "six.txt"], "write --python"),
        (["doubler.py", "--tag", "{host}/a:1", "--requirements", "sources.txt"], "Only wheels are taken"),
        (["doubler.py", "--tag", "{host}/a:1", "--requirements", "old.txt"], "numpy"),
        (["doubler.py"], "--tag REGISTRY/NAME:TAG, or --output FILE.tar"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(registry: ImageRegistry, sources: Path, arguments: list[str], said: str) -> None:
    (sources / "broken.py").write_text("class Doubler(:\n")
    (sources / "classless.py").write_text("x = 1\n")
    (sources / "lost.py").write_text("import infinite\n\n\nclass Lost:\n    def predict(self, inputs):\n        pass\n")
    (sources / "infinite.py").write_text("while True\n")
    (sources / "six.txt").write_text("six\n")
    (sources / "sources.txt").write_text("docopt==0.6.2\n")  # of which there never was a wheel
    (sources / "old.txt").write_text("numpy<2\n")  # with which forebay.serving doesn't run
    given = [each.format(host=registry.host) for each in arguments]
    base = [] if "--base" in given else ["--base", f"{registry.host}/{BASE}:1"]
    told = build(sources, *given, *base, status=1)
    assert "error:" in told
    assert said in told


def test_an_output_holds_all_of_the_image(registry: ImageRegistry, sources: Path) -> None:
    options = ("doubler.py", "--base", f"{registry.host}/{BASE}:1", "--platform", "linux/amd64,linux/arm64")
    build(sources, *options, "--output", "layout")
    build(sources, *options, "--output", "image.tar")
    with tarfile.open(sources / "image.tar") as tar:
        tar.extractall(sources / "unpacked", filter="data")
    files = {str(path.relative_to(sources / "layout")): path.read_bytes() for path in (sources / "layout").rglob("*")
             if path.is_file()}  # fmt: skip
    again = {name: (sources / "unpacked" / name).read_bytes() for name in files}
    assert files == again
    for name, body in files.items():
        if name.startswith("blobs/"):
            assert name.removeprefix("blobs/sha256/") == hashlib.sha256(body).hexdigest()
    index = json.loads(files["index.json"])["manifests"][0]["digest"].removeprefix("sha256:")
    named = {each["digest"] for each in json.loads(files[f"blobs/sha256/{index}"])["manifests"]}
    for digest in set(named):
        manifest = json.loads(files[f"blobs/sha256/{digest.removeprefix('sha256:')}"])
        named |= {each["digest"] for each in (manifest["config"], *manifest["layers"])}
    assert {f"blobs/{each.replace(':', '/')}" for each in named} <= files.keys()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ImageRegistry, Path]]:
    """TLS, and nobody is let in without a login."""
    folder, ca = tmp_path_factory.mktemp("guarded"), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    made = ca.issue_cert("localhost")
    made.private_key_pem.write_to_path(folder / "key.pem")
    for number, each in enumerate(made.cert_chain_pems):
        each.write_to_path(folder / "cert.pem", append=number > 0)
    (folder / "htpasswd").write_text(HTPASSWD)
    tls = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    auth = {"htpasswd": {"realm": "images", "path": str(folder / "htpasswd")}}
    trusted = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    with (
        serving_images(folder, http={"tls": tls}, auth=auth) as host,
        httpx.Client(base_url=f"https://{host}", verify=trusted, auth=("reader", "s3cret"), timeout=30) as client,
    ):
        registry = ImageRegistry(host, client)
        registry.push_base(BASE, "1", "linux/amd64", folder=folder)
        yield registry, folder / "ca.pem"


def test_a_login_is_needed_and_used(
    guarded: tuple[ImageRegistry, Path], registry: ImageRegistry, sources: Path
) -> None:
    there, ca = guarded
    options = ("doubler.py", "--tag", f"{there.host}/models/doubler:1", "--platform", "linux/amd64", "--base")
    trusted = {"SSL_CERT_FILE": str(ca)}
    assert "isn't trusted" in build(sources, *options, f"{registry.host}/{BASE}:amd64", status=1)
    open_base = f"{registry.host}/{BASE}:amd64"
    assert "without a login: `docker login`" in build(sources, *options, open_base, status=1, **trusted)
    assert "the base" in build(sources, *options, f"{there.host}/{BASE}:1", status=1, **trusted)
    wrong = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {there.host: {"username": "reader", "password": "old"}}})}
    assert "log in anew" in build(sources, *options, open_base, status=1, **trusted, **wrong)
    login = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {there.host: {"auth": LOGIN}}})}
    said = build(sources, *options, f"{there.host}/{BASE}:1", **trusted, **login)
    assert "taken over in the registry" in said
    # From one registry to another, by the layer.
    build(sources, *options, open_base, **trusted, **login)
    assert "s3cret" not in said
