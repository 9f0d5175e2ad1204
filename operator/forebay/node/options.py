"""What the agent is told, as arguments."""

import argparse
import re
from pathlib import Path

from forebay.node.apiserver import ACCOUNT

_QUANTITY = re.compile(r"([1-9][0-9]{0,14})(?:\.([0-9]{1,3}))?([kMGTP]i?|Ki)?")
_POWERS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def parse_bytes(text: str) -> int:
    """A size as Kubernetes writes it: 100Gi, 1.5T. Raises ArgumentTypeError."""
    if (match := _QUANTITY.fullmatch(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 100Gi, say")
    unit = match[3] or ""
    base = 1024 if unit.endswith("i") else 1000
    return int(float(f"{match[1]}.{match[2] or 0}") * base ** _POWERS[unit[:1]])


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments, or their defaults."""
    parser = argparse.ArgumentParser(prog="forebay.node", description="The node's model cache: a CSI driver.")
    parser.add_argument("--node", required=True, help="the node's name")
    parser.add_argument("--root", type=Path, default=Path("/var/lib/forebay"), help="the cache's folder, on a disk")
    parser.add_argument("--kubelet", type=Path, default=Path("/var/lib/kubelet"), help="the kubelet's folder")
    parser.add_argument("--size-limit", default="100Gi", help="the most that the cache may hold")
    parser.add_argument("--downloads", type=int, default=4, help="models that are downloaded at once")
    parser.add_argument("--port", type=int, default=9090, help="of /metrics and /healthz")
    parser.add_argument("--worker-user", type=int, default=1000, help="as whom downloads run, where the agent is root")
    parser.add_argument("--apiserver", default="", help="where the NodeCache is written; empty: nowhere")
    parser.add_argument("--account", type=Path, default=ACCOUNT, help="the folder of the agent's token for it")
    parser.add_argument("--allow-loopback", action="store_true", help="let downloads lead to this machine: for tests")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    options = parser.parse_args(arguments)
    options.limit_bytes = parse_bytes(options.size_limit)
    return options
