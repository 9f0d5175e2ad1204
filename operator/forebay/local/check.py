"""`forebay check SCRIPT`: is this serving script right? Read first, then run for real, each step said in a line."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
from rich.console import Console

from forebay.api import Resources
from forebay.local.advice import Written
from forebay.local.check_report import CheckFailed, Report
from forebay.local.libraries import describe_unlisted, find_unlisted
from forebay.local.measuring import Measurement, measure
from forebay.local.proposing import report_measurement
from forebay.local.trial import FakePredictor, Server, Trial, TrialError, describe_tensors, run_server
from forebay.serving.errors import BadRequest
from forebay.serving.source import (
    Role,
    Source,
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
    report = Report(console)
    try:
        source = report.step("parses", lambda: parse_source(script))
        chosen = role or guess_role(source)
        given = Written(memory=Resources().memory, cpu=Resources().cpu, concurrency=Trial.concurrency)
        with tempfile.TemporaryDirectory(prefix="forebay-check-") as folder:
            trial = Trial(script=script, role=chosen, folder=Path(folder), model_dir=model_dir, timeout_s=timeout_s)
            try_script(report, trial, source, given)
    except CheckFailed:
        return False
    return True


def try_script(report: Report, trial: Trial, source: Source, written: Written) -> None:
    """All steps for a script, from its libraries to what it takes. Raises CheckFailed at the first that fails."""
    report.step("its libraries are installed", lambda: _check_libraries(source, trial.environment))
    if unlisted := find_unlisted(source, trial.environment):
        report.warn(describe_unlisted(unlisted))
    node = report.step(f"has one {trial.role} class", lambda: find_class(source, trial.role), lambda found: found.name)
    report.step("signatures are right", lambda: _check_signatures(source, node))
    example = report.step("runs, and declares well", lambda: _read_example(trial), _name_example)
    measured = _try(report, trial, example)
    report_measurement(report, trial.role, measured, written)


def _check_libraries(source: Any, environment: Path | None) -> None:
    if missing := find_missing(source, environment):
        raise CheckFailed(describe_missing(missing))


def _check_signatures(source: Any, node: Any) -> None:
    if wrong := check_signatures(source, node):
        raise CheckFailed("\n".join(wrong))


def _read_example(trial: Trial) -> dict[str, Any]:
    command = [sys.executable, "-m", "forebay.serving.example", str(trial.script), trial.role]
    command += [str(trial.environment)] if trial.environment else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=trial.timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"importing the script did not end in {trial.timeout_s:g} s") from error
    if done.returncode:
        raise CheckFailed(
            done.stderr.strip() or f"importing the script ended the process with status {done.returncode}"
        )
    example: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # the script may print too
    return example


def _name_example(example: dict[str, Any]) -> str:
    if example["kind"] == "tensors":
        return "zeros of the declared shapes are the example" if example["made"] else "tensors are the example"
    names = {"file": f"{example.get('path')} is the example", "json": "JSON is the example", "none": "no example"}
    return names[example["kind"]]


def _try(report: Report, trial: Trial, example: dict[str, Any]) -> Measurement:
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
            with report.console.status("measuring"):
                return _measure(server, trial, example)
        finally:
            server_context.__exit__(None, None, None)


def _measure(server: Server, trial: Trial, example: dict[str, Any]) -> Measurement:
    with server.connect() as client:
        send = None if example["kind"] == "none" else lambda: client.send(server.build_request(example))
        try:
            return measure(server.process.pid, start_s=server.load_s, concurrency=trial.concurrency, send=send)
        except httpx.HTTPError as error:
            raise TrialError(f"with several requests at once: {error!r}\n{server.log_tail()}") from error


def _send(server: Server, example: dict[str, Any]) -> str:
    started = time.perf_counter()
    try:
        answer = server.send(example)
    except httpx.HTTPError as error:
        raise CheckFailed(f"no answer: {error!r}\n{server.log_tail()}") from error
    took = f"{(time.perf_counter() - started) * 1000:.0f} ms"
    if answer.status_code >= 500:
        raise CheckFailed(f"{answer.status_code} {answer.text}\n{server.log_tail()}")
    if answer.status_code != 200:
        raise CheckFailed(f"{answer.status_code} {answer.text}")
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
        raise CheckFailed(f"{error.code().name}: {error.details()}\n{server.log_tail()}") from error
    return f"{describe_tensors(outputs)} ({(time.perf_counter() - started) * 1000:.0f} ms)"


def _send_to_transformer(server: Server, example: dict[str, Any], predictor: FakePredictor) -> str:
    try:
        return _send(server, example)
    except CheckFailed:
        if not predictor.received:
            raise
    return f"it would send {describe_tensors(predictor.received)}"
