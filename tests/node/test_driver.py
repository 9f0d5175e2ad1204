"""The node's agent over its real sockets, with real mounts, against a real S3 server."""

import errno
import io
import random
import signal
import tarfile
from pathlib import Path

import grpc
import pytest
import trustme

from forebay.node import mounts
from tests.e2e.bucket import LISTER, Bucket
from tests.node.site import Node, await_state, eventually, read_command, read_state, walk, walk_children
from tests.node.tap import Tap
from tests.unit.serving.storage.conftest import Web

MIB = 1024 * 1024


def content(seed: int, size: int = MIB) -> bytes:
    return random.Random(seed).randbytes(size)


def test_the_kubelet_is_told_who_is_there(node: Node) -> None:
    node.start()
    info = node.register("GetInfo")
    assert (info.type, info.name, list(info.supported_versions)) == ("CSIPlugin", "models.forebay.dev", ["1.0.0"])
    assert info.endpoint == str(node.socket)
    node.register("NotifyRegistrationStatus", plugin_registered=True)
    assert node.call("csi.v1.Identity.GetPluginInfo").name == "models.forebay.dev"
    assert node.call("csi.v1.Node.NodeGetInfo").node_id == "node-1"
    assert node.socket.stat().st_mode & 0o777 == 0o600


def test_ten_volumes_at_once_are_one_download(node: Node, bucket: Bucket, tap: Tap, secret: dict[str, str]) -> None:
    model = {"config.pbtxt": b'name: "ten"', "1/model.onnx": content(1, 20 * MIB)}
    for path, data in model.items():
        bucket.put(f"ten/{path}", data)
    node.start()
    volumes = [node.publish(f"pod-{number}", "s3://models/ten", secret) for number in range(10)]
    for volume in volumes:
        state = await_state(volume, "Cached")
        assert state["bytes"] == sum(map(len, model.values()))
        for path, data in model.items():
            assert (volume / "files" / path).read_bytes() == data
    # 20 MiB are three pieces; each came once. The smallest file shows, too, that each pod may read.
    assert tap.fetched("ten/1/model.onnx") == 3
    assert tap.fetched("ten/config.pbtxt") == 11
    # They are one file of the disk.
    files = {(volume / "files/1/model.onnx").stat().st_ino for volume in volumes}
    assert len(files) == 1
    assert node.metric('forebay_node_cache_volumes_total{result="miss"}') == 1
    assert node.metric('forebay_node_cache_volumes_total{result="hit"}') == 9
    assert node.metric("forebay_node_cache_downloaded_bytes_total") == sum(map(len, model.values()))


def test_what_a_pod_sees_it_can_not_write_to(node: Node, bucket: Bucket, secret: dict[str, str]) -> None:
    bucket.put("fixed/config.pbtxt", b'name: "fixed"')
    node.start()
    volume = node.publish("pod", "s3://models/fixed", secret)
    await_state(volume, "Cached")
    with pytest.raises(OSError, match="Read-only") as raised:
        (volume / "mine").write_text("no")
    assert raised.value.errno == errno.EROFS
    assert (volume / "files/config.pbtxt").stat().st_mode & 0o777 == 0o444


def test_a_volume_that_goes_leaves_the_files_for_the_next(
    node: Node, bucket: Bucket, tap: Tap, secret: dict[str, str]
) -> None:
    bucket.put("again/model.onnx", content(2))
    bucket.put("again/config.pbtxt", b"")
    bucket.put("again/small", b"x")
    node.start()
    await_state(node.publish("first", "s3://models/again", secret), "Cached")
    node.unpublish("first")
    node.unpublish("first")
    assert not node.target("first").exists()
    assert not list((node.root / "volumes").iterdir())
    assert await_state(node.publish("second", "s3://models/again", secret), "Cached")["hit"] is True
    assert tap.fetched("again/model.onnx") == 1


def test_versions_that_share_files_share_them_on_the_node(
    node: Node, bucket: Bucket, tap: Tap, secret: dict[str, str]
) -> None:
    weights = content(3, 3 * MIB)
    for version, config in (("1", b'name: "a"'), ("2", b'name: "b"')):
        bucket.put(f"shared/{version}/1/model.onnx", weights)
        bucket.put(f"shared/{version}/config.pbtxt", config)
    node.start()
    one = node.publish("one", "s3://models/shared/1", secret)
    await_state(one, "Cached")
    two = node.publish("two", "s3://models/shared/2", secret)
    await_state(two, "Cached")
    assert (tap.fetched("shared/1/1/model.onnx"), tap.fetched("shared/2/1/model.onnx")) == (1, 0)
    assert (two / "files/config.pbtxt").read_bytes() == b'name: "b"'
    assert (one / "files/1/model.onnx").samefile(two / "files/1/model.onnx")


