"""What the agent tells of what nobody thought of."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.node import agent, reporter
from forebay.node.agent import Agent
from forebay.node.counts import Counts
from forebay.node.reporter import Reporter
from forebay.node.store import Store
from forebay.node.volumes import Asked, find_volume


def eventually(ask: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + 30
    while not (found := ask()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return found


def test_what_nobody_thought_of_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise KeyError("the-secret")

    monkeypatch.setattr(agent.mounts, "is_mounted", lambda _: True)
    store = Store(tmp_path / "cache", limit_bytes=1)
    store.open()
    asked = Asked("model", "s3://models/x", "", "default", "pod", "/target")
    Agent(store, {"model": fill}, Counts()).publish("csi-1", asked, {})
    volume = find_volume(store.volumes, "csi-1")
    state = eventually(lambda: volume.read_state() if volume.read_state().get("state") == "Failed" else None)
    assert state["reason"] == "ServerError"
    assert "(KeyError), and tries again: `kubectl logs`" in state["message"]
    assert "the-secret" not in state["message"]


def test_the_reporter_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "PAUSE_S", 0.01)
    asked, again = [], threading.Event()

    def describe() -> dict[str, Any]:
        asked.append(1)
        if len(asked) > 1:
            again.set()
        raise ValueError("Invalid IPv6 URL")

    made = Reporter(None, "node-1", {}, describe)  # type: ignore[arg-type]  (it gets no further)
    made.start()
    assert again.wait(30)
    made.stop()
