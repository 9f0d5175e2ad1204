"""`forebay check SCRIPT`: is this serving script right? Read first, then run for real, each step said in a line."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
from rich.console import Console
from rich.markup import escape

from forebay.local.trial import FakePredictor, Server, Trial, TrialError, describe_tensors, run_server
from forebay.serving.errors import BadRequest
from forebay.serving.source import (
    Role,
    ScriptError,
    check_signatures,
    describe_missing,
    find_class,
    find_missing,
    guess_role,
    parse_source,
)
from forebay.serving.v2 import decode_request

_HOW_TO_GIVE = (
    "no request was sent: declare `inputs`, or give the class an `example`: a dict of arrays, a JSON value, "
    "or the name of a file beside the script"
)
_ANSWER_CHARACTERS = 300


class _Failed(Exception):  # noqa: N818 - a step's outcome
    """A step failed; the message is shown under it."""


def check_script(
    script: Path,
    *,
    console: Console,
    role: Role | None = None,
    model_dir: Path | None = None,
    timeout_s: float = 120.0,
) -> bool:
    """Check a serving script and say what is wrong with it; True where all is well.

    The role follows from the class's methods where it is not given. `timeout_s` bounds the load, and each request.
    """
    report = _Report(console)
    try:
        source = report.step("parses", lambda: _parse(script))
        chosen = role or guess_role(source)
        report.step("its libraries are installed", lambda: _check_libraries(source))
        node = report.step(f"has one {chosen} class", lambda: find_class(source, chosen), lambda found: found.name)
        report.step("signatures are right", lambda: _check_signatures(source, node))
        with tempfile.TemporaryDirectory(prefix="forebay-check-") as folder:
            trial = Trial(script=script, role=chosen, folder=Path(folder), model_dir=model_dir, timeout_s=timeout_s)
            example = report.step("runs, and declares well", lambda: _read_example(trial), _name_example)
            _try(report, trial, example)
    except _Failed:
        return False
    return True


class _Report:
    """Prints each step, and stops at the first that fails."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, title: str, run: Callable[[], Any], note: Callable[[Any], str] = lambda _: "") -> Any:
        """Run a step and print a line for it."""
        try:
            with self._console.status(title):  # a load may take minutes
                result = run()
        except (ScriptError, TrialError, _Failed) as error:
            self._console.print(f"[red]✗[/red] {title}", highlight=False)
            self._console.print(escape(str(error)), highlight=False, soft_wrap=True)
            raise _Failed from error
        text = note(result)
        self._console.print(
            f"[green]✓[/green] {title}{': ' + escape(text) if text else ''}", highlight=False, soft_wrap=True
        )
        return result

    def say(self, text: str) -> None:
        """A line beside the steps."""
        self._console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)


def _parse(script: Path) -> Any:
    if script.suffix in (".yaml", ".yml"):
        raise _Failed(f"{script} is no script: for a manifest there is `forebay validate {script}`")
    return parse_source(script)


def _check_libraries(source: Any) -> None:
    if missing := find_missing(source):
        raise _Failed(describe_missing(missing))


def _check_signatures(source: Any, node: Any) -> None:
    if wrong := check_signatures(source, node):
        raise _Failed("\n".join(wrong))


def _read_example(trial: Trial) -> dict[str, Any]:
    command = [sys.executable, "-m", "forebay.serving.example", str(trial.script), trial.role]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=trial.timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise _Failed(f"importing the script did not end in {trial.timeout_s:g} s") from error
    if done.returncode:
        raise _Failed(done.stderr.strip() or f"importing the script ended the process with status {done.returncode}")
    example: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # the script may print too
    return example


def _name_example(example: dict[str, Any]) -> str:
    if example["kind"] == "tensors":
        return "zeros of the declared shapes are the example" if example["made"] else "tensors are the example"
    names = {"file": f"{example.get('path')} is the example", "json": "JSON is the example", "none": "no example"}
    return names[example["kind"]]


def _try(report: _Report, trial: Trial, example: dict[str, Any]) -> None:
    predictor = FakePredictor()
    with predictor.listening() as address:
        server_context = run_server(replace(trial, script=trial.script.resolve()), address)
        server: Server = report.step(
            "starts and loads", server_context.__enter__, lambda started: f"{started.load_s:.1f} s"
        )
        try:
            if example["kind"] == "none":
                report.say(_HOW_TO_GIVE)
            elif trial.role == "transformer":
                report.step("preprocess answers", lambda: _send_to_transformer(server, example, predictor), str)
            else:
                report.step("answers over REST", lambda: _send(server, example), str)
                if example["kind"] == "tensors":
                    report.step("answers over gRPC", lambda: _send_grpc(server, example), str)
            if (peak := server.peak_memory_mib()) is not None:
                report.say(f"peak memory {peak} MiB")
        finally:
            server_context.__exit__(None, None, None)


def _send(server: Server, example: dict[str, Any]) -> str:
    started = time.perf_counter()
    try:
        answer = server.send(example)
    except httpx.HTTPError as error:
        raise _Failed(f"no answer: {error!r}\n{server.log_tail()}") from error
    took = f"{(time.perf_counter() - started) * 1000:.0f} ms"
    if answer.status_code >= 500:
        raise _Failed(f"{answer.status_code} {answer.text}\n{server.log_tail()}")
    if answer.status_code != 200:
        raise _Failed(f"{answer.status_code} {answer.text}")
    if example["kind"] == "tensors":
        with contextlib.suppress(BadRequest):  # NaN came as null: the answer is shown as it is
            outputs = decode_request(json.dumps({"inputs": answer.json()["outputs"]}).encode()).inputs
            return f"{describe_tensors(outputs)} ({took})"
    text = answer.text
    return f"{text[:_ANSWER_CHARACTERS]}{' ...' if len(text) > _ANSWER_CHARACTERS else ''} ({took})"


def _send_grpc(server: Server, example: dict[str, Any]) -> str:
    started = time.perf_counter()
    try:
        outputs = server.send_grpc(example)
    except grpc.RpcError as error:
        raise _Failed(f"{error.code().name}: {error.details()}\n{server.log_tail()}") from error
    return f"{describe_tensors(outputs)} ({(time.perf_counter() - started) * 1000:.0f} ms)"


def _send_to_transformer(server: Server, example: dict[str, Any], predictor: FakePredictor) -> str:
    try:
        return _send(server, example)
    except _Failed:
        if not predictor.received:
            raise
    return f"it would send {describe_tensors(predictor.received)}"
