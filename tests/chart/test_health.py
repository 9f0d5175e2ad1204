"""Argo CD's health of a ModelDeployment, in the Lua that Argo CD has (5.1), on its own form of test data."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51

from tests.chart.charts import ROOT

FOLDER = ROOT / "charts/argocd"
TESTS = yaml.safe_load((FOLDER / "health_test.yaml").read_text())["tests"]


def ask(manifest: dict[str, Any]) -> dict[str, str]:
    lua = lua51.LuaRuntime()
    # Argo CD offers no `io`, `os` or `require` either.
    for name in ("io", "os", "require", "dofile", "loadfile", "debug", "package"):
        lua.globals()[name] = None
    lua.globals()["obj"] = to_table(lua, manifest)
    return dict(lua.execute((FOLDER / "health.lua").read_text()))


def to_table(lua: lua51.LuaRuntime, data: Any) -> Any:
    if isinstance(data, dict):
        return lua.table_from({key: to_table(lua, value) for key, value in data.items()})
    return lua.table_from([to_table(lua, each) for each in data]) if isinstance(data, list) else data


@pytest.mark.parametrize("test", TESTS, ids=lambda test: Path(test["inputPath"]).stem)
def test_health(test: dict[str, Any]):
    assert ask(yaml.safe_load((FOLDER / test["inputPath"]).read_text())) == test["healthStatus"]


def test_all_data_is_used():
    assert {each["inputPath"] for each in TESTS} == {
        f"testdata/{path.name}" for path in (FOLDER / "testdata").iterdir()
    }
