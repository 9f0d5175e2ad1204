"""A ModelDeployment on this machine: its files, its programs, its pools of instances."""

import asyncio
import os
import sys
from pathlib import Path

from forebay.local.differences import find_differences, require_processes, take_variables
from forebay.local.display import Display
from forebay.local.instance import Instance
from forebay.local.models import fetch_model, holds_forests
from forebay.local.pool import Launcher, Pool
from forebay.local.run_folder import RunFolder
from forebay.local.triton.environment import ensure_triton
from forebay.plan.envoy import Upstream
from forebay.plan.resolve import Server, Serving, Workload


class Deployment:
    """One ModelDeployment that is served: a pool of instances per workload."""

    def __init__(self, serving: Serving, folder: RunFolder) -> None:
        self.serving = serving
        self.folder = folder
        self.pools: list[Pool] = []

    @property
    def instances(self) -> list[Instance]:
        """All instances, predictors first."""
        return [instance for pool in self.pools for instance in pool.instances]

    async def prepare(self, display: Display) -> None:
        """Bring all files here, and decide every process."""
        for difference in find_differences(self.serving):
            (display.warn if difference.grave else display.say)(difference.text)
        for workload in self.serving.workloads:  # a download may take minutes: what can't be is told before
            require_processes(workload)
            take_variables(workload, os.environ)
        for workload in self.serving.workloads:
            launcher = await _build_launcher(workload, self.folder, display)
            predictors = [Upstream(pool.members("egress"), pool.workload.replicas) for pool in self.pools]
            self.pools.append(Pool(workload, launcher, folder=self.folder.path, predictors=predictors))


async def _build_launcher(workload: Workload, folder: RunFolder, display: Display) -> Launcher:
    program: tuple[str, ...] = (sys.executable, "-m", "forebay.serving")
    env: dict[str, str] = {}
    extra: tuple[str, ...] = ()
    model_dir = str(await fetch_model(workload, display)) if workload.model.uri else ""
    if workload.server is Server.TRITON:
        triton = await asyncio.to_thread(ensure_triton, display.say, forests=holds_forests(Path(model_dir)))
        program, env = (str(triton.binary),), dict(triton.env)
        extra = (f"--backend-directory={triton.backends}",)
    return Launcher(
        program=program,
        env={**env, **take_variables(workload, os.environ)},
        model_dir=model_dir,
        script=_write_script(workload, folder.path),
        extra_args=extra,
    )


def _write_script(workload: Workload, folder: Path) -> str:
    if workload.script_file or not workload.script:  # messages name the file that its author knows
        return workload.script_file
    path = folder / "scripts" / f"{workload.role}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workload.script)
    return str(path)
