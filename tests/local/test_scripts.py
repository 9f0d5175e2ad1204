"""Scripts with libraries of their own, and scripts at addresses: served, and checked, as a person does."""

import asyncio
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from forebay.api.load import load_text
from forebay.local.check_manifest import check_manifests
from forebay.local.display import Display
from forebay.local.environments import forget_unused, held, install_environment
from forebay.local.errors import LocalError
from forebay.local.scripts import bring_script
from forebay.plan.resolve import Packages, resolve
from tests.local.serving_session import REPOSITORIES, forebay, serving
from tests.unit.serving.environments.package_index import PackageIndex, serve_index
from tests.unit.serving.storage.conftest import Web, authority, web  # noqa: F401
from tests.unit.serving.storage.git_server import GIT, GitServer

HEAD = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: greeter}\nspec:\n"
SCRIPT = """
import front
from forebay.serving import Tensor

class Greeter:
    inputs = [Tensor("x", "FP32", [-1])]
    outputs = [Tensor("y", "BYTES", [-1])]

    def predict(self, inputs):
        return {"y": [front.VERSION] * len(inputs["x"])}
"""
BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PackageIndex]:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path / "cache"))
    with serve_index() as served:
        served.add_wheel("front", "1.0")
        served.add_wheel("front", "2.0")
        yield served


def write_manifest(index: PackageIndex, requirement: str, script: str = SCRIPT, more: str = "") -> str:
    custom = {"script": script, "requirements": [requirement], "index": {"url": index.url}}
    return f"{HEAD}  predictor:\n    custom: {json.dumps(custom)}\n{more}"


def ask(url: str) -> str:
    answer = httpx.post(f"{url}/v2/models/greeter/infer", json=BODY, trust_env=False, timeout=60)
    return str(answer.json()["outputs"][0]["data"][0])


def check(text: str, folder: Path) -> tuple[bool, str]:
    output = io.StringIO()
    manifests = load_text(text, file="m.yaml", folder=folder)
    return check_manifests(manifests, console=Console(file=output, width=200), timeout_s=60), output.getvalue()


def test_libraries_are_installed_once(index: PackageIndex, tmp_path: Path) -> None:
    manifest = write_manifest(index, "front<2")
    with serving(manifest, tmp_path) as session:
        assert ask(session.url) == "1.0"
        assert "predictor: installing front<2 (once)" in session.output.read_text()
        assert "predictor: installed front==1.0" in session.output.read_text()
    index.status = 500
    (tmp_path / "again").mkdir()
    with serving(manifest, tmp_path / "again") as session:
        assert ask(session.url) == "1.0"
        assert "installing" not in session.output.read_text()


