"""Environments, installed by the real uv from an index on this machine."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from forebay.serving.environments.brought import find_brought
from forebay.serving.environments.environment import Environment
from forebay.serving.environments.errors import InstallError, Reason
from forebay.serving.environments.install import Installed, install
from tests.unit.serving.environments.package_index import PackageIndex


def run(index: PackageIndex, into: Path, *requirements: str) -> Installed:
    return install(Environment(requirements, index.url), into, allow_loopback=True)


def import_with(environment: Path, code: str) -> str:
    """What code prints in a process that has the environment, as a script's server has it."""
    program = f"from forebay.serving.import_path import add_environment\nfrom pathlib import Path\n{code}"
    program = program.replace("HERE", f"add_environment(Path({str(environment)!r}))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_libraries_and_what_they_need_can_be_imported(index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0", needs=["back>=2"])
    index.add_wheel("back", "2.1")
    said: list[str] = []
    environment = Environment(("front",), index.url)
    installed = install(environment, tmp_path / "env", on_progress=said.append, allow_loopback=True)
    assert installed == Installed(tmp_path / "env", ("back==2.1", "front==1.0"), cached=False)
    assert any("Installed 2 packages" in line for line in said)
    assert import_with(installed.path, "HERE\nimport front, back\nprint(front.VERSION, back.VERSION)") == "1.0 2.1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env", "env.lock"]
    assert list(installed.path.rglob("*.pyc")), "who uses it may not write there"


def test_a_second_time_nothing_is_asked(index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0")
    run(index, tmp_path / "env", "front")
    index.asked.clear()
    assert run(index, tmp_path / "env", "front").cached
    assert index.asked == []
    index.add_wheel("front", "2.0")
    assert run(index, tmp_path / "env", "front>=2").packages == ("front==2.0",)
    assert import_with(tmp_path / "env", "HERE\nimport front\nprint(front.VERSION)") == "2.0"


def test_many_at_once_install_once(index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run(index, tmp_path / "env", "front"), range(4)))
    assert sorted(each.cached for each in done) == [False, True, True, True]