def test_an_agent_that_is_killed_goes_on_where_it_was(
    node: Node, bucket: Bucket, tap: Tap, secret: dict[str, str]
) -> None:
    data = content(4, 32 * MIB)
    bucket.put("long/model.onnx", data)
    node.start()
    # Of four pieces two are there at least, and one can't be whole.
    tap.hold_after(30 * MIB)
    volume = node.publish("pod", "s3://models/long", secret)
    tap.await_hold()
    journal = next((node.root / "downloads").glob("*/model.partial/journal"))
    eventually(lambda: "piece" in journal.read_text())
    node.kill()
    tap.let_go()
    before = tap.bytes
    node.start()
    # The mount has outlived the agent, and so has the file that was begun.
    assert read_state(volume)["state"] == "Downloading"
    # As the kubelet does on its own, for `requiresRepublish`.
    node.publish("pod", "s3://models/long", secret)
    await_state(volume, "Cached")
    assert (volume / "files/model.onnx").read_bytes() == data
    assert not list((node.root / "downloads").iterdir())
    # What arrived whole didn't come again: of four pieces at least one had.
    assert tap.bytes - before < 30 * MIB


def test_what_an_agent_before_left_is_found(node: Node, bucket: Bucket, secret: dict[str, str]) -> None:
    bucket.put("left/model.onnx", content(5))
    node.start()
    stays = node.publish("stays", "s3://models/left", secret)
    await_state(stays, "Cached")
    await_state(node.publish("goes", "s3://models/left", secret), "Cached")
    node.kill(signal.SIGTERM)
    # The pod went while no agent was there, as after a restart of the node.
    mounts.unmount(node.target("goes"))
    node.start()
    assert [path.name for path in (node.root / "volumes").iterdir()] == ["csi-stays"]
    assert (stays / "files/model.onnx").read_bytes() == content(5)


def test_what_was_not_used_for_longest_makes_room(node: Node, bucket: Bucket, tap: Tap, secret: dict[str, str]) -> None:
    for number in range(4):
        bucket.put(f"lru/{number}/model.onnx", content(10 + number, 10 * MIB))
        bucket.put(f"lru/{number}/small", b"x")
    node.start(size_limit="35Mi")
    for number in range(3):
        await_state(node.publish(f"pod-{number}", f"s3://models/lru/{number}", secret), "Cached")
    # 0 is in use; of the others 1 went first, and came back for a while.
    for number in (2, 1):
        node.unpublish(f"pod-{number}")
    await_state(node.publish("pod-3", "s3://models/lru/3", secret), "Cached")
    assert node.metric("forebay_node_cache_used_bytes") <= 35 * MIB
    assert node.metric("forebay_node_cache_evicted_bytes_total") in (10 * MIB, 10 * MIB + 1)
    fetched = tap.fetched("lru/1/model.onnx")
    assert await_state(node.publish("pod-1", "s3://models/lru/1", secret), "Cached")["hit"] is True
    assert tap.fetched("lru/1/model.onnx") == fetched
    assert (node.target("pod-0") / "files/model.onnx").read_bytes() == content(10, 10 * MIB)


def test_a_cache_that_is_full_with_models_in_use_says_so(node: Node, bucket: Bucket, secret: dict[str, str]) -> None:
    for number in range(2):
        bucket.put(f"full/{number}/model.onnx", content(20 + number, 10 * MIB))
    node.start(size_limit="15Mi")
    await_state(node.publish("pod-0", "s3://models/full/0", secret), "Cached")
    state = await_state(node.publish("pod-1", "s3://models/full/1", secret), "Failed")
    assert state["reason"] == "DiskFull"
    assert "raise nodeCache.sizeLimit" in state["message"]
    node.unpublish("pod-0")
    node.unpublish("pod-1")
    await_state(node.publish("pod-2", "s3://models/full/1", secret), "Cached")


def test_what_is_there_is_for_those_alone_who_may_read_it(node: Node, bucket: Bucket, secret: dict[str, str]) -> None:
    bucket.put("mine/model.onnx", content(6))
    node.start()
    await_state(node.publish("owner", "s3://models/mine", secret), "Cached")
    wrong = {**secret, "AWS_SECRET_ACCESS_KEY": "not-the-readers"}
    volume = node.publish("other", "s3://models/mine", wrong)
    state = await_state(volume, "Failed")
    assert state["reason"] == "AccessDenied"
    assert not (volume / "files").exists()
    # The Secret is corrected: the kubelet publishes again, with what stands there now.
    eventually(
        lambda: node.publish("other", "s3://models/mine", secret) and read_state(volume).get("state") == "Cached"
    )


