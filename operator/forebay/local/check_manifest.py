"""`forebay check FILE.yaml`: what a manifest serves, tried and measured: scripts, with their libraries, and Triton."""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from forebay.api import ModelDeployment
from forebay.local.advice import Written, find_narrow
from forebay.local.check import try_script
from forebay.local.check_report import CheckFailed, Report
from forebay.local.display import Display
from forebay.local.environments import held, install_environment
from forebay.local.models import fetch_model
from forebay.local.proposing import report_measurement
from forebay.local.scripts import bring_script
from forebay.local.trial import Trial
from forebay.local.triton.trial import measure_triton
from forebay.plan.model_volume import is_mounted
from forebay.plan.resolve import Server, Serving, Workload, resolve
from forebay.serving.source import parse_source


def check_manifests(manifests: Sequence[ModelDeployment], *, console: Console, timeout_s: float = 120.0) -> bool:
    """Check every component and say what is wrong; True where all is well."""
    good = [_check_all(resolve(md), Report(console), timeout_s) for md in manifests]
    return all(good)


def _check_all(serving: Serving, report: Report, timeout_s: float) -> bool:
    good = [_check(workload, report, timeout_s) for workload in serving.workloads]
    if narrow := find_narrow(serving):
        report.warn(narrow)
    return all(good)


def _check(workload: Workload, report: Report, timeout_s: float) -> bool:
    report.console.print(f"[bold]{workload.namespace}/{workload.deployment} {workload.role}[/]", highlight=False)
    resources = workload.resources
    written = Written(
        memory=resources.memory, cpu=resources.cpu, concurrency=workload.limits.slots // workload.instances.least
    )
    if workload.server is Server.IMAGE:
        report.say("is an image, which needs a cluster: it isn't tried here")
        return True
    if is_mounted(workload.model.uri):
        report.say(f"its model {workload.model.uri} is a volume of a cluster: it isn't tried here")
        return True
    try:
        with tempfile.TemporaryDirectory(prefix="forebay-check-") as folder:
            if workload.server is Server.TRITON:
                _try_triton(report, workload, written, Path(folder))
            else:
                _try_script(report, workload, written, Path(folder), timeout_s)
    except CheckFailed:
        return False
    return True


def _try_script(report: Report, workload: Workload, written: Written, folder: Path, timeout_s: float) -> None:
    display, packages = Display(report.console), workload.packages
    script = report.step("its script is there", lambda: asyncio.run(bring_script(workload, folder)))
    trial = Trial(
        script=Path(script),
        role=workload.role.value,
        folder=folder,
        concurrency=written.concurrency,
        timeout_s=timeout_s,
    )
    if workload.model.uri:
        fetched = report.step("its model is there", lambda: asyncio.run(fetch_model(workload, display)), str)
        trial = replace(trial, model_dir=fetched)
    source = report.step("parses", lambda: parse_source(trial.script))
    if not packages.requirements:
        try_script(report, trial, source, written)
        return

    def install() -> Path:
        return asyncio.run(install_environment(packages, display, of=workload.role))

    environment = report.step("its requirements can be installed", install, lambda _: ", ".join(packages.requirements))
    with held(environment):
        try_script(report, replace(trial, environment=environment), source, written)


def _try_triton(report: Report, workload: Workload, written: Written, folder: Path) -> None:
    display = Display(report.console)
    repository = report.step("its model is there", lambda: asyncio.run(fetch_model(workload, display)), str)
    measured = report.step(
        "Triton starts, and loads it", lambda: measure_triton(workload, repository, folder, say=display.say)
    )
    report_measurement(report, workload.role, measured, written, is_stand_in=True)
    report.say("that is the Triton of this machine, on its CPU: NVIDIA's image takes more memory, and is faster")
