"""Keeping real processes running, and ending them."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay.local.process import Command, Process, describe_exit, read_tail

IGNORES_SIGTERM = "trap '' TERM; echo up; while true; do sleep 0.05; done"
WITH_A_CHILD = "sleep 600 & echo $! > {pid}; echo up; wait"


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(folder: Path, script: str, exits: list[int] | None = None, **env: str):
    command = Command(name="it", argv=("bash", "-c", script), log=folder / "logs/it.log", env=env)
    process = Process(command, on_exit=(exits if exits is not None else []).append)
    process.start()
    try:
        yield process
    finally:
        await process.stop(grace_s=0)


def is_up(process: Process) -> Callable[[], bool]:
    return lambda: "up" in read_tail(process.command.log)


async def test_output_and_environment_go_to_the_log(tmp_path):
    async with running(tmp_path, "echo $ONE; echo up >&2; sleep 600", ONE="1st") as process:
        await until(is_up(process))
        assert process.command.log.read_text() == "1st\nup\n"


async def test_a_crash_is_followed_by_restarts_each_later_than_the_last(tmp_path):
    exits: list[int] = []
    async with running(tmp_path, "date +%s.%N; exit 7", exits) as process:
        await until(lambda: len(exits) >= 4)
        log = process.command.log.read_text().splitlines()
    times = [float(line) for line in log if not line.startswith("[forebay]")][:4]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert exits[:3] == [7, 7, 7]
    assert pauses[0] > 0.2
    assert pauses[1] > 0.4
    assert pauses[2] > 0.8
    assert "[forebay] it exited with status 7; starting again in 0.2 s" in log


async def test_a_signal_is_told_as_one(tmp_path):
    exits: list[int] = []
    async with running(tmp_path, "kill -SEGV $$", exits) as process:
        await until(lambda: exits)
        await until(lambda: "signal SIGSEGV" in process.command.log.read_text())
    assert [describe_exit(status) for status in exits[:1]] == ["signal SIGSEGV"]


async def test_sigterm_lets_it_finish_and_nothing_comes_after(tmp_path):
    exits: list[int] = []
    async with running(tmp_path, "trap 'echo bye; exit 0' TERM; echo up; sleep 600 & wait", exits) as process:
        await until(is_up(process))
        pid = process.pid
        await process.stop(grace_s=10)
        assert process.command.log.read_text() == "up\nbye\n"
        assert process.pid is None
        assert not is_running(pid)
        await asyncio.sleep(0.3)
        assert (exits, process.restarts) == ([], 0)


async def test_who_ignores_sigterm_is_killed(tmp_path):
    async with running(tmp_path, IGNORES_SIGTERM) as process:
        await until(is_up(process))
        pid, started = process.pid, time.monotonic()
        await process.stop(grace_s=0.5)
        assert time.monotonic() - started >= 0.5, "it had its grace"
        assert not is_running(pid)


@pytest.mark.parametrize("how", ["stop", "kill", "crash"])
async def test_its_children_end_with_it(tmp_path, how):
    file = tmp_path / "pid"
    async with running(tmp_path, WITH_A_CHILD.format(pid=file)) as process:
        await until(is_up(process))
        child = int(file.read_text())
        if how == "stop":
            await process.stop(grace_s=10)
        elif how == "kill":
            process.kill()
        else:
            os.kill(process.pid, signal.SIGKILL)
        await until(lambda: not is_running(child))


@pytest.mark.parametrize("how", ["stop", "kill", "crash"])
async def test_the_shared_memory_of_who_is_killed_is_freed(tmp_path, how):
    mine = f"/dev/shm/forebay-test-{os.getpid()}-1"
    script = f"touch {mine}-x {mine}0-x; {IGNORES_SIGTERM}"
    command = Command(name="it", argv=("bash", "-c", script), log=tmp_path / "log", shared_memory=f"{Path(mine).name}-")
    process = Process(command, on_exit=lambda _: None)
    process.start()
    try:
        await until(is_up(process))
        assert os.path.exists(f"{mine}-x")  # noqa: ASYNC240, PTH110
        if how == "stop":
            await process.stop(grace_s=0)
        elif how == "kill":
            process.kill()
        else:
            os.kill(process.pid, signal.SIGKILL)
        await until(lambda: not os.path.exists(f"{mine}-x"))  # noqa: PTH110
        assert os.path.exists(f"{mine}0-x"), "another's"  # noqa: ASYNC240, PTH110
    finally:
        await process.stop(grace_s=0)
        os.unlink(f"{mine}0-x")  # noqa: PTH108


async def test_it_is_started_again_though_its_exit_cannot_be_told(tmp_path):
    def on_exit(_: int) -> None:
        raise OSError("no space left on device")

    process = Process(Command(name="it", argv=("false",), log=tmp_path / "log"), on_exit=on_exit)
    process.start()
    await until(lambda: process.restarts)
    await process.stop(grace_s=0)


async def test_stopped_between_two_tries(tmp_path):
    async with running(tmp_path, "exit 1") as process:
        await until(lambda: process.restarts == 1 and process.pid is None)
        async with asyncio.timeout(60):
            await process.stop(grace_s=600)


async def test_a_program_that_is_not_there(tmp_path):
    exits: list[int] = []
    command = Command(name="it", argv=(str(tmp_path / "nothing"),), log=tmp_path / "log")
    process = Process(command, on_exit=exits.append)
    process.start()
    await until(lambda: exits)
    await process.stop(grace_s=0)
    assert f"{tmp_path}/nothing can't be run: No such file or directory" in command.log.read_text()


def test_it_ends_when_its_parent_is_killed(tmp_path, until):
    program = f"""
import asyncio
from pathlib import Path
from forebay.local.process import Command, Process
async def main():
    log = Path({str(tmp_path / "log")!r})
    process = Process(Command(name="it", argv=("sleep", "600"), log=log), on_exit=print)
    process.start()
    while process.pid is None:
        await asyncio.sleep(0.01)
    print(process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        until(lambda: "sleep" in Path(f"/proc/{pid}/comm").read_text())
        parent.kill()
    until(lambda: not is_running(pid))


def test_the_tail_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert read_tail(log) == ""
    log.write_bytes(b"\xff\xe9" + b"a" * 100 + "ü".encode())
    assert read_tail(log).endswith("aü")
    assert read_tail(log, max_bytes=4) == "aaü"