def test_a_failed_one_leaves_what_was_there(index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0")
    run(index, tmp_path / "env", "front")
    with pytest.raises(InstallError):
        run(index, tmp_path / "env", "front==7")
    assert import_with(tmp_path / "env", "HERE\nimport front\nprint(front.VERSION)") == "1.0"
    assert run(index, tmp_path / "env", "front").cached


def test_what_forebay_brings_stays(index: PackageIndex, tmp_path: Path) -> None:
    """numpy is there already: it is neither fetched, nor replaced."""
    index.add_wheel("front", "1.0", needs=["numpy"])
    index.add_wheel("numpy", version("numpy"))
    index.add_wheel("numpy", "99.0")
    installed = run(index, tmp_path / "env", "front", "numpy>=1")
    assert installed.packages == ("front==1.0",)
    code = "import numpy\nbefore = numpy.__version__\nHERE\nimport front\nprint(before)"
    assert import_with(installed.path, code) == version("numpy")


def test_it_is_known_what_forebay_brings() -> None:
    """Every library that the server imports, so that none can be replaced under it."""
    code = "import json, sys, forebay.serving.__main__\nprint(json.dumps([m for m in sys.modules if '.' not in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stdout))
    for module in ("numpy", "grpc", "google", "starlette", "uvicorn", "uvloop", "tritonclient", "prometheus_client"):
        assert module in loaded
    assert {"numpy", "grpcio", "protobuf", "starlette", "uvicorn", "uvloop", "httptools", "anyio"} <= set(
        find_brought()
    )
    assert not {"boto3", "pillow", "scikit-learn"} & set(find_brought()), "these are for scripts to choose"


def test_the_standard_library_comes_first(tmp_path: Path) -> None:
    """As pip has it: a backport of long ago takes nothing's place."""
    (tmp_path / "enum.py").write_text("raise SystemExit('the backport')")
    (tmp_path / "pytest.py").write_text("VERSION = 'mine'")
    (tmp_path / "hook.pth").write_text("import sys; sys.hooked = True\n")
    code = "HERE\nimport sys, enum, pytest\nprint(pytest.VERSION, sys.hooked)"
    assert import_with(tmp_path, code) == "mine True"


def test_a_digest_names_the_content() -> None:
    digest = Environment(("a==1", "b"), "https://index.example.com").digest()
    assert Environment(("b", "a == 1"), "https://index.example.com").digest() == digest
    others = [Environment(("a==2", "b"), "https://index.example.com"), Environment(("a==1", "b"))]
    assert digest not in {each.digest() for each in others}


def test_real_ones_from_pypi(tmp_path: Path) -> None:
    installed = install(Environment(("tomli==2.2.1",)), tmp_path / "env", cache=tmp_path / "cache")
    assert installed.packages == ("tomli==2.2.1",)
    assert import_with(installed.path, "HERE\nimport tomli\nprint(tomli.loads('a = 2'))") == "{'a': 2}"


def refuse(index: PackageIndex, into: Path, *requirements: str) -> InstallError:
    with pytest.raises(InstallError) as caught:
        run(index, into, *requirements)
    return caught.value


REFUSED = {
    "no-package": (["nosuch"], Reason.NO_SUCH_PACKAGE, ["no package nosuch", "correct the name"]),
    "import-name": (["PIL"], Reason.NO_SUCH_PACKAGE, ["no package PIL", "write pillow", "`import PIL`"]),
    "of-another": (["lost"], Reason.NO_SUCH_PACKAGE, ["no package nosuch-either"]),
    "no-version": (["front==7"], Reason.NO_SUCH_VERSION, ["front==7", "The newest that can be had here is front==1.5"]),
    "platform": (["windows"], Reason.NO_WHEEL, ["windows", "win_amd64", "custom.image"]),
    "source": (["source"], Reason.NO_WHEEL, ["source", "nothing is built from source"]),
    "older-has-one": (
        ["once==2"],
        Reason.NO_WHEEL,
        ["once==2", "The newest that can be had here is once==1.0"],
    ),
    "python": (["future"], Reason.NO_SUCH_VERSION, ["future", "requires Python >=3.99"]),
    "each-other": (["front<1.2", "needy"], Reason.CONFLICT, ["needy", "front>=1.5", "don't go together"]),
    "ours": (["numpy<1"], Reason.CONFLICT, ["numpy<1 can't be had", f"brings numpy {version('numpy')}"]),
    "ours-below": (["ancient"], Reason.CONFLICT, ["ancient", f"Forebay itself brings numpy {version('numpy')}"]),
    "address": (["a @ https://example.com/a.whl"], Reason.BAD_REQUIREMENT, ["has an address: write a and a version"]),
    "option": (["-r requirements.txt"], Reason.BAD_REQUIREMENT, ["is no requirement", "write pillow"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_had(index: PackageIndex, tmp_path: Path, case: str) -> None:
    for number in ("1.0", "1.5"):
        index.add_wheel("front", number)
    index.add_wheel("needy", "1.0", needs=["front>=1.5"])
    index.add_wheel("lost", "1.0", needs=["nosuch-either"])
    index.add_wheel("windows", "1.0", tag="cp311-cp311-win_amd64")
    index.add_wheel("once", "1.0")
    index.add_source("once", "2")
    index.add_source("source", "1.0")
    index.add_wheel("future", "1.0", python=">=3.99")
    index.add_wheel("ancient", "1.0", needs=["numpy<1"])
    index.add_wheel("numpy", version("numpy"))
    index.add_wheel("numpy", "0.9")
    requirements, reason, words = REFUSED[case]
    error = refuse(index, tmp_path / "env", *requirements)
    assert error.reason == reason, error
    for word in words:
        assert word in error.message, error
    assert "--" not in error.message, "uv's options are none of the user's"
    assert len(error.message) < 1800, "a pod's status has room for 2048 bytes"
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (401, Reason.CREDENTIALS_MISSING, "UV_INDEX_CUSTOM_PASSWORD"),
        (403, Reason.ACCESS_DENIED, "403"),
        (500, Reason.INDEX_UNREACHABLE, "can't be reached"),
        (503, Reason.INDEX_UNREACHABLE, "can't be reached"),
    ],
)
def test_an_index_that_refuses(index: PackageIndex, tmp_path: Path, status: int, reason: Reason, words: str) -> None:
    index.add_wheel("front", "1.0")
    index.status = status
    error = refuse(index, tmp_path / "env", "front")
    assert (error.reason, words in error.message) == (reason, True), error


def test_credentials(index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add_wheel("front", "1.0")
    index.credentials = "ada:s3cr3t"
    assert refuse(index, tmp_path / "env", "front").reason == Reason.CREDENTIALS_MISSING
    monkeypatch.setenv("UV_INDEX_CUSTOM_USERNAME", "ada")
    monkeypatch.setenv("UV_INDEX_CUSTOM_PASSWORD", "wrong-one")
    error = refuse(index, tmp_path / "env", "front")
    assert error.reason == Reason.CREDENTIALS_MISSING
    assert "wrong-one" not in error.message
    monkeypatch.setenv("UV_INDEX_CUSTOM_PASSWORD", "s3cr3t")
    assert run(index, tmp_path / "env", "front").packages == ("front==1.0",)


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    error = refuse(PackageIndex(url="http://127.0.0.1:9/simple"), tmp_path / "env", "front")
    assert error.reason == Reason.INDEX_UNREACHABLE
    assert "Connection refused" in error.message


def test_a_damaged_wheel(index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0")
    (name,) = index.files
    index.files[name] = index.files[name][:-30]
    error = refuse(index, tmp_path / "env", "front")
    assert error.reason == Reason.CORRUPT_DOWNLOAD, error


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/simple", "http://169.254.169.254/simple", "http://0x7f.1/simple"])
def test_an_index_that_only_the_pod_reaches(tmp_path: Path, url: str) -> None:
    with pytest.raises(InstallError) as caught:
        install(Environment(("front",), url), tmp_path / "env")
    assert caught.value.reason == Reason.UNSUPPORTED_INDEX


def test_a_full_disk(index: PackageIndex, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"may not mount a tmpfs here: {made.stderr.decode().strip()}")
    try:
        (disk / "taken").write_bytes(b"x" * 100_000)
        index.add_wheel("front", "1.0")
        error = refuse(index, disk / "env", "front")
        assert error.reason == Reason.DISK_FULL, error
        assert "make room there" in error.message
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_command(index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0")
    argv = [sys.executable, "-m", "forebay.serving.environments", "--to", str(tmp_path / "env")]
    argv += ["--requirement=front", f"--index={index.url}", "--allow-loopback"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == {"event": "done", "path": str(tmp_path / "env"), "packages": ["front==1.0"], "cached": False}
    failed = subprocess.run([*argv, "--requirement=nosuch"], capture_output=True, text=True, check=False, timeout=120)
    assert failed.returncode == 1
    assert json.loads(failed.stdout.splitlines()[-1])["reason"] == "NoSuchPackage"
