"""What is shown once everything is ready: a table, the addresses, and calls that are ready to paste."""

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from forebay.local.instance import Instance
from forebay.local.run_folder import Record

_LONGEST_EXAMPLE = 64


def build_table(instances: Sequence[Instance]) -> Table:
    """A row per instance, with the reason of what is not ready."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("INSTANCE", "STATE", "QUEUE"):
        table.add_column(column, overflow="fold")
    for instance in instances:
        limits = instance.workload.limits
        depth = "derived" if limits.depth_derived else str(limits.depth)
        state = Text(str(instance.state), style="green" if instance.state == "ready" else "yellow")
        if instance.reason:
            state.append(f": {instance.reason}")
        queue = f"{limits.slots} at once, depth {depth}, {limits.timeout_s:g} s"
        table.add_row(instance.name, state, queue)
    return table


def build_summary(record: Record, instances: Sequence[Instance], *, metadata: dict[str, Any]) -> RenderableType:
    """The table, the addresses and the examples of one ModelDeployment."""
    curl, python = build_examples(record, metadata)
    return Group(
        Text(f"\n{record.name} is ready", style="bold green"),
        build_table(instances),
        Text(),
        build_addresses(record, logs=instances[0].server.command.log.parent),
        Text("\nTry it:", style="bold"),
        Text(curl),
        Text("\nor in Python:", style="bold"),
        Text(python),
    )


def build_addresses(record: Record, *, logs: Path) -> Table:
    """Where it answers, and where it says how it does."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("URL", record.url)
    table.add_row("gRPC", f"{record.grpc}, with the header forebay-deployment: {record.name}")
    table.add_row("metrics", record.metrics)
    table.add_row("logs", str(logs))
    return table


def build_examples(record: Record, metadata: dict[str, Any]) -> tuple[str, str]:
    """A curl command and a Python call. `metadata` is the model's, as the Open Inference Protocol gives it."""
    if record.entry == "transformer":
        curl = f"curl {record.url}/predict -H 'content-type: image/png' --data-binary @picture.png"
        python = (
            "import httpx\n"
            f'print(httpx.post("{record.url}/predict", content=open("picture.png", "rb").read(),\n'
            '                 headers={"content-type": "image/png"}).json())'
        )
        return curl, python
    inputs = [{**each, "shape": _choose_shape(each)} for each in metadata.get("inputs", [])]
    if any(math.prod(each["shape"]) > _LONGEST_EXAMPLE for each in inputs):
        curl = f"curl {record.url}/v2/models/{record.model}"
    else:
        body = json.dumps({"inputs": [_build_input(each) for each in inputs]})
        curl = f"curl {record.url}/v2/models/{record.model}/infer -d {shlex.quote(body)}"
    return curl, _build_python(record, inputs)


def _choose_shape(declared: dict[str, Any]) -> list[int]:
    return [max(1, int(size)) for size in declared["shape"]]


def _build_input(declared: dict[str, Any]) -> dict[str, Any]:
    shape = declared["shape"]
    zero: Any = {"BYTES": "", "BOOL": False}.get(declared["datatype"], 0)
    return {
        "name": declared["name"],
        "shape": shape,
        "datatype": declared["datatype"],
        "data": [zero] * math.prod(shape),
    }


def _build_python(record: Record, inputs: list[dict[str, Any]]) -> str:
    lines = [
        "import numpy as np, tritonclient.http as triton",
        f'client = triton.InferenceServerClient("{record.url.removeprefix("http://")}")',
        "inputs = []",
    ]
    for each in inputs:
        lines += [
            f'inputs.append(triton.InferInput({_quote(each["name"])}, {each["shape"]}, "{each["datatype"]}"))',
            f"inputs[-1].set_data_from_numpy(np.zeros({each['shape']}, "
            f'triton.triton_to_np_dtype("{each["datatype"]}")))',
        ]
    return "\n".join([*lines, f'print(client.infer("{record.model}", inputs).get_response())'])


def _quote(text: str) -> str:
    """A Python literal, with the quotes of the lines around it where that is possible."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal.startswith("'") and '"' not in literal else literal


def show_summary(console: Console, summary: RenderableType) -> None:
    """Print without cutting: what is pasted must be whole."""
    console.print(summary, soft_wrap=True, highlight=False)
