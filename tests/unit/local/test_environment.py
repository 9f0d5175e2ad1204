"""Where Triton's wheel runs, and what is said where it doesn't."""

import platform
import sys
from types import SimpleNamespace

import pytest

from forebay.local.errors import LocalError
from forebay.local.triton.environment import require_platform


@pytest.fixture
def machine(monkeypatch):
    def be(system="Linux", cpu="x86_64", libc=("glibc", "2.36")):
        monkeypatch.setattr(platform, "system", lambda: system)
        monkeypatch.setattr(platform, "machine", lambda: cpu)
        monkeypatch.setattr(platform, "libc_ver", lambda: libc)

    return be


@pytest.mark.parametrize("libc", [("glibc", "2.28"), ("glibc", "2.36"), ("glibc", "3.0")])
def test_machines_that_do(machine, libc):
    machine(libc=libc)
    require_platform()


@pytest.mark.parametrize(
    ("system", "cpu", "libc", "messages"),
    [
        (
            "Darwin",
            "arm64",
            ("", ""),
            ["no Triton for Darwin on arm64", "custom: {script: ...}", "a VM or on a cluster"],
        ),
        ("Linux", "aarch64", ("glibc", "2.36"), ["no Triton for Linux on aarch64"]),
        ("Windows", "AMD64", ("", ""), ["no Triton for Windows on AMD64"]),
        ("Linux", "x86_64", ("glibc", "2.27"), ["no Triton for glibc 2.27", "needs glibc 2.28 or newer"]),
        ("Linux", "x86_64", ("", ""), ["no Triton for this libc", "needs glibc 2.28 or newer"]),
        ("Linux", "x86_64", ("musl", "1.2.4"), ["no Triton for musl 1.2.4"]),
    ],
)
def test_machines_that_do_not(machine, system, cpu, libc, messages):
    machine(system, cpu, libc)
    with pytest.raises(LocalError) as caught:
        require_platform()
    for message in messages:
        assert message in str(caught.value)


def test_a_python_without_a_backend(machine, monkeypatch):
    machine()
    monkeypatch.setattr(sys, "version_info", SimpleNamespace(minor=14))
    with pytest.raises(LocalError, match=r"no Triton Python backend for Python 3\.14: use Python 3\.11 to 3\.13"):
        require_platform()
