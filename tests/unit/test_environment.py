"""Settings of the operator and the pilot, as an environment gives them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.environment import CommonSettings, SettingsError, read
from forebay.gateway.settings import PilotSettings
from forebay.kube.connection import ACCOUNT
from forebay.settings import Settings


@pytest.mark.parametrize("kind", [Settings, PilotSettings])
def test_empty_is_the_default(kind: type[CommonSettings]) -> None:
    assert read(kind, {"FOREBAY_PORT": "", "FOREBAY_LOG_LEVEL": "", "PORT": "1", "FOREBAY_OTHER": "1"}) == kind()


def test_values_have_the_types_of_their_fields() -> None:
    given = {"FOREBAY_PORT": "0", "FOREBAY_WORKERS": "256", "FOREBAY_WATCH_NAMESPACES": "a, b,"}
    settings = read(Settings, given)
    assert (settings.port, settings.workers, settings.namespaces) == (0, 256, ("a", "b"))
    assert read(PilotSettings, {}).service_account == ACCOUNT
    assert read(PilotSettings, {"FOREBAY_SERVICE_ACCOUNT": "/a"}).service_account == Path("/a")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "http", "a whole number from 0 to 65535"),
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("PORT", "9" * 5000, "a whole number from 0 to 65535"),
        ("WORKERS", "0", "a whole number from 1 to 256"),
        ("LOG_FORMAT", "JSON", "json or text"),
        ("IMAGE_PULL_POLICY", "always", "Always or IfNotPresent or Never"),
    ],
)
def test_what_is_wrong_is_said(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(Settings, {f"FOREBAY_{name}": value})
    assert str(caught.value) == f"FOREBAY_{name} is `{value}`: write {said}"


@pytest.mark.parametrize("module", ["forebay.controller", "forebay.gateway"])
def test_a_process_ends_with_all_that_is_wrong(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module],
        env={**os.environ, "FOREBAY_PORT": "http", "FOREBAY_LOG_LEVEL": "loud"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: FOREBAY_LOG_LEVEL is `loud`: write DEBUG or INFO or WARNING or ERROR; "
        "FOREBAY_PORT is `http`: write a whole number from 0 to 65535\n"
    )


def test_the_pilot_stays_small() -> None:
    """There is one beside each gateway."""
    heavy = "{'pydantic', 'kubernetes', 'yaml', 'forebay.api'}"
    code = f"import sys, forebay.gateway.__main__; sys.exit(str({heavy} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert found.stderr.strip() == "set()"
