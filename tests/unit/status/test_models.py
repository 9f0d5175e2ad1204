"""How far instances are with their model."""

from datetime import timedelta

import pytest

from forebay.serving.storage.progress import Progress
from forebay.status import describe_model, needs_watch, parse_progress
from forebay.status.lines import clean, cut, find_last, hide_values, list_words
from tests.unit.status.scene import NOW, Scene, capture

CASES = [
    (["healthy", "healthy"], {}, "Ready", None),
    (["healthy", "startup"], {}, "Loading", None),
    (["startup", "download-runs"], {}, "Downloading", None),
    (["download-runs", "startup"], {"download-runs": 7}, "Downloading", 7),
    (["download-runs", "gpu"], {}, "Pending", None),
    (["gpu", "crash"], {}, "Failed", None),
    (["secret-missing", "healthy"], {}, "Pending", None),
    (["healthy"], {}, "Pending", None),
    ([], {}, "Pending", None),
    (["healthy", "healthy", "evicted later"], {}, "Ready", None),
]


@pytest.mark.parametrize(("kinds", "percent", "state", "progress"), CASES)
def test_the_instance_furthest_behind(
    kinds: list[str], percent: dict[str, int], state: str, progress: int | None
) -> None:
    model = describe_model([capture(kind) for kind in kinds], wanted=2, downloaded_pct=percent, logs={})
    assert (model.state, model.progress_pct) == (state, progress)


@pytest.mark.parametrize("name", ["script", "environment"])
def test_a_script_is_being_brought(name: str) -> None:
    pod = capture("download-runs")
    pod["spec"]["initContainers"][0]["name"] = pod["status"]["initContainerStatuses"][0]["name"] = name
    model = describe_model([pod], wanted=1, downloaded_pct={}, logs={})
    assert (model.state, model.progress_pct) == ("Installing", None)
    assert needs_watch([pod]) == []


def test_of_two_downloads_the_slower_is_told() -> None:
    scene = Scene()
    names = [scene.add_pod("download-runs")["metadata"]["name"] for _ in range(2)]
    percent = dict(zip(names, (80, 20), strict=True))
    assert describe_model(scene.pods, wanted=2, downloaded_pct=percent, logs={}).progress_pct == 20


def test_whose_download_is_watched() -> None:
    pods = [capture(kind) for kind in ("startup", "download-runs", "download-fails", "gpu", "healthy")]
    assert needs_watch(pods) == ["download-runs"]
    pods[1]["metadata"]["deletionTimestamp"] = (NOW + timedelta(hours=1)).isoformat()
    assert needs_watch(pods) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"event": "progress", "bytes": 40, "total": 100, "files": 0, "files_total": 1}', 40),
        ('{"event": "progress", "bytes": 0, "total": 0, "files": 0, "files_total": 0}', None),
        ('{"event": "progress", "bytes": 40, "total": null, "files": 0, "files_total": 1}', None),
        ('{"event": "progress", "bytes": 400, "total": 100, "files": 0, "files_total": 1}', 100),
        ('{"event": "done", "path": "/x", "bytes": 1, "cached": false}', 100),
        ('{"event": "error", "reason": "NotFound", "message": "no"}', None),
        ('{"event": "progress", "bytes": 4', None),
        ("[1]", None),
        ('"progress"', None),
        ("", None),
    ],
)
def test_progress_of_a_download(line: str, expected: int | None) -> None:
    assert parse_progress(line) == expected


def test_progress_is_what_the_download_says(capsys: pytest.CaptureFixture[str]) -> None:
    from forebay.serving.storage.__main__ import _report  # noqa: PLC0415  (what it prints is the contract)

    _report(Progress(bytes_done=30, bytes_total=90, files_done=1, files_total=3))
    assert parse_progress(capsys.readouterr().out) == 33


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('E1121 14:08:08.524025 2233 server.cc:241] "no CUDA"', '"no CUDA"'),
        ("[2026-11-21 16:43:25.123][1][critical][main] [source/server/server.cc:123] bad config", "bad config"),
        ("2026-11-21 16:43:25,123 ERROR x: no", "ERROR x: no"),
        ("2026-11-21T16:43:25.123456Z no", "no"),
        ("\x1b[31mred\x1b[0m\tand\x00 so on", "red and so on"),
        ("<object at 0x7f12ab34cd56>", "<object at 0x…>"),
        ("GET s3://key:secret@bucket/x?X-Amz-Signature=1 failed", "GET s3://bucket/x?… failed"),
        ("nothing to hide: a@b", "nothing to hide: a@b"),
    ],
)
def test_lines_are_cleaned(line: str, expected: str) -> None:
    assert clean(line) == expected


def test_lines_are_chosen_and_cut() -> None:
    assert find_last("one\ntwo\n\n  \n") == "two"
    assert find_last("") == ""
    assert cut("x" * 400) == "x" * 299 + "…"
    assert cut("short") == "short"
    assert [list_words("abc"[:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_values_are_hidden_the_longest_first() -> None:
    values = {"A": "secret", "B": "secret-and-more", "C": "ab", "D": "first line\nlast line"}
    told = hide_values("secret-and-more secret ab last line", values)
    assert told == "$B $A ab $D"
