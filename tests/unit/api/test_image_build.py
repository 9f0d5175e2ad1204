"""ImageBuilds as the loader reads them, beside what test_kinds.py asks of all kinds."""

from pathlib import Path

from forebay.api import ImageBuild
from forebay.api.load import load_file
from tests.unit.api.kinds import BUILD


def test_a_script_beside_the_manifest_is_read(tmp_path: Path) -> None:
    (tmp_path / "digits.py").write_text(BUILD.spec["script"])
    (tmp_path / "build.yaml").write_text(BUILD.write(script="digits.py"))
    (made,) = load_file(tmp_path / "build.yaml")
    assert isinstance(made, ImageBuild)
    assert made.spec.script == BUILD.spec["script"]
    assert made.spec.platforms == ["linux/amd64"]
