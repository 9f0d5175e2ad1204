"""The script of a component: the author's own file, its source from the manifest, or what its address leads to."""

from pathlib import Path

from forebay.local.download import fetch_files
from forebay.local.errors import LocalError
from forebay.plan.resolve import Workload


async def bring_script(workload: Workload, folder: Path) -> str:
    """The path of a workload's script; empty where it has none. Raises LocalError with the reason."""
    files = workload.script_files
    if files.uri:
        try:
            return str(await fetch_files(files.uri, "scripts", f"--script={files.path}") / files.path)
        except LocalError as error:
            raise LocalError(f"{workload.role}.custom.script {error}") from None
    if workload.script_file or not workload.script:  # messages name the file that its author knows
        return workload.script_file
    path = folder / "scripts" / f"{workload.role}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workload.script)
    return str(path)
