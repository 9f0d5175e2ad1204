"""The command line, run in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from yaml import safe_load_all

HEAD = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: digits}\nspec:\n"
SCRIPT = "class A:\n    def predict(self, inputs):\n        return inputs\n"
GOOD = HEAD + "  predictor: {custom: {script: script.py}}\n"


def forebay(*args: str, given: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "forebay.cli", *args]
    return subprocess.run(argv, input=given, capture_output=True, text=True, check=False, timeout=60, cwd=cwd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


def test_help_names_every_command():
    done = forebay("--help")
    assert done.returncode == 0
    commands = (
        "serve",
        "predict",
        "check",
        "validate",
        "render",
        "install",
        "uninstall",
        "status",
        "logs",
        "push",
        "models",
        "alias",
        "compare",
    )
    for command in commands:
        assert f" {command} " in done.stdout


def test_what_one_command_needs_is_not_loaded_for_all():
    heavy = "{'pydantic', 'kubernetes', 'aiohttp', 'numpy', 'httpx', 'yaml'}"
    code = f"import sys, forebay.cli; sys.exit(str({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == "set()\n"


def test_a_folder_of_files_goes_with_a_script(folder):
    done = forebay("check", "--model-dir", str(folder))
    assert done.stderr.startswith("error: --model-dir goes with a script: write forebay check SCRIPT --model-dir")


def test_validate_names_what_is_valid(folder):
    done = forebay("validate", str(folder / "good.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ModelDeployment default/digits is valid\n"


def test_render_prints_documents_with_the_script_inline(folder):
    done = forebay("render", str(folder / "good.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    objects = list(safe_load_all(done.stdout))
    children = ["ServiceAccount", "Service", "ConfigMap", "ConfigMap", "NetworkPolicy"]
    assert [each["kind"] for each in objects] == [*children, "Service", "Deployment"]
    assert objects[3]["data"]["script.py"] == SCRIPT


def test_a_manifest_from_standard_input_looks_beside_the_working_folder(folder):
    done = forebay("render", "-", given=GOOD, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert SCRIPT.splitlines()[0] in done.stdout


def test_all_that_is_wrong_is_said_at_once_on_standard_error(folder):
    (folder / "bad.yaml").write_text(HEAD + "  predictor: {custom: {script: script.py}, replica: 2, concurency: 1}\n")
    done = forebay("validate", str(folder / "bad.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean replicas?" in done.stderr
    assert "did you mean concurrency?" in done.stderr


def test_several_files_are_validated_together(folder):
    (folder / "bad.yaml").write_text(HEAD + "  predictor: {custom: {script: script.py}, replica: 2}\n")
    (folder / "worse.yaml").write_text(HEAD + "  predictor: {triton: {}, concurency: 1}\n")
    done = forebay("validate", *(str(folder / name) for name in ("good.yaml", "bad.yaml", "worse.yaml")))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{folder}/bad.yaml:5: spec.predictor.replica" in done.stderr
    assert f"{folder}/worse.yaml:5: spec.predictor.concurency" in done.stderr


def test_a_manifest_says_where_its_model_is(folder):
    done = forebay("check", str(folder / "good.yaml"), "--model-dir", str(folder))
    assert done.returncode == 1
    assert "--model-dir goes with a script: a manifest says where its model is, in model.uri" in done.stderr


def test_check_passes_the_models_files_on(folder):
    script = "class A:\n    def load(self, context):\n        print(open(context.model_dir / 'm').read())\n"
    (folder / "script.py").write_text(script + "    def predict(self, inputs):\n        return inputs\n")
    (folder / "model").mkdir()
    without = forebay("check", str(folder / "script.py"))
    assert (without.returncode, "TypeError" in without.stdout) == (1, True)
    (folder / "model/m").write_text("weights")
    assert forebay("check", str(folder / "script.py"), "--model-dir", str(folder / "model")).returncode == 0


def test_every_file_that_pods_cannot_read_is_named(folder):
    one = HEAD + "  model: {uri: 'file:m'}\n  predictor: {triton: {}}\n"
    (folder / "two.yaml").write_text(one + "---\n" + one.replace("name: digits", "name: other"))
    done = forebay("render", str(folder / "two.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "default/digits: spec.model.uri" in done.stderr
    assert "default/other: spec.model.uri" in done.stderr


def test_who_reads_only_the_beginning_gets_no_traceback(folder):
    command = f"{sys.executable} -m forebay.cli render {folder}/good.yaml | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "apiVersion: v1\n"
    assert "Traceback" not in done.stderr


VERSION = """\
apiVersion: forebay.dev/v1alpha1
kind: ModelVersion
metadata: {name: digits-3}
spec: {model: digits, version: "3", uri: "s3://models/digits/3", aliases: [champion]}
"""
NAMING = HEAD + "  model: {version: digits@champion}\n  predictor: {triton: {}}\n"


@pytest.mark.parametrize("place", ["same", "beside"])
def test_a_version_is_looked_for_in_the_files_there_are(folder, place):
    (folder / "md.yaml").write_text(NAMING + (f"---\n{VERSION}" if place == "same" else ""))
    if place == "beside":
        (folder / "versions.yaml").write_text(VERSION)
    done = forebay("render", str(folder / "md.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "--uri=s3://models/digits/3" in done.stdout
    assert "ModelVersion" not in done.stdout


@pytest.mark.parametrize("command", ["render", "serve"])
def test_a_version_that_is_nowhere(folder, command):
    (folder / "md.yaml").write_text(NAMING)
    done = forebay(command, str(folder / "md.yaml"))
    assert done.returncode == 1
    assert "default/digits: spec.model.version: there is no ModelVersion of digits here" in done.stderr
    assert "in the same file or in one beside it: `kubectl get mv -n default -o yaml" in done.stderr


def test_a_version_alone_is_nothing_to_serve(folder):
    (folder / "versions.yaml").write_text(VERSION)
    assert forebay("validate", str(folder / "versions.yaml")).stdout == "ModelVersion default/digits-3 is valid\n"
    assert "there is no ModelDeployment in it" in forebay("serve", str(folder / "versions.yaml")).stderr
