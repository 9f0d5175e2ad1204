"""What the operator and the commands import of Kubernetes' Python client."""

import subprocess
import sys

import pytest

TELL = """
import sys, importlib
importlib.import_module(sys.argv[1])
print(*sorted(name for name, found in sys.modules.items() if found and name.startswith("kubernetes.")))
"""


def list_imported(module: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", TELL, module], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_the_operator_in_a_pod_imports_nothing_of_it() -> None:
    assert list_imported("forebay.controller.__main__") == {"kubernetes.aio"}, "which is empty"


@pytest.mark.parametrize("module", ["forebay.kube.kubeconfig", "forebay.cluster.status"])
def test_who_reads_a_kubeconfig_imports_the_part_that_reads_it(module: str) -> None:
    found = list_imported(module)
    assert {"kubernetes.aio.client", "kubernetes.aio.config"} <= found
    assert not {"kubernetes.client", "kubernetes.config", "kubernetes.dynamic"} & found


def test_the_rest_can_still_be_imported() -> None:
    """By a plugin, or somebody's script."""
    code = "import forebay.kube.kubeconfig, kubernetes.client, kubernetes.config; kubernetes.client.V1Pod()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
