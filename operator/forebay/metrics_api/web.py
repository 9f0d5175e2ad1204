"""What the apiserver asks, and the answers to it."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web

from forebay.metrics_api.answers import PATH, build_failure, build_resources, build_values
from forebay.metrics_api.instances import Instance, Instances
from forebay.metrics_api.load import Load
from forebay.metrics_api.metrics import FILTERS, Value
from forebay.metrics_api.prometheus import Prometheus
from forebay.metrics_api.selectors import parse_selector
from forebay.plan.names import GPU_METRIC

_log = logging.getLogger(__name__)
_EVERYTHING = "*"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MetricsApi:
    """Answers for the instances that are known."""

    def __init__(
        self, instances: Instances, load: Load, prometheus: Prometheus | None, *, is_ready: Callable[[], bool]
    ) -> None:
        self._instances = instances
        self._load = load
        self._prometheus = prometheus
        self._metrics = (*FILTERS, *((GPU_METRIC,) if prometheus else ()))
        self._is_ready = is_ready

    def build_app(self, is_trusted: Callable[[web.Request], bool]) -> web.Application:
        """The application for those who are trusted: the apiserver, which has checked who asks it."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not is_trusted(request):
                message = "this API is asked through the apiserver: kubectl get --raw " + PATH
                return _refuse(HTTPStatus.FORBIDDEN, "Forbidden", message)
            return await handler(request)

        app = web.Application(middlewares=[check])
        app.add_routes(
            [
                web.get(PATH, self._answer_resources),
                web.get(f"{PATH}/namespaces/{{namespace}}/pods/{{name}}/{{metric}}", self._answer_values),
            ]
        )
        return app

    async def _measure(self, namespace: str, asked: Sequence[Instance], metric: str) -> dict[str, Value]:
        if metric == GPU_METRIC and self._prometheus:
            return await self._prometheus.measure_gpus(namespace, asked)
        return await self._load.measure(asked, metric)

    async def _answer_resources(self, _: web.Request) -> web.Response:
        return web.json_response(build_resources(self._metrics))

    async def _answer_values(self, request: web.Request) -> web.Response:
        namespace, name, metric = (request.match_info[key] for key in ("namespace", "name", "metric"))
        if metric not in self._metrics:
            message = f"there is no metric {metric} of pods: there are {', '.join(self._metrics)}"
            if metric == GPU_METRIC:
                message = "the use of GPUs is asked of Prometheus: set autoscaling.prometheusUrl of the chart"
            return _refuse(HTTPStatus.NOT_FOUND, "NotFound", message)
        if not self._is_ready():
            message = "the pods are not known yet: try again"
            return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
        try:
            matches = parse_selector(request.query.get("labelSelector", ""))
        except ValueError as error:
            return _refuse(HTTPStatus.BAD_REQUEST, "BadRequest", str(error))
        found = self._instances.select(namespace, matches)
        asked = found if name == _EVERYTHING else [each for each in found if each.name == name]
        if not asked:
            message = f"no pod of a ModelDeployment in {namespace} is {name}, has these labels, and runs"
            return _refuse(HTTPStatus.NOT_FOUND, "NotFound", message)
        values = await self._measure(namespace, asked, metric)
        self._load.forget(self._instances)
        if not values:
            # An autoscaler that is told nothing leaves things as they are; of zero it would make the fewest instances.
            message = f"{metric} is not known of any of {len(asked)} pods: they are starting, or don't answer"
            return _refuse(HTTPStatus.NOT_FOUND, "NotFound", message)
        return web.json_response(build_values(namespace, metric, values, now=datetime.now(UTC)))


def _refuse(status: HTTPStatus, reason: str, message: str) -> web.Response:
    return web.json_response(build_failure(status, reason, message), status=int(status))
