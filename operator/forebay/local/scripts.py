"""The script of a component: the author's own file, its source from the manifest, or what its address leads to."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

from forebay.local.errors import LocalError
from forebay.local.paths import cache_dir
from forebay.local.process import die_with_parent
from forebay.plan.resolve import ScriptFiles, Workload


async def bring_script(workload: Workload, folder: Path) -> str:
    """The path of a workload's script; empty where it has none. Raises LocalError with the reason."""
    if workload.script_files.uri:
        return await _fetch(workload.script_files, of=workload.role)
    if workload.script_file or not workload.script:  # messages name the file that its author knows
        return workload.script_file
    path = folder / "scripts" / f"{workload.role}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workload.script)
    return str(path)


async def _fetch(files: ScriptFiles, *, of: str) -> str:
    """Download by the command that is a pod's init container; what hasn't changed is there already."""
    folder = cache_dir() / "scripts" / hashlib.sha256(files.uri.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "forebay.serving.storage", f"--uri={files.uri}", f"--to={folder}",
        f"--script={files.path}", "--allow-loopback",
        stdout=asyncio.subprocess.PIPE, start_new_session=True, preexec_fn=die_with_parent,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    last = json.loads((output.splitlines() or [b"{}"])[-1])
    if last.get("event") != "done":
        message = last.get("message") or f"the download ended with status {process.returncode}"
        raise LocalError(f"{of}.custom.script {files.uri}: {last.get('reason', 'Failed')}: {message}")
    return str(Path(last["path"]) / files.path)
