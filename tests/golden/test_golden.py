"""What is made of each manifest in `in/`, against `out/`. `UPDATE_GOLDEN=1 pytest tests/golden` writes `out/` anew."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from forebay.api.dump import dump_documents
from forebay.api.load import load_file
from forebay.local.envoy_binary import find_envoy
from forebay.local.runtime import RuntimeFiles
from forebay.plan.analysis_jobs import Checked, plan_jobs
from forebay.plan.envoy import Address, DnsName
from forebay.plan.envoy_gateway import build_gateway, build_route
from forebay.plan.envoy_queue import build_runtime
from forebay.plan.manifests import build_manifests
from forebay.plan.names import QUEUE_PORT, RUNTIME_DIR
from forebay.plan.resolve import Serving, resolve
from forebay.plan.site import Site
from forebay.plan.workloads import build_revision

HERE = Path(__file__).parent
INPUTS = sorted((HERE / "in").glob("*.yaml"))
KUBERNETES = "1.34"
# Where it isn't the cluster that the others are for.
SITES = {"cached": Site(node_cache=True)}

each_input = pytest.mark.parametrize("file", INPUTS, ids=lambda file: file.stem)


def load(file: Path) -> list[Serving]:
    return [resolve(each) for each in load_file(file)]


def site_of(file: Path) -> Site:
    return SITES.get(file.stem, Site())


def build_output(file: Path) -> dict[str, str]:
    """File names and contents: the manifests, and the config of the gateway of `forebay serve`."""
    servings = load(file)
    manifests = [manifest for serving in servings for manifest in build_manifests(serving, site_of(file))]
    gateway = json.dumps(build_shared_gateway(servings), indent=1) + "\n"
    jobs = [job for serving in servings for job in build_jobs(serving)]
    judged = {"jobs.yaml": dump_documents(jobs)} if jobs else {}
    return {"manifests.yaml": dump_documents(manifests), "gateway.json": gateway, **judged}


def build_jobs(serving: Serving) -> list[dict[str, Any]]:
    """What judges a revision in its second step."""
    checked = Checked(revision="0a1b2c3d", stable="0a1b2c3e", step=2, attempt=1)
    return [each.manifest for each in plan_jobs(serving, checked, Site())]


def find_queue_args(deployment: dict[str, Any]) -> list[str]:
    containers = deployment["spec"]["template"]["spec"]["initContainers"]
    (found,) = [each["args"] for each in containers if each["name"] == "queue"]
    return list(found)


def build_shared_gateway(servings: list[Serving]) -> Any:
    entries = [build_revision(each, Site()).entry.name for each in servings]
    members = [
        DnsName(f"{name}.{each.namespace}.svc", QUEUE_PORT) for name, each in zip(entries, servings, strict=True)
    ]
    routes = [build_route(each, found) for each, found in zip(servings, members, strict=True)]
    return build_gateway(routes, listen=Address("0.0.0.0", 8080), admin=Address("127.0.0.1", 9901))


@each_input
def test_output_is_as_it_was(file: Path) -> None:
    folder = HERE / "out" / file.stem
    output = build_output(file)
    if os.environ.get("UPDATE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, text in output.items():
            (folder / name).write_text(text)
    golden = {path.name: path.read_text() for path in folder.iterdir()} if folder.is_dir() else {}
    assert output.keys() == golden.keys()
    for name, text in output.items():
        assert text == golden[name], f"{folder.name}/{name}: `UPDATE_GOLDEN=1 pytest tests/golden`, then read the diff"


def test_there_is_no_output_without_input() -> None:
    assert {path.name for path in (HERE / "out").iterdir()} == {file.stem for file in INPUTS}


@each_input
def test_the_plan_is_pure(file: Path) -> None:
    servings = load(file)
    first = json.dumps([build_manifests(serving, site_of(file)) for serving in servings])
    assert json.dumps([build_manifests(serving, site_of(file)) for serving in servings]) == first, (
        "the plan changed its own input"
    )
    assert json.dumps([build_manifests(serving, site_of(file)) for serving in load(file)]) == first


@each_input
def test_kubernetes_takes_the_manifests(file: Path) -> None:
    for serving in load(file):
        for manifest in [*build_manifests(serving, site_of(file)), *build_jobs(serving)]:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@each_input
def test_names_and_references_agree(file: Path) -> None:
    manifests = [manifest for serving in load(file) for manifest in build_manifests(serving, site_of(file))]
    ids = [(each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]) for each in manifests]
    assert len(set(ids)) == len(ids), "two children of one name"
    for manifest in manifests:
        if manifest["kind"] != "Deployment":
            continue
        template, namespace = manifest["spec"]["template"], manifest["metadata"]["namespace"]
        assert manifest["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        maps = {each["configMap"]["name"] for each in volumes.values() if "configMap" in each}
        assert {("ConfigMap", namespace, name) for name in maps} <= set(ids)
        containers = template["spec"]["initContainers"] + template["spec"]["containers"]
        mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
        assert mounted == set(volumes)


@each_input
def test_pods_are_restricted(file: Path) -> None:
    """Pod Security `restricted`, and a root file system that nobody writes to."""
    for serving in load(file):
        for manifest in [*build_manifests(serving, site_of(file)), *build_jobs(serving)]:
            if manifest["kind"] not in ("Deployment", "Job"):
                continue
            spec = manifest["spec"]["template"]["spec"]
            assert spec["securityContext"]["runAsNonRoot"]
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert spec["automountServiceAccountToken"] is False
            for container in spec.get("initContainers", []) + spec["containers"]:
                context = container["securityContext"]
                assert context["allowPrivilegeEscalation"] is False
                assert context["capabilities"] == {"drop": ["ALL"]}
                assert context["readOnlyRootFilesystem"]


def validate(*options: str) -> None:
    """Let Envoy read a config."""
    argv = [str(find_envoy()), "--mode", "validate", "--log-level", "warning", *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr


@each_input
def test_envoy_takes_the_configs(file: Path, tmp_path: Path) -> None:
    runtime = RuntimeFiles(tmp_path / "runtime")
    runtime.write(build_runtime(slots=1, depth=1))
    output = build_output(file)
    (tmp_path / "gateway.json").write_text(output["gateway.json"])
    validate(
        "--service-node", "gateway", "--service-cluster", "forebay", "--config-path", str(tmp_path / "gateway.json")
    )
    for manifest in yaml.safe_load_all(output["manifests.yaml"]):
        if manifest["kind"] == "Deployment":
            # Envoy watches the mount, which a pod has and this machine hasn't.
            validate(*(each.replace(RUNTIME_DIR, str(runtime.folder)) for each in find_queue_args(manifest)))
