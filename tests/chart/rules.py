"""Unit tests of the chart's rules, written for promtool."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.chart.charts import PROMETHEUS, find, render

DIGITS = {"namespace": "default", "deployment": "digits"}
Promtool = Callable[..., None]


def read_groups(**alerts: object) -> list[dict[str, Any]]:
    manifests = render({"monitoring": {"alerts": alerts}}, apis=PROMETHEUS)
    groups: list[dict[str, Any]] = find(manifests, "PrometheusRule")["spec"]["groups"]
    return groups


def check(promtool: Promtool, folder: Path, *, series: dict[str, str], **expected: object) -> None:
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": read_groups()}))
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": inputs, **expected}
    text = yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    (folder / "test.yaml").write_text(text)
    promtool("test", "rules", folder / "test.yaml")


def write_series(name: str, labels: dict[str, str]) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inner}}}"


def near(expression: str, value: float) -> dict[str, Any]:
    test = f"sum(abs({expression} - {value}) < bool 0.01)"
    return {"expr": test, "eval_time": "5m", "exp_samples": [{"labels": "{}", "value": 1}]}


def expect(alert: str, minute: int, *, value: str | None, severity: str = "") -> dict[str, Any]:
    """That an alert fires with a value in its words; with None, that it is silent."""
    rule = next(each for group in read_groups() for each in group["rules"] if each.get("alert") == alert)
    test = {"eval_time": f"{minute}m", "alertname": alert}
    if value is None:
        return {**test, "exp_alerts": []}
    words = {
        "{{ $labels.namespace }}": "default",
        "{{ $labels.deployment }}": "digits",
        "{{ $value | humanizePercentage }}": value,
        "{{ $value | humanizeDuration }}": value,
    }
    annotations = dict(rule["annotations"])
    for key, text in annotations.items():
        for template, word in words.items():
            text = text.replace(template, word)  # noqa: PLW2901
        annotations[key] = text
        assert "{{" not in text
    return {**test, "exp_alerts": [{"exp_labels": {"severity": severity, **DIGITS}, "exp_annotations": annotations}]}
