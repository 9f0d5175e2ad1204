"""The children of an ImageBuild: what the Job is told, and by what it is named."""

from pathlib import Path
from typing import Any

import yaml

from forebay.api import ImageBuild
from forebay.api.load import load_text
from forebay.plan.builds import plan_build
from forebay.plan.images import Images
from forebay.plan.site import Site

SPEC = {"script": "class A:\n    def predict(self, inputs): ...\n", "image": "registry.test/models/a:1"}


def read(**fields: Any) -> ImageBuild:
    head = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "a"}}
    (made,) = load_text(yaml.safe_dump({**head, "spec": SPEC | fields}), file="a.yaml", folder=Path("/nowhere"))
    assert isinstance(made, ImageBuild)
    return made


def pod_of(build: ImageBuild) -> dict[str, Any]:
    spec: dict[str, Any] = plan_build(build, Site()).manifests[1]["spec"]["template"]["spec"]
    return spec


def test_the_name_follows_from_the_spec_alone() -> None:
    name = plan_build(read(), Site()).job
    newer = Site(images=Images(operator="example.com/operator:2", runtime="example.com/runtime:2"))
    assert plan_build(read(), newer).job == name, "an operator of another version builds nothing anew"
    assert plan_build(read(platforms=["linux/amd64"], timeout="30m"), Site()).job == name, "defaults, written out"
    others = [{"requirements": ["six"]}, {"image": "registry.test/models/a:2"}, {"script": SPEC["script"] + "\n"}]
    names = {plan_build(read(**each), Site()).job for each in others}
    assert len(names | {name}) == 4
    assert all(each.startswith("a-") for each in names)


def test_the_job_is_told_everything() -> None:
    build = read(
        role="transformer", requirements=["six==1.17.0"], indexes=["https://me:$(PW)@pypi.test/simple"], insecure=True,
        base="registry.test/base:1", platforms=["linux/amd64", "linux/arm64"], pushSecretName="login",
    )  # fmt: skip
    pod = pod_of(build)
    (container,) = pod["containers"]
    assert container["command"] == ["python", "-m", "forebay.build"]
    assert container["args"] == [
        "--script=/etc/forebay/build/script.py", "--name=a", "--image=registry.test/models/a:1",
        "--base=registry.test/base:1", "--role=transformer", "--requirements=/etc/forebay/build/requirements.txt",
        "--platform=linux/amd64", "--platform=linux/arm64", "--index=https://me:$$(PW)@pypi.test/simple", "--insecure",
    ]  # fmt: skip
    login = next(each for each in pod["volumes"] if each["name"] == "login")
    assert login["secret"]["items"] == [{"key": ".dockerconfigjson", "path": "config.json"}]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_a_script_at_an_address_is_downloaded_first() -> None:
    uri = "git+https://git.test/team/models.git@v$1"
    build = read(script=f"{uri}#path=serving/digits.py", credentials={"secretName": "git"}, requirements=["six"])
    plan = plan_build(build, Site(images=Images(operator="operator:1", runtime="runtime:1")))
    assert plan.manifests[0]["data"] == {"requirements.txt": "six\n"}
    pod = plan.manifests[1]["spec"]["template"]["spec"]
    (download,), (container,) = pod["initContainers"], pod["containers"]
    assert (download["name"], download["image"]) == ("script", "runtime:1")
    assert download["command"] == ["python", "-m", "forebay.serving.storage"]
    assert download["args"] == [
        "--uri=git+https://git.test/team/models.git@v$$1", "--to=/mnt/script/files", "--script=serving/digits.py",
    ]  # fmt: skip
    assert download["envFrom"] == [{"secretRef": {"name": "git"}}]
    assert download["securityContext"] == container["securityContext"]
    assert "envFrom" not in container, "who builds has no use for what downloads"
    assert container["args"][0] == "--script=/mnt/script/files/serving/digits.py"
    assert {"name": "script", "mountPath": "/mnt/script", "readOnly": True} in container["volumeMounts"]
    assert {"name": "script", "emptyDir": {}} in pod["volumes"]
    assert "initContainers" not in pod_of(read())


def test_the_pod_template_is_merged_over() -> None:
    wanted = {"name": "build", "env": [{"name": "HTTPS_PROXY", "value": "http://p:1"}]}
    pod = pod_of(read(podTemplate={"spec": {"nodeSelector": {"disk": "ssd"}, "containers": [wanted]}}))
    assert pod["nodeSelector"] == {"disk": "ssd"}
    names = [each["name"] for each in pod["containers"][0]["env"]]
    assert names == ["HOME", "UV_CACHE_DIR", "DOCKER_CONFIG", "HTTPS_PROXY"]
    assert [each["name"] for each in pod["volumes"]] == ["tmp", "sources"]
