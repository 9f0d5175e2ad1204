"""What scales the instances of a model inside a Triton of local mode: the same process as in a pod."""

import re
import sys
from pathlib import Path

import httpx

from forebay.local.process import Command
from forebay.plan.envoy_queue import QueueAddresses
from forebay.plan.model_instances import MODULE, build_scaler_args
from forebay.plan.resolve import Workload

_COUNT = re.compile(r"^forebay_model_instances (\S+)$", re.MULTILINE)


def build_scaler_command(workload: Workload, addresses: QueueAddresses, *, log: Path) -> Command | None:
    """Its command; None where nothing is scaled."""
    if not workload.instances.scaled:
        return None
    argv = (sys.executable, "-m", MODULE, *build_scaler_args(workload, addresses))
    return Command(name=log.stem, argv=argv, log=log)


async def read_count(client: httpx.AsyncClient, addresses: QueueAddresses) -> int:
    """How many instances of the model there are; 0 while nobody says."""
    try:
        answer = await client.get(f"http://{addresses.scaler.host}:{addresses.scaler.port}/own")
    except httpx.HTTPError:
        return 0
    found = _COUNT.search(answer.text)
    return int(float(found[1])) if found else 0
