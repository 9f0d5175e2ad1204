"""What is known of a Triton repository before Triton starts."""

from pathlib import Path

import pytest

from forebay.local.models import holds_forests


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('backend: "fil"', True),
        ("name: 'm'\n  backend : 'fil'", True),
        ('backend: "onnxruntime"', False),
        ('# backend: "fil"', False),
        ('name: "fil"', False),
    ],
)
def test_models_for_the_fil_backend(tmp_path: Path, config: str, expected: bool) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.pbtxt").write_text(config)
    assert holds_forests(tmp_path) == expected
