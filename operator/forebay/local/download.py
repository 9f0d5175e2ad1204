"""Files at an address: fetched by the same command that is a pod's init container."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

from forebay.local.errors import LocalError
from forebay.local.paths import cache_dir
from forebay.local.process import die_with_parent


async def fetch_files(uri: str, kind: str, *options: str) -> Path:
    """Bring the files of an address into the cache's folder for that kind; what hasn't changed is there already.

    Raises LocalError with the reason.
    """
    folder = cache_dir() / kind / hashlib.sha256(uri.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "forebay.serving.storage", f"--uri={uri}", f"--to={folder}", "--allow-loopback", *options,
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
        raise LocalError(f"{uri}: {last.get('reason', 'Failed')}: {message}")
    return Path(last["path"])
