"""Files that a running Envoy watches: never seen half, in the form that it reads."""

import json
import os
import threading
from pathlib import Path

from forebay.local.endpoints import Endpoints
from forebay.local.paths import cache_dir, file_name, state_dir
from forebay.local.runtime import RuntimeFiles
from forebay.plan.envoy import Address


def addresses(path: Path) -> list[int]:
    (assignment,) = json.loads(path.read_text())["resources"]
    assert assignment["cluster_name"] == "default/m"
    lists = assignment["endpoints"][0]["lb_endpoints"]
    return [each["endpoint"]["address"]["socket_address"]["port_value"] for each in lists]


def test_endpoints_are_replaced_and_have_a_new_version_each_time(tmp_path):
    path = tmp_path / "new/predictor.gateway.json"
    endpoints = Endpoints(path, cluster="default/m")
    assert endpoints.members.path == str(path)
    assert addresses(path) == []
    versions = {json.loads(path.read_text())["version_info"]}
    for ports in ([1], [1, 2], []):
        endpoints.write(Address("127.0.0.1", port) for port in ports)
        assert addresses(path) == ports
        versions.add(json.loads(path.read_text())["version_info"])
    assert len(versions) == 4
    assert [each.name for each in path.parent.iterdir()] == [path.name], "no draft is left"


def test_two_files_beside_each_other_have_drafts_of_their_own(tmp_path):
    one = Endpoints(tmp_path / "predictor.gateway.json", cluster="default/m")
    other = Endpoints(tmp_path / "predictor.egress.json", cluster="default/m")
    one.write([Address("127.0.0.1", 1)])
    other.write([Address("127.0.0.1", 2)])
    assert addresses(tmp_path / "predictor.gateway.json") == [1]
    assert addresses(tmp_path / "predictor.egress.json") == [2]


def test_a_reader_never_sees_half_of_the_endpoints(tmp_path):
    path = tmp_path / "m.json"
    endpoints = Endpoints(path, cluster="default/m")
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(len(addresses(path)))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        endpoints.write(Address("127.0.0.1", port) for port in range(1 + 199 * (number % 2)))
    stop.set()
    reader.join()
    assert reader.ident
    assert seen <= {0, 1, 200}
    assert seen & {1, 200}


def test_numbers_have_the_form_of_a_configmap_mount(tmp_path):
    files = RuntimeFiles(tmp_path / "runtime")
    files.write({"a.b": "1", "c": "2"})
    data = files.folder / "..data"
    assert data.is_symlink()
    assert {each.name: each.read_text() for each in data.iterdir()} == {"a.b": "1", "c": "2"}


def test_numbers_change_together(tmp_path):
    files = RuntimeFiles(tmp_path / "runtime")
    files.write({"a": "0", "b": "0"})
    data, stop, seen = files.folder / "..data", threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:  # what it pointed to is gone, but the link must always be there
                if not data.is_symlink():
                    seen.append(("gone", ""))
                    return
                continue
            try:
                pair = []
                for name in ("a", "b"):
                    with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder)) as file:
                        pair.append(file.read())
                seen.append(tuple(pair))
            except FileNotFoundError:  # the folder that was opened is gone: its successor is in place
                pass
            finally:
                os.close(folder)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 200):
        files.write({"a": str(number), "b": str(number)})
    stop.set()
    reader.join()
    assert seen
    assert all(a == b for a, b in seen)
    kept = {int(each.name) for each in files.folder.iterdir() if not each.name.startswith("..")}
    assert kept == {int(data.readlink().name), int(data.readlink().name) - 1}, "what is in force, and the last"


def test_what_a_former_run_left_goes(tmp_path):
    RuntimeFiles(tmp_path / "runtime").write({"old": "1"})
    files = RuntimeFiles(tmp_path / "runtime")
    files.write({"new": "1"})
    assert [each.name for each in (files.folder / "..data").iterdir()] == ["new"]


def test_names_and_folders(monkeypatch, tmp_path):
    assert file_name("default/digits") == "default.digits"
    assert file_name("../../etc") == "etc"
    assert file_name("..") == "_"
    for name in ("FOREBAY_CACHE", "FOREBAY_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (cache_dir(), state_dir()) == (tmp_path / ".cache/forebay", tmp_path / ".local/state/forebay")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert (cache_dir(), state_dir()) == (Path("/c/forebay"), Path("/s/forebay"))
    monkeypatch.setenv("FOREBAY_CACHE", "/fc")
    monkeypatch.setenv("FOREBAY_STATE", "/fs")
    assert (cache_dir(), state_dir()) == (Path("/fc"), Path("/fs"))