def test_who_may_list_but_not_read_is_shown_nothing(node: Node, bucket: Bucket, secret: dict[str, str]) -> None:
    bucket.put("listed/model.onnx", content(6))
    bucket.put("listed/empty", b"")
    node.start()
    await_state(node.publish("owner", "s3://models/listed", secret), "Cached")
    lister = {**secret, "AWS_ACCESS_KEY_ID": LISTER[0], "AWS_SECRET_ACCESS_KEY": LISTER[1]}
    volume = node.publish("other", "s3://models/listed", lister)
    state = await_state(volume, "Failed")
    assert state["reason"] == "AccessDenied"
    assert "s3:GetObject" in state["message"]
    assert not (volume / "files").exists()


def test_an_archive_is_kept_as_its_files(
    node: Node, web: Web, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the worker may read it.
    authority.cert_pem.write_to_path(node.kubelet.parent / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(node.kubelet.parent / "ca.pem"))
    (tmp_path / "1").mkdir()
    (tmp_path / "1/model.onnx").write_bytes(content(30))
    (tmp_path / "1/link").symlink_to("model.onnx")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(tmp_path / "1", "1")
    uri = web.serve("/m.tar", packed.getvalue(), etag='"one"')
    node.start()
    for name in ("one", "two"):
        volume = node.publish(name, uri, {})
        state = await_state(volume, "Cached")
        assert (volume / "files/1/link").read_bytes() == content(30)
    assert state["hit"] is True
    # Without the archive itself.
    assert node.metric("forebay_node_cache_used_bytes") == MIB


@pytest.mark.parametrize("uri", ["file:/etc", "pvc://claim/model", "nfs://server/model", "http://127.0.0.1/x", "/etc"])
def test_nothing_of_the_node_is_a_model(node: Node, uri: str) -> None:
    node.start()
    state = await_state(node.publish("pod", uri, {}), "Failed")
    assert state["reason"] == "UnsupportedURI"


def test_a_volume_of_no_pod_is_refused(node: Node) -> None:
    node.start()
    for fields, part in (
        ({"target_path": "/etc", "volume_id": "csi-a"}, "no volume of a pod"),
        ({"target_path": f"{node.kubelet}/pods/../../x", "volume_id": "csi-a"}, "no volume of a pod"),
        ({"target_path": str(node.target("a")), "volume_id": "../a"}, "can't be a volume's name"),
    ):
        about = {"csi.storage.k8s.io/ephemeral": "true", "uri": "s3://models/x"}
        with pytest.raises(grpc.RpcError) as raised:
            node.call("csi.v1.Node.NodePublishVolume", volume_context=about, **fields)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert part in raised.value.details()
    with pytest.raises(grpc.RpcError, match="ephemeral volumes alone"):
        node.call("csi.v1.Node.NodePublishVolume", volume_id="a", target_path=str(node.target("a")))


def test_downloads_are_not_roots(node: Node, bucket: Bucket, tap: Tap, secret: dict[str, str]) -> None:
    bucket.put("nobody/model.onnx", content(7, 12 * MIB))
    node.start()
    tap.hold_after(9 * MIB)
    volume = node.publish("pod", "s3://models/nobody", secret)
    tap.await_hold()
    assert node.process
    children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text()
    workers = [pid for pid in walk_children(node.process.pid) if "forebay.node.worker" in read_command(pid)]
    assert workers, children
    status = Path(f"/proc/{workers[0]}/status").read_text()
    assert "Uid:\t1000\t1000\t1000\t1000" in status
    assert "CapEff:\t0000000000000000" in status
    # And their environment has what was let through alone.
    environment = Path(f"/proc/{workers[0]}/environ").read_text()
    assert "AWS_SECRET_ACCESS_KEY" in environment
    tap.let_go()
    await_state(volume, "Cached")
    assert {path.stat().st_uid for path in walk(volume / "files")} == {0}


def test_a_secret_gives_no_say_over_the_agent(node: Node, bucket: Bucket, tap: Tap, secret: dict[str, str]) -> None:
    bucket.put("env/model.onnx", content(8, 12 * MIB))
    node.start()
    marker = node.root / "marker"
    hostile = {
        "AWS_CONFIG_FILE": "/tmp/config",
        "LD_PRELOAD": "/tmp/evil.so",
        "PYTHONSTARTUP": str(marker),
        "AWS_PROFILE": "x",
    }
    tap.hold_after(9 * MIB)
    volume = node.publish("pod", "s3://models/env", {**secret, **hostile})
    tap.await_hold()
    assert node.process
    for pid in walk_children(node.process.pid):
        environment = Path(f"/proc/{pid}/environ").read_text()
        assert not any(f"{name}=" in environment for name in hostile)
    tap.let_go()
    await_state(volume, "Cached")
