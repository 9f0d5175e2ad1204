"""The node's agent installs a script's libraries: the real uv, over a real index, for volumes over its real sockets."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.node.site import Node, await_state, eventually, find_python, read_command, read_state, walk, walk_children
from tests.node.tap import Tap
from tests.unit.serving.environments.package_index import PackageIndex, serve_index

LOOK = """
import sys
from pathlib import Path
from forebay.serving.import_path import add_environment
add_environment(Path(sys.argv[1]))
import front
print(front.VERSION, front.__file__)
"""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with serve_index() as served:
        yield served


def publish(node: Node, name: str, index: PackageIndex, *requirements: str, **secret: str) -> Path:
    wanted = {"kind": "environment", "requirements": "\n".join(requirements), "index": index.url}
    return node.publish(name, "", secret, **wanted)


def bring(index: PackageIndex, volume: Path, to: Path, *requirements: str) -> list[dict[str, Any]]:
    """What the pod's container says, which waits for the agent."""
    program, environment = find_python()
    arguments = [f"--requirement={each}" for each in requirements]
    done = subprocess.run(
        [program, "-m", "forebay.serving.environments", f"--to={to}", f"--index={index.url}", *arguments,
         f"--cached-at={volume}", "--allow-loopback"],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_two_pods_at_once_are_one_install(node: Node, index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0", needs=["back>=2"])
    index.add_wheel("back", "2.1")
    node.start()
    volumes = [publish(node, name, index, "front", "back<3") for name in ("one", "two")]
    states = [await_state(volume, "Cached") for volume in volumes]
    assert sorted(state["hit"] for state in states) == [False, True]
    asked = [*index.asked]
    # In another order they are the same.
    assert await_state(publish(node, "three", index, "back<3", "front"), "Cached")["hit"] is True
    assert index.asked == asked
    assert (volumes[0] / "files/front.py").samefile(volumes[1] / "files/front.py")
    assert {(path.stat().st_uid, path.stat().st_mode & 0o222) for path in walk(volumes[0] / "files")} == {(0, 0)}
    said = bring(index, volumes[1], tmp_path / "packages", "front", "back<3")
    assert said[-1]["packages"] == ["back==2.1", "front==1.0"]
    assert said[-1]["path"] == str(tmp_path / "packages")
    program, environment = find_python()
    look = [program, "-c", LOOK, str(tmp_path / "packages")]
    found = subprocess.check_output(look, env=environment, text=True, timeout=60).split()
    assert found == ["1.0", str(tmp_path / "packages/front.py")]
    # What was compiled is of use, and nobody writes there.
    assert list((volumes[0] / "files").rglob("front.*.pyc"))
    assert node.metric('forebay_node_cache_volumes_total{result="miss"}') == 1
    assert node.metric('forebay_node_cache_volumes_total{result="hit"}') == 2
    assert not list((node.root / "downloads").iterdir())


def test_what_is_wrong_is_said_as_ever(node: Node, index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0")
    index.add_source("raw", "1.0")
    node.start()
    for name, requirement, reason, words in (
        ("a", "nope", "NoSuchPackage", "the index has no package nope: correct the name"),
        ("b", "front==7", "NoSuchVersion", "The newest that can be had here is front==1.0"),
        ("c", "raw", "NoWheel", "nothing is built from source"),
        ("d", "front @ http://x/y.whl", "BadRequirement", "has an address"),
        ("e", "numpy<1", "Conflict", "the script shares its process with Forebay"),
    ):
        volume = publish(node, name, index, requirement)
        found = eventually(lambda at=volume: read_state(at) if "reason" in read_state(at) else None)
        assert (found["state"], found["reason"]) == ("Failed", reason)
        assert words in found["message"]
    said = bring(index, node.target("a"), tmp_path / "packages", "nope")[-1]
    assert (said["event"], said["reason"]) == ("error", "NoSuchPackage")
    assert not (tmp_path / "packages").exists()
    # It is there by now, and the kubelet asks again.
    index.add_wheel("nope", "1.0")
    eventually(lambda: publish(node, "a", index, "nope") and read_state(node.target("a")).get("state") == "Cached")


def test_nothing_of_the_node_is_an_index(node: Node) -> None:
    node.start()
    for number, url in enumerate(("file:///etc", "/etc", "http://169.254.169.254/simple")):
        volume = node.publish(f"pod-{number}", "", {}, kind="environment", requirements="front", index=url)
        assert eventually(lambda at=volume: read_state(at).get("reason")) == "UnsupportedIndex"


def test_credentials_bring_what_they_themselves_may_have(node: Node, index: PackageIndex) -> None:
    index.add_wheel("front", "1.0")
    index.credentials = "me:secret"
    node.start()
    mine = {"UV_INDEX_CUSTOM_USERNAME": "me", "UV_INDEX_CUSTOM_PASSWORD": "secret"}
    await_state(publish(node, "mine", index, "front", **mine), "Cached")
    for name, secret in (("nobody", {}), ("other", {**mine, "UV_INDEX_CUSTOM_PASSWORD": "guess"})):
        volume = publish(node, name, index, "front", **secret)
        found = eventually(lambda at=volume: read_state(at) if "reason" in read_state(at) else None)
        assert found["reason"] == "CredentialsMissing"
        assert not (volume / "files").exists()
    # A Secret says no more than who asks.
    hostile = {**mine, "UV_FIND_LINKS": "/etc", "UV_INDEX": "file:///etc", "LD_PRELOAD": "/tmp/evil.so"}
    assert await_state(publish(node, "again", index, "front", **hostile), "Cached")["hit"] is True


def test_an_agent_that_is_killed_is_not_missed(node: Node, index: PackageIndex) -> None:
    index.add_wheel("front", "1.0")
    node.start()
    tap = Tap(int(index.url.split(":")[2].split("/")[0]))
    with tap.open() as url:
        held = PackageIndex(url=f"{url}/simple")
        tap.hold_after(0)
        volume = publish(node, "pod", held, "front")
        eventually(lambda: tap.asked)
        worker, uv = find_install(node)
        assert b"Uid:\t1000\t1000\t1000\t1000" in Path(f"/proc/{worker}/status").read_bytes()
        node.kill()
        # With it went what it had started.
        eventually(lambda: are_gone(worker, uv))
        tap.let_go()
        node.start()
        publish(node, "pod", held, "front")
        await_state(volume, "Cached")
        assert (volume / "files/front.py").exists()


def test_a_pod_that_goes_ends_its_install(node: Node, index: PackageIndex) -> None:
    index.add_wheel("front", "1.0")
    node.start()
    tap = Tap(int(index.url.split(":")[2].split("/")[0]))
    with tap.open() as url:
        tap.hold_after(0)
        publish(node, "pod", PackageIndex(url=f"{url}/simple"), "front")
        eventually(lambda: tap.asked)
        pids = find_install(node)
        node.unpublish("pod")
        eventually(lambda: are_gone(*pids))


def test_they_are_in_the_bounds_of_the_cache(node: Node, index: PackageIndex) -> None:
    for number in range(3):
        index.add_wheel(f"big-{number}", "1.0")
        index.grow(f"big_{number}-1.0-py3-none-any.whl", 3 * 1024 * 1024)
    node.start(size_limit="8Mi")
    await_state(publish(node, "pod-0", index, "big-0"), "Cached")
    await_state(publish(node, "pod-1", index, "big-1"), "Cached")
    # Both are in use.
    volume = publish(node, "pod-2", index, "big-2")
    found = eventually(lambda: read_state(volume) if "reason" in read_state(volume) else None)
    assert found["reason"] == "DiskFull"
    assert "raise nodeCache.sizeLimit" in found["message"]
    node.unpublish("pod-0")
    eventually(lambda: publish(node, "pod-2", index, "big-2") and read_state(volume).get("state") == "Cached")
    assert node.metric("forebay_node_cache_used_bytes") <= 8 * 1024 * 1024
    assert (node.target("pod-1") / "files/big_1.py").exists()
    assert len([*(node.root / "environments").iterdir()]) == 2
    # One that unpacks to more than there is room for is ended while it comes.
    index.add_wheel("bomb", "1.0")
    index.grow("bomb-1.0-py3-none-any.whl", 400 * 1024 * 1024)
    volume = publish(node, "bomb", index, "bomb")
    found = eventually(lambda: read_state(volume) if "reason" in read_state(volume) else None)
    assert found["reason"] == "DiskFull"
    eventually(lambda: not list((node.root / "downloads").iterdir()))
    # After a restart it is known.
    node.kill()
    node.start()
    assert await_state(publish(node, "more", index, "big-1"), "Cached")["hit"] is True


def test_a_pod_of_another_image_installs_by_itself(node: Node, index: PackageIndex, tmp_path: Path) -> None:
    index.add_wheel("front", "1.0")
    node.start()
    volume = publish(node, "pod", index, "front")
    await_state(volume, "Cached")
    assert bring(index, volume, tmp_path / "packages", "front")[-1]["event"] == "done"
    assert (tmp_path / "packages").is_symlink()
    # The agent's digest is of its own Python and libraries: asked for something else, as a pod of another Python.
    said = bring(index, volume, tmp_path / "packages", "front>=1")
    assert any("another image" in each.get("text", "") for each in said)
    assert said[-1]["packages"] == ["front==1.0"]
    assert not (tmp_path / "packages").is_symlink()
    # Started again, where the agent has the same by now.
    assert bring(index, volume, tmp_path / "packages", "front")[-1]["cached"] is False
    assert (tmp_path / "packages").is_symlink()


def test_a_volume_without_requirements_is_refused(node: Node) -> None:
    node.start()
    with pytest.raises(grpc.RpcError, match="kind: environment and requirements, one on each line"):
        node.publish("pod", "s3://models/x", {}, kind="environment")


def find_install(node: Node) -> tuple[int, int]:
    """The worker that installs, and uv."""
    assert node.process
    (worker,) = [pid for pid in walk_children(node.process.pid) if "forebay.node.installer" in read_command(pid)]
    (uv,) = eventually(lambda: walk_children(worker))
    return worker, uv


def are_gone(*pids: int) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)
