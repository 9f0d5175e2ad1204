"""A ModelDeployment on this machine: its files, its programs, its pools of instances."""

import asyncio
import sys
from pathlib import Path

from forebay.api import Resources
from forebay.local.display import Display
from forebay.local.errors import LocalError
from forebay.local.instance import Instance
from forebay.local.models import fetch_model
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
        for workload in self.serving.workloads:
            launcher = await _build_launcher(workload, self.folder, display)
            predictors = [Upstream(pool.members("egress"), pool.workload.replicas) for pool in self.pools]
            self.pools.append(Pool(workload, launcher, folder=self.folder.path, predictors=predictors))


async def _build_launcher(workload: Workload, folder: RunFolder, display: Display) -> Launcher:
    if workload.server is Server.IMAGE:
        raise LocalError(
            f"{workload.role}.custom.image needs a cluster: `forebay serve` runs processes, not containers. "
            "Write custom.script to serve it here"
        )
    _tell_what_is_not_applied(workload, display)
    program: tuple[str, ...] = (sys.executable, "-m", "forebay.serving")
    env: dict[str, str] = {}
    extra: tuple[str, ...] = ()
    if workload.server is Server.TRITON:
        triton = await asyncio.to_thread(ensure_triton, display.say)
        program, env = (str(triton.binary),), dict(triton.env)
        extra = (f"--backend-directory={triton.backends}",)
    model_dir = str(await fetch_model(workload, display)) if workload.model.uri else ""
    return Launcher(
        program=program,
        env=env,
        model_dir=model_dir,
        script=_write_script(workload, folder.path),
        extra_args=extra,
    )


def _tell_what_is_not_applied(workload: Workload, display: Display) -> None:
    wanted = workload.resources
    if wanted.gpu_count:
        here = "every GPU of this machine" if Path("/dev/nvidiactl").exists() else "none, since this machine has none"
        display.warn(f"{workload.role}: {wanted.gpu_resource} is for a cluster: an instance here sees {here}")
    if (wanted.cpu, wanted.memory) != (Resources().cpu, Resources().memory):
        display.say(f"{workload.role}: cpu and memory are for a cluster: an instance here takes what it needs")
    if workload.model.secret_name:
        display.say(
            f"Secret {workload.model.secret_name} is for a cluster: here the environment's credentials are used"
        )


def _write_script(workload: Workload, folder: Path) -> str:
    if workload.script_file or not workload.script:  # messages name the file that its author knows
        return workload.script_file
    path = folder / "scripts" / f"{workload.role}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workload.script)
    return str(path)
