"""Libraries that are here, and not in a pod."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from forebay.local.libraries import IN_THE_IMAGE, describe_unlisted, find_unlisted
from forebay.serving.environments.brought import find_brought
from forebay.serving.source import parse_source

ROOT = Path(__file__).parents[3]


def test_what_is_installed_here_alone(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import json, numpy, PIL, moto.core, nope_one, helpers\nimport google.protobuf\nimport pytest\n")
    (tmp_path / "helpers.py").write_text("")
    unlisted = find_unlisted(parse_source(script), None)
    assert list(unlisted) == ["moto", "pytest"]
    assert unlisted["pytest"].startswith("pytest==")
    assert "requirements: [moto==" in describe_unlisted(unlisted)
    (tmp_path / "env").mkdir()
    (tmp_path / "env/moto.py").write_text("")
    assert list(find_unlisted(parse_source(script), tmp_path / "env")) == ["pytest"]


def test_it_is_known_what_the_image_holds() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["runtime"]
    assert {Requirement(each).name for each in group} <= {*IN_THE_IMAGE, *find_brought()}
