"""What a NodeCache shows."""

from dataclasses import replace
from pathlib import Path

from forebay.api.node_cache import NodeCacheStatus
from forebay.node.catalog import Model
from forebay.node.report import MOST_MODELS, Seen, build_status
from forebay.node.volumes import Asked, Volume
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.progress import Progress

DIGITS = Model("m1", "s3://models/digits/3", f"sha256:{'0' * 64}", 3 * 1024 * 1024, 1_700_000_000.0)
HERE = {"state": "Cached", "model": "m1", "bytes": 3, "hit": True}


def test_what_is_there_and_who_uses_it() -> None:
    status = build_status([DIGITS], [Seen(DIGITS.uri, HERE), Seen(DIGITS.uri, HERE)], used_bytes=5 * 1024**2)
    (model,) = status["models"]
    assert model == {
        "uri": "s3://models/digits/3",
        "state": "Cached",
        "digest": DIGITS.digest,
        "bytes": DIGITS.bytes,
        "pods": 2,
        "lastUsed": "2023-11-14T22:13:20Z",
    }
    assert status["used"] == "5.0 MiB"
    assert status["summary"] == "s3://models/digits/3: Cached"
    NodeCacheStatus.model_validate(status)


def test_one_address_is_told_once() -> None:
    """Two servers have it, or one has two names."""
    other = replace(DIGITS, name="m2", used_s=DIGITS.used_s - 60)
    volumes = [Seen(DIGITS.uri, HERE), Seen(DIGITS.uri, {**HERE, "model": "m2"})]
    (model,) = build_status([DIGITS, other], volumes, used_bytes=0)["models"]
    assert (model["pods"], model["lastUsed"]) == (2, "2023-11-14T22:13:20Z")
    changed = replace(other, digest=f"sha256:{'1' * 64}")
    assert len(build_status([DIGITS, changed], volumes, used_bytes=0)["models"]) == 2


def test_what_comes_and_what_fails_goes_first() -> None:
    signed = "https://host/m.tar.gz?X-Amz-Signature=secret"
    title = Asked("model", signed, "", "default", "pod", "/target").title
    coming = Seen(title, {"state": "Downloading", "bytes": 43, "total": 100})
    failed = Seen("s3://b/x", {"state": "Failed", "reason": "AccessDenied", "message": "no"})
    status = build_status([DIGITS], [coming, coming, failed, Seen("s3://b/y", {})], used_bytes=0)
    assert [(each["uri"], each["state"], each["pods"]) for each in status["models"]] == [
        ("s3://b/x", "Failed", 1),
        ("https://host/m.tar.gz", "Downloading", 2),
        ("s3://b/y", "Downloading", 1),
        (DIGITS.uri, "Cached", 0),
    ]
    assert status["models"][0]["message"] == "AccessDenied: no"
    # In steps, as each is a write.
    assert status["models"][1]["progressPct"] == 40
    assert (status["cached"], status["downloading"], status["failed"]) == (1, 2, 1)
    assert "secret" not in str(status)
    NodeCacheStatus.model_validate(status)


def test_what_is_tried_again_has_failed_until_something_comes(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.make(Asked("model", "s3://b/x", "", "default", "pod", "/target"))
    volume.tell_failure(StorageError(Reason.ACCESS_DENIED, "no"))
    volume.tell_progress(None)
    (model,) = build_status([], [Seen("s3://b/x", volume.read_state())], used_bytes=0)["models"]
    assert (model["state"], model["message"]) == ("Failed", "AccessDenied: no")
    volume.tell_progress(Progress(50, 100, 0, 1))
    (model,) = build_status([], [Seen("s3://b/x", volume.read_state())], used_bytes=0)["models"]
    assert (model["state"], model["progressPct"]) == ("Downloading", 50)


def test_it_is_bounded() -> None:
    models = [replace(DIGITS, uri=f"s3://models/{number}") for number in range(1000)]
    status = build_status(
        models, [Seen("s3://b/" + "x" * 3000, {"state": "Failed", "message": "y" * 9999})], used_bytes=0
    )
    assert len(status["models"]) == MOST_MODELS
    assert status["cached"] == 1000
    assert status["summary"].endswith(" more")
    NodeCacheStatus.model_validate(status)


def test_what_waits_for_others_says_so(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.make(Asked("model", "s3://b/x", "", "default", "pod", "/target"))
    volume.tell_progress(None)
    volume.tell_waiting()
    status = build_status([], [Seen("s3://b/x", volume.read_state())], used_bytes=0)
    assert status["summary"] == "s3://b/x: Downloading, waits for other downloads of this node"
    assert "progressPct" not in status["models"][0]
    both = [Seen("s3://b/x", volume.read_state()), Seen("s3://b/x", {"state": "Downloading"})]
    assert build_status([], both, used_bytes=0)["summary"] == status["summary"], "who waits for that one waits, too"
    NodeCacheStatus.model_validate(status)
    volume.tell_progress(None)
    status = build_status([], [Seen("s3://b/x", volume.read_state())], used_bytes=0)
    assert status["summary"] == "s3://b/x: Downloading 0 %"
    volume.tell_failure(StorageError(Reason.ACCESS_DENIED, "no"))
    volume.tell_waiting()
    (model,) = build_status([], [Seen("s3://b/x", volume.read_state())], used_bytes=0)["models"]
    assert (model["state"], model["message"]) == ("Failed", "AccessDenied: no")
