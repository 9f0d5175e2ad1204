"""What the Job of an ImageBuild is told is what it understands."""

from pathlib import Path

from forebay.build.__main__ import main, read_order
from tests.unit.plan.test_builds import pod_of, read


def test_the_job_s_arguments_are_understood() -> None:
    args = pod_of(read(requirements=["six"], platforms=["linux/arm64"], role="predictor"))["containers"][0]["args"]
    order, result = read_order(args)
    assert (order.target, order.name, order.role, list(order.platforms)) == (
        "registry.test/models/a:1", "a", "predictor", ["linux/arm64"],
    )  # fmt: skip
    assert order.in_pod
    assert result == Path("/dev/termination-log")


def test_the_last_word_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("class A(:\n  pass\n")
    given = [f"--script={tmp_path}/script.py", "--image=registry.test/a:1", "--base=registry.test/b:1"]
    assert main([*given, f"--result={tmp_path}/word"]) == 2
    assert "script.py:1: invalid syntax" in (tmp_path / "word").read_text()
