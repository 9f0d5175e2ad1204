"""`python -m forebay.serving.environments`: the init container, and the same process on a laptop."""

import argparse
import json
import signal
import sys
from pathlib import Path

from forebay.serving.environments import cached
from forebay.serving.environments.environment import Environment
from forebay.serving.environments.errors import InstallError
from forebay.serving.environments.install import Installed, install

TERMINATED = 128 + signal.SIGTERM


def main(arguments: list[str] | None = None) -> int:
    """Run the command: JSON lines on stdout, exit status 0 or 1."""
    parser = argparse.ArgumentParser(
        prog="forebay.serving.environments", description="Install the libraries of a script."
    )
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="where they go, inside a volume")
    parser.add_argument(
        "--requirement", required=True, action="append", metavar="TEXT", help="as pip has it; any number of them"
    )
    parser.add_argument("--index", default="", metavar="URL", help="the index, in place of pypi.org")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="wheels that other environments share")
    parser.add_argument("--cached-at", type=Path, metavar="DIR", help="where the node's cache brings them")
    parser.add_argument("--allow-loopback", action="store_true", help="the index may be this machine: not in a pod")
    options = parser.parse_args(arguments)
    # As process 1 of a container there is no default action; uv is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    environment = Environment(tuple(options.requirement), options.index)
    try:
        installed = _bring(environment, options)
    except InstallError as error:
        _say(event="error", reason=str(error.reason), message=error.message)
        return 1
    _say(event="done", path=str(installed.path), packages=installed.packages, cached=installed.cached)
    return 0


def _bring(environment: Environment, options: argparse.Namespace) -> Installed:
    if options.cached_at is not None:
        if found := cached.take(environment, options.cached_at, options.to, _report):
            return found
        _report("the node's agent has another image than this pod, for now: installed in the pod itself")
    return install(
        environment, options.to, on_progress=_report, cache=options.cache, allow_loopback=options.allow_loopback
    )


def _report(line: str) -> None:
    _say(event="progress", text=line)


def _say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
