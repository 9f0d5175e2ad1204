from collections.abc import Iterator

import pytest

from tests.api.apiserver import ControlPlane
from tests.chart.charts import render
from tests.metrics_api.site import NAMESPACE, OWN, MetricsSite


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An apiserver with the controllers of Kubernetes, the one of HorizontalPodAutoscalers among them."""
    with ControlPlane(tmp_path_factory.mktemp("plane"), controller_manager=True) as plane:
        for name in (NAMESPACE, OWN):
            plane.kubectl("create", "namespace", name)
        yield plane


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory, plane: ControlPlane) -> Iterator[MetricsSite]:
    site = MetricsSite(tmp_path_factory.mktemp("site"), plane)
    site.install([each for each in render(release="forebay") if "metrics" in each["metadata"]["name"]])
    site.start()
    yield site
    assert site.stop() == 0, site.log.read_text()
    assert "Traceback" not in site.log.read_text(), site.log.read_text()