def test_what_cannot_be_installed_is_said(index: PackageIndex, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(write_manifest(index, "front==7"))
    done = forebay("serve", str(tmp_path / "m.yaml"), state=tmp_path / "state")
    assert done.returncode == 1
    assert "predictor.custom.requirements: NoSuchVersion: the index has no version that fits front==7" in done.stderr
    assert "The newest that can be had here is front==2.0" in done.stderr


async def test_only_so_many_are_kept(index: PackageIndex) -> None:
    display = Display(Console(file=io.StringIO()))
    packages = [Packages(requirements=(each,), index_url=index.url) for each in ("front==1.0", "front==2.0", "front")]
    folders = []
    for number, each in enumerate(packages):
        folders.append(await install_environment(each, display, of="predictor"))
        with held(folders[-1]):
            pass
        used = folders[-1].with_name(f"{folders[-1].name}.used")
        os.utime(used, (number, number))
    with held(folders[0]):
        os.utime(folders[0].with_name(f"{folders[0].name}.used"), (0, 0))
        assert forget_unused(1) == [folders[1]], "the oldest is in use"
    assert [folder.exists() for folder in folders] == [True, False, True]


def test_check_installs_and_measures(index: PackageIndex, tmp_path: Path) -> None:
    hungry = SCRIPT + "    def load(self):\n        self.taken = bytearray(300_000_000)\n"
    more = "    resources: {memory: 256Mi}\n    concurrency: 2\n"
    good, said = check(write_manifest(index, "front", hungry, more), tmp_path)
    assert good, said
    assert "its requirements can be installed: front" in said
    assert "answers over REST: y BYTES [1] = [b'2.0']" in said
    assert "measured: ready after" in said
    assert "predictor.resources.memory: it took" in said
    assert "of the 256Mi that are written: the kernel would kill it" in said
    assert "resources:\n          memory: " in said


def test_check_names_what_is_missing(index: PackageIndex, tmp_path: Path) -> None:
    good, said = check(write_manifest(index, "front", f"import nope_one\n{SCRIPT}"), tmp_path)
    assert not good
    assert "missing library nope_one: write custom: {requirements: [nope_one]} into the manifest" in said
    good, said = check(write_manifest(index, "nosuch"), tmp_path)
    assert not good
    assert "NoSuchPackage: the index has no package nosuch" in said


def test_check_tells_what_is_here_alone(tmp_path: Path) -> None:
    script = SCRIPT.replace("import front", "import pytest as front").replace("VERSION", "__version__")
    good, said = check(f"{HEAD}  predictor: {{custom: {{script: {json.dumps(script)}}}}}\n", tmp_path)
    assert good, said
    assert (
        f"pytest is installed here, and not in a pod: write custom: {{requirements: [pytest=={pytest.__version__}"
        in said
    )


def test_check_measures_triton(tmp_path: Path) -> None:
    predictor = "{triton: {}, concurrency: 2, resources: {memory: 32Mi, cpu: '16'}}"
    good, said = check(f"{HEAD}  model: {{uri: 'file:{REPOSITORIES}/slow'}}\n  predictor: {predictor}\n", tmp_path)
    assert not good, "the model is called slow"
    named = HEAD.replace("greeter", "slow")
    good, said = check(f"{named}  model: {{uri: 'file:{REPOSITORIES}/slow'}}\n  predictor: {predictor}\n", tmp_path)
    assert good, said
    assert "a second with 2 at once" in said
    assert "predictor.resources.memory: it took" in said
    assert "resources.cpu" not in said, "the Triton of this machine tells nothing of NVIDIA's speed"
    assert not list(Path("/dev/shm").glob(f"forebay-check-{os.getpid()}-*"))


def test_check_goes_on_with_the_next(tmp_path: Path) -> None:
    text = f'{HEAD}  predictor: {{custom: {{image: x}}}}\n  transformer: {{custom: {{script: "class T\\n    x\\n"}}}}\n'
    good, said = check(text, tmp_path)
    assert not good
    assert "default/greeter predictor\n  is an image, which needs a cluster" in said
    assert "expected ':'" in said


@pytest.mark.skipif(not GIT and not os.environ.get("CI"), reason="needs git, for its server")
def test_a_script_from_git(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path / "cache"))
    server = GitServer(web, tmp_path / "repositories")
    server.root.mkdir()
    server.start()
    server.commit({"serving/greeter.py": SCRIPT, "serving/front.py": "VERSION = 'beside'\n"}, tag="v1")
    text = f'{HEAD}  predictor: {{custom: {{script: "{server.address}@v1#path=serving/greeter.py"}}}}\n'
    (made,) = load_text(text, file="m.yaml", folder=tmp_path)
    script = Path(asyncio.run(bring_script(resolve(made).predictor, tmp_path)))
    assert (script.read_text(), script.with_name("front.py").exists()) == (SCRIPT, True)
    with serving(text, tmp_path) as session:
        assert ask(session.url) == "beside"
    (wrong,) = load_text(text.replace("greeter.py", "greter.py"), file="m.yaml", folder=tmp_path)
    with pytest.raises(LocalError, match=r"did you mean serving/greeter\.py"):
        asyncio.run(bring_script(resolve(wrong).predictor, tmp_path))


def test_a_script_behind_https(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path / "cache"))
    address = web.serve("/scripts/greeter.py", SCRIPT.encode(), etag='"1"')
    text = f'{HEAD}  predictor: {{custom: {{script: "{address}"}}}}\n'
    (made,) = load_text(text, file="m.yaml", folder=tmp_path)
    assert Path(asyncio.run(bring_script(resolve(made).predictor, tmp_path))).read_text() == SCRIPT
    (damaged,) = load_text(text.replace(address, f"{address}#sha256={'0' * 64}"), file="m.yaml", folder=tmp_path)
    with pytest.raises(LocalError, match="CorruptDownload"):
        asyncio.run(bring_script(resolve(damaged).predictor, tmp_path))
