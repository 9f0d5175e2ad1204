from collections.abc import Iterator

import pytest

from tests.api.apiserver import ControlPlane


@pytest.fixture(scope="package")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An apiserver that has the CRDs."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        plane.install_crds()
        yield plane
