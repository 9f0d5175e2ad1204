"""A ModelDeployment on this machine: its files, its programs, its pools of instances."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Collection
from pathlib import Path

from forebay.local.differences import find_differences, require_processes, take_variables
from forebay.local.display import Display
from forebay.local.environments import environment_folder, held, install_environment
from forebay.local.instance import Instance
from forebay.local.models import fetch_model, holds_forests
from forebay.local.pool import Launcher, Pool
from forebay.local.run_folder import RunFolder
from forebay.local.scripts import bring_script
from forebay.local.triton.environment import ensure_triton
from forebay.plan.envoy import Upstream
from forebay.plan.resolve import Server, Serving, Workload


class Deployment:
    """One ModelDeployment that is served: a pool of instances per workload."""

    def __init__(self, serving: Serving, folder: RunFolder, *, beside: Collection[str] = ()) -> None:
        self.serving = serving
        self._beside = beside
        self.folder = folder
        self.pools: list[Pool] = []
        self._held = contextlib.ExitStack()

    @property
    def instances(self) -> list[Instance]:
        """All instances, predictors first."""
        return [instance for pool in self.pools for instance in pool.instances]

    async def prepare(self, display: Display) -> None:
        """Bring all files here, and decide every process."""
        for difference in find_differences(self.serving, beside=self._beside):
            (display.warn if difference.grave else display.say)(difference.text)
        for workload in self.serving.workloads:  # a download may take minutes: what can't be is told before
            require_processes(workload)
            take_variables(workload, os.environ)
        for workload in self.serving.workloads:
            if workload.packages.requirements:
                self._held.enter_context(held(environment_folder(workload.packages)))
            launcher = await _build_launcher(workload, self.folder, display)
            predictors = [Upstream(pool.members("egress"), pool.workload.replicas) for pool in self.pools]
            self.pools.append(Pool(workload, launcher, folder=self.folder.path, predictors=predictors))

    def close(self) -> None:
        """Let go of what is kept for the instances, which have ended."""
        self._held.close()


async def _build_launcher(workload: Workload, folder: RunFolder, display: Display) -> Launcher:
    program: tuple[str, ...] = (sys.executable, "-m", "forebay.serving")
    env: dict[str, str] = {}
    extra: tuple[str, ...] = ()
    model_dir = str(await fetch_model(workload, display)) if workload.model.uri else ""
    environment = ""
    if workload.packages.requirements:
        environment = str(await install_environment(workload.packages, display, of=workload.role))
    if workload.server is Server.TRITON:
        triton = await asyncio.to_thread(ensure_triton, display.say, forests=holds_forests(Path(model_dir)))
        program, env = (str(triton.binary),), dict(triton.env)
        extra = (f"--backend-directory={triton.backends}",)
    return Launcher(
        program=program,
        env={**env, **take_variables(workload, os.environ)},
        model_dir=model_dir,
        script=await bring_script(workload, folder.path),
        environment=environment,
        extra_args=extra,
    )
