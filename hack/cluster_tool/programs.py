"""What the cluster is made of: Kubernetes, built once from its Go modules."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

from cluster_tool.commands import call
from cluster_tool.places import CACHE, REPOSITORY, VERSION
from cluster_tool.speech import ClusterError, console, say

SOURCES = REPOSITORY / "hack/kubernetes"
BUILD_S = 3600
SPEAK_EVERY_S = 20
BUILD_SPACE_GB = 6
GO_MINOR = 24


def locate_kubernetes() -> Path:
    """Where the program that holds all components lies, once it is built for these sources."""
    digest = hashlib.sha256(VERSION.encode())
    for source in sorted(path for path in SOURCES.iterdir() if path.suffix in {".go", ".mod", ".sum"}):
        digest.update(source.read_bytes())
    return CACHE / f"kubernetes-{digest.hexdigest()[:12]}" / "kubernetes"


def ensure_kubernetes() -> Path:
    """The program that holds all components, built if it isn't there yet."""
    program = locate_kubernetes()
    if program.exists():
        return program
    check_go()
    program.parent.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(program.parent).free / 1e9
    if free_gb < BUILD_SPACE_GB:
        raise ClusterError(f"{free_gb:.1f} GB are free under {CACHE}, the build of Kubernetes takes {BUILD_SPACE_GB}")
    # Built aside and moved: what is there is whole.
    made = program.with_name(f"kubernetes.{os.getpid()}")
    began = time.monotonic()
    say(f"building Kubernetes {VERSION} from its Go modules, once: 5 to 10 minutes on 2 cores")
    try:
        build(made)
        made.rename(program)
    finally:
        made.unlink(missing_ok=True)
    say(f"built {program} [dim]{time.monotonic() - began:.0f} s[/]")
    return program


def check_go() -> None:
    if shutil.which("go") is None:
        raise ClusterError(f"no go to build Kubernetes with: install Go 1.{GO_MINOR} or newer (https://go.dev/dl)")
    version = call("go", "env", "GOVERSION").strip()
    found = re.match(r"go1\.(\d+)", version)
    if found and int(found[1]) < GO_MINOR:
        raise ClusterError(f"{version} is too old to build Kubernetes: install Go 1.{GO_MINOR} or newer")


def build(made: Path) -> None:
    package, minor = "k8s.io/component-base/version", VERSION.split(".")[1]
    stamps = {"gitVersion": VERSION, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    flags = " ".join(["-s -w", *(f"-X {package}.{name}={value}" for name, value in stamps.items())])
    log = made.parent / "build.log"
    # -v names each package as it is compiled: the progress, and the errors.
    with log.open("w") as written:
        process = subprocess.Popen(
            ["go", "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", made, "."],
            cwd=SOURCES, env=os.environ | {"CGO_ENABLED": "0"}, stdout=written, stderr=written,
        )  # fmt: skip
    ticker = threading.Thread(target=tell_progress, args=(process, log), daemon=True)
    ticker.start()
    try:
        failure = f"exit status {status}" if (status := process.wait(BUILD_S)) else ""
    except subprocess.TimeoutExpired:
        failure = f"not done after {BUILD_S} s"
    finally:
        process.kill()
        process.wait()
        ticker.join()
    if failure:
        said = "\n  ".join(log.read_text(errors="replace").splitlines()[-15:])
        raise ClusterError(f"go build failed ({failure}). Last lines of {log}:\n  {said}")


def tell_progress(process: subprocess.Popen, log: Path) -> None:
    spoke = time.monotonic()
    with console.status("starting go build") as status:
        while process.poll() is None:
            time.sleep(0.5)
            lines = log.read_text(errors="replace").splitlines()
            fetched = sum(line.startswith("go: downloading") for line in lines)
            text = f"{fetched} modules fetched, {len(lines) - fetched} of about 2,600 packages compiled"
            status.update(text)
            if not console.is_terminal and time.monotonic() - spoke > SPEAK_EVERY_S:
                say(text)
                spoke = time.monotonic()
