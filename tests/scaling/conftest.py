from collections.abc import Iterator

import pytest

from tests.scaling.site import Model, ScalingSite, serving


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScalingSite]:
    with serving(tmp_path_factory.mktemp("scaling"), model=Model(held=True)) as site:
        yield site
        assert "Traceback" not in site.operator.log, site.operator.log
