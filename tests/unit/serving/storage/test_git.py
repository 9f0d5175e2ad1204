"""Scripts from git, out of git's own server."""

import json
import os
from pathlib import Path

import pytest

from forebay.serving.storage import __main__ as command
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.fetch import Fetched, fetch_model
from tests.unit.serving.storage.conftest import Web, send
from tests.unit.serving.storage.git_server import GIT, GitServer

pytestmark = pytest.mark.skipif(not GIT and not os.environ.get("CI"), reason="needs git, for its server")
SCRIPT, MODULE = "serving/digits.py", "serving/labels.py"


@pytest.fixture
def git(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitServer:
    for name in ("GIT_USERNAME", "GIT_PASSWORD", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = GitServer(web, tmp_path / "repositories")
    server.root.mkdir()
    server.start()
    return server


def fetch(uri: str, dest: Path) -> Fetched:
    return fetch_model(uri, dest, allow_loopback=True)


def fail(uri: str, dest: Path, *, allow_loopback: bool = True) -> StorageError:
    with pytest.raises(StorageError) as caught:
        fetch_model(uri, dest, allow_loopback=allow_loopback)
    return caught.value


@pytest.mark.parametrize("ref", ["", "@master", "@v1", "@v2", "@refs/heads/master", "@COMMIT"])
def test_a_branch_a_tag_and_a_commit(git: GitServer, tmp_path: Path, ref: str) -> None:
    first = git.commit({SCRIPT: "one\n", MODULE: "labels\n"}, tag="v1")
    git.commit({SCRIPT: "two\n"}, tag="v2", annotated=True)
    dest = tmp_path / "script"
    assert not fetch(git.address + ref.replace("COMMIT", first), dest).cached
    assert (dest / SCRIPT).read_text() == ("one\n" if ref in ("@v1", "@COMMIT") else "two\n")
    assert (dest / MODULE).read_text() == "labels\n"
    assert not (dest / ".git").exists()
    assert sorted(path.name for path in tmp_path.glob("script*")) == ["script", "script.lock"]


def test_what_has_not_changed_is_not_fetched_again(git: GitServer, tmp_path: Path) -> None:
    commit = git.commit({SCRIPT: "one\n"})
    fetch(f"{git.address}@master", tmp_path / "branch")
    fetch(f"{git.address}@{commit}", tmp_path / "commit")
    git.asked.clear()
    assert fetch(f"{git.address}@{commit}", tmp_path / "commit").cached
    assert git.asked == [], "a commit never changes"
    assert fetch(f"{git.address}@master", tmp_path / "branch").cached
    git.commit({SCRIPT: "two\n"})
    assert not fetch(f"{git.address}@master", tmp_path / "branch").cached
    assert (tmp_path / "branch" / SCRIPT).read_text() == "two\n"


def test_links_are_left_out(git: GitServer, tmp_path: Path) -> None:
    (git.root / "models.git/secret").symlink_to("/etc/passwd")
    git.commit({SCRIPT: "one\n"})
    from dulwich import porcelain  # noqa: PLC0415

    porcelain.add(str(git.root / "models.git"), [str(git.root / "models.git/secret")])
    git.commit({MODULE: "x\n"})
    fetch(git.address, tmp_path / "script")
    assert {path.name for path in (tmp_path / "script").iterdir()} == {"serving", ".forebay.json"}


def test_credentials(git: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git.commit({SCRIPT: "one\n"})
    git.password = "s3cr3t"
    error = fail(git.address, tmp_path / "script")
    assert (error.reason, "custom.credentials.secretName" in error.message) == (Reason.CREDENTIALS_MISSING, True)
    monkeypatch.setenv("GIT_USERNAME", "ada")
    monkeypatch.setenv("GIT_PASSWORD", "wrong-one")
    error = fail(git.address, tmp_path / "script")
    assert (error.reason, "wrong-one" in str(error)) == (Reason.CREDENTIALS_EXPIRED, False)
    monkeypatch.setenv("GIT_PASSWORD", "s3cr3t")
    assert (fetch(git.address, tmp_path / "script").path / SCRIPT).read_text() == "one\n"


@pytest.mark.parametrize(
    ("address", "reason", "words"),
    [
        ("{0}@mater", Reason.NOT_FOUND, "did you mean master?"),
        ("{0}@0123456789012345678901234567890123456789", Reason.NOT_FOUND, "has no such commit"),
        ("{0}@abc1234", Reason.NOT_FOUND, "no branch, tag or whole commit id abc1234: it has master, v1"),
        ("{1}/nosuch.git", Reason.NOT_FOUND, "is no git repository"),
        ("git+https://ada:canary@localhost/models.git", Reason.UNSUPPORTED_URI, "GIT_USERNAME and GIT_PASSWORD"),
        ("git+https://127.0.0.1:9/models.git", Reason.ENDPOINT_UNREACHABLE, "can't be reached"),
    ],
)
def test_what_cannot_be_had(git: GitServer, tmp_path: Path, address: str, reason: Reason, words: str) -> None:
    git.commit({SCRIPT: "one\n"}, tag="v1")
    error = fail(address.format(git.address, f"git+{git.web.address}"), tmp_path / "script")
    assert (error.reason, words in error.message) == (reason, True), error
    assert "canary" not in str(error)
    assert not (tmp_path / "script").exists()


def test_an_authority_that_nobody_knows(git: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git.commit({SCRIPT: "one\n"})
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    error = fail(git.address, tmp_path / "script")
    assert (error.reason, "isn't trusted" in error.message) == (Reason.ENDPOINT_UNREACHABLE, True), error


@pytest.mark.parametrize("host", ["localhost:PORT", "169.254.169.254", "0xa9.254.169.254", "metadata.google.internal"])
def test_where_only_the_pod_gets(git: GitServer, tmp_path: Path, host: str) -> None:
    port = git.web.address.rpartition(":")[2]
    error = fail(f"git+https://{host.replace('PORT', port)}/models.git", tmp_path / "script", allow_loopback=False)
    assert error.reason == Reason.UNSUPPORTED_URI, error
    assert git.asked == []


@pytest.mark.parametrize("to", ["http://localhost:9/models.git/info/refs", "https://169.254.169.254/info/refs"])
def test_redirects_are_looked_at_too(git: GitServer, tmp_path: Path, to: str) -> None:
    git.web.routes["*"] = lambda handler: send(handler, 302, b"", {"Location": to})
    error = fail(git.address, tmp_path / "script")
    assert error.reason in (Reason.UNSUPPORTED_URI, Reason.ENDPOINT_UNREACHABLE), error
    assert "169.254" not in to or error.reason == Reason.UNSUPPORTED_URI


def test_the_script_must_be_there(git: GitServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git.commit({SCRIPT: "one\n", MODULE: "x\n", "README.md": "y\n"})
    arguments = [f"--uri={git.address}", f"--to={tmp_path / 'script'}", "--allow-loopback"]
    assert command.main([*arguments, f"--script={SCRIPT}"]) == 0
    for path, words in (
        ("serving/digit.py", f"did you mean {SCRIPT}"),
        ("x.py", "its scripts are"),
        ("../x.py", "has no"),
    ):
        capsys.readouterr()
        assert command.main([*arguments, f"--script={path}"]) == 1
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (said["reason"], words in said["message"]) == ("NotFound", True), said
