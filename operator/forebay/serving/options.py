"""What a serving process is told: by flags, or by environment variables of the same names."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from forebay.serving.source import Role

_PARAMETER_PREFIX = "FOREBAY_PARAMETER_"


@dataclass(frozen=True)
class Options:
    """Flags of `python -m forebay.serving`; each may be given as FOREBAY_<FLAG> in the environment instead."""

    script: Path
    name: str
    role: Role
    host: str
    http_port: int
    grpc_port: int
    concurrency: int
    model_dir: Path | None
    environment: Path | None
    predictor: str | None
    predictor_model: str | None
    shutdown_timeout_s: float
    max_request_bytes: int
    parameters: Mapping[str, str]


def parse_options(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Read the flags; one that makes no sense ends the process with status 2 and a message, as argparse does."""
    parser = _build_parser(environment)
    values = vars(parser.parse_args(arguments))
    if values["role"] == "transformer" and not values["predictor"]:
        parser.error("a transformer needs --predictor HOST:PORT, the gRPC address of its predictor")
    values["max_request_bytes"] = values.pop("max_request_mib") * 2**20
    values["shutdown_timeout_s"] = values.pop("shutdown_timeout")
    values["parameters"] = {
        name.removeprefix(_PARAMETER_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(_PARAMETER_PREFIX)
    }
    return Options(**{field.name: values[field.name] for field in fields(Options)})


def _build_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m forebay.serving", description="Serve a script's class.")

    def add(flag: str, text: str, default: object = None, **more: object) -> None:
        variable = f"FOREBAY_{flag.removeprefix('--').replace('-', '_').upper()}"
        given = environment.get(variable) or default
        more |= {"default": given} if given is not None else {}
        parser.add_argument(flag, help=f"{text} [{variable}]", **more)  # type: ignore[arg-type]

    required = {flag: not environment.get(f"FOREBAY_{flag.upper()}") for flag in ("script", "name", "role")}
    add("--script", "the .py file with the class", type=Path, required=required["script"])
    add("--name", "name of the served model", required=required["name"])
    add("--role", "what the class is", choices=["predictor", "transformer"], required=required["role"])
    add("--host", "address to listen on", "127.0.0.1")
    add("--http-port", "port for REST", "8080", type=_port)
    add("--grpc-port", "port for gRPC", "8081", type=_port)
    add("--concurrency", "threads, for methods that are not async", "8", type=_positive)
    add("--model-dir", "folder of the model's files, for load(self, context)", type=Path)
    add("--environment", "folder with the libraries that the script needs", type=Path)
    add("--predictor", "HOST:PORT of the predictor's gRPC, for a transformer")
    add("--predictor-model", "the predictor's name for the model, where it is not --name")
    add("--shutdown-timeout", "seconds for accepted requests to end after SIGTERM", "30", type=float)
    add("--max-request-mib", "biggest body that is taken", "512", type=_positive)
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} must be a port from 1 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 2**15:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 1 to 32767")
    return int(text)
