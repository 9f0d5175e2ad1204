"""The model's files: fetched by the same command that is a pod's init container."""

import asyncio
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

from forebay.local.display import Display
from forebay.local.errors import LocalError
from forebay.local.paths import cache_dir
from forebay.local.process import die_with_parent
from forebay.plan.resolve import Server, Workload
from forebay.serving.storage.layout import read_model_names

_FOREST = re.compile(r"""^\s*backend\s*:\s*["']fil["']""", re.MULTILINE)


async def fetch_model(workload: Workload, display: Display) -> Path:
    """Bring the files of a workload's model here, and return their folder. Raises LocalError with the reason."""
    layout = "triton" if workload.server is Server.TRITON else "plain"
    key = hashlib.sha256(f"{workload.model.uri} {layout}".encode()).hexdigest()[:16]
    folder = cache_dir() / "models" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "forebay.serving.storage", "--uri", workload.model.uri]
    argv += ["--to", str(folder), "--layout", layout, "--name", workload.served_model, "--allow-loopback"]
    argv += ["--digest", workload.model.digest] if workload.model.digest else []
    argv += _build_format_args(workload, folder)
    # A session of its own: Ctrl-C reaches forebay alone, which then ends it.
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, start_new_session=True, preexec_fn=die_with_parent
    )
    try:
        last = await _follow(process, workload, display)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if last.get("event") != "done":
        message = last.get("message") or f"the download ended with status {process.returncode}"
        raise LocalError(f"model {workload.model.uri}: {last.get('reason', 'Failed')}: {message}")
    path = Path(last["path"])
    if layout == "triton":
        _require_model(workload, path)
    return path


def _build_format_args(workload: Workload, folder: Path) -> list[str]:
    """What is made of one download lies beside it, in a repository for each name, format and config."""
    model = workload.model
    if workload.server is not Server.TRITON:
        return []
    key = hashlib.sha256(f"{workload.served_model} {model.format} {model.config}".encode()).hexdigest()[:16]
    repository = folder.with_name(f"{folder.name}.{key}.repository")
    format_ = ["--format", model.format] if model.format else []
    return [*format_, f"--config={model.config}", "--repository", str(repository)]


async def _follow(process: asyncio.subprocess.Process, workload: Workload, display: Display) -> Mapping[str, Any]:
    """Show the progress of a download until it ends; what it said last."""
    last: Mapping[str, Any] = {}
    with display.download(workload.model.uri) as progress:
        assert process.stdout is not None  # noqa: S101  (asked for above)
        async for line in process.stdout:
            last = json.loads(line)
            if last["event"] == "progress":
                progress(last["bytes"], last["total"])
            elif last["event"] == "config":
                display.say(f"wrote {last['path']}:\n{indent(last['text'], '  ')}")
    await process.wait()
    return last


def _require_model(workload: Workload, repository: Path) -> None:
    names = read_model_names(repository)
    if workload.served_model not in names:
        raise LocalError(
            f"the repository {workload.model.uri} has no model {workload.served_model}: it has {', '.join(names)}. "
            f"Write predictor: {{triton: {{model: {names[0]}}}}}"
        )


def holds_forests(repository: Path) -> bool:
    """Whether a model of the repository is for the backend "fil"."""
    return any(_FOREST.search(config.read_text("utf-8", "replace")) for config in repository.glob("*/config.pbtxt"))


def show_sources(text: str) -> str:
    """The text with paths in the cache as what they are links to: for a file: address, the person's own."""
    links = re.escape(str(cache_dir() / "models"))
    return re.sub(rf"{links}/[^\s'\":,]+", lambda path: str(Path(path[0]).resolve()), text)
