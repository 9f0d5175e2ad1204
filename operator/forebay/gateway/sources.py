"""What the pilot watches at the apiserver."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from forebay.gateway.objects import SERVICE_LABEL, Deployment, Raw, Slice, read_deployment, read_slice
from forebay.gateway.settings import PilotSettings
from forebay.gateway.state import Key, State
from forebay.gateway.watch import Source
from forebay.plan.envoy_counts import LOCAL_CLUSTER

_OURS = "app.kubernetes.io/managed-by=forebay"


class Sources:
    """The sources of a state. `changed` is told of each change, `failed` of each watch that breaks."""

    def __init__(
        self, state: State, *, put_deployment: Callable[[Deployment], None], changed: Callable[[], None],
        failed: Callable[[], None], complete: Callable[[], None],
    ) -> None:  # fmt: skip
        self._state = state
        self._put = put_deployment
        self._changed = changed
        self._failed = failed
        self._complete = complete
        self._missing: set[str] = set()

    def build(self, settings: PilotSettings) -> Iterator[Source]:
        """All sources."""
        for namespace in settings.watched or ("",):
            within = f"namespaces/{namespace}/" if namespace else ""
            yield self._build_deployments(f"/apis/forebay.dev/v1alpha1/{within}modeldeployments")
            yield self._build_slices(f"/apis/discovery.k8s.io/v1/{within}endpointslices", _OURS, _read_slice)
        # The gateway's own pods, among which rate limits are divided. There are routes without them, too.
        own = f"/apis/discovery.k8s.io/v1/namespaces/{settings.namespace}/endpointslices"
        source = self._build_slices(own, f"{SERVICE_LABEL}={settings.gateway_service}", _read_own_slice)
        self._missing.discard(source.path + source.selector)
        yield source

    def _build_deployments(self, path: str) -> Source:
        def put(_: str, found: Deployment) -> None:
            self._put(found)
            self._changed()

        def drop(route: str) -> None:
            self._state.drop_deployment(route)
            self._changed()

        self._missing.add(path)
        return Source(
            path=path, selector="", read=_read_deployment, put=put, drop=drop,
            listed=lambda: self._list(path), failed=self._failed,
        )  # fmt: skip

    def _build_slices(self, path: str, selector: str, read: Callable[[Raw], tuple[Key, Slice]]) -> Source:
        def put(key: Key, found: Slice) -> None:
            self._state.put_slice(key, found)
            self._changed()

        def drop(key: Key) -> None:
            self._state.drop_slice(key)
            self._changed()

        self._missing.add(path + selector)
        return Source(
            path=path, selector=selector, read=read, put=put, drop=drop,
            listed=lambda: self._list(path + selector), failed=self._failed,
        )  # fmt: skip

    def _list(self, name: str) -> None:
        self._missing.discard(name)
        if not self._missing:
            self._complete()


def _read_deployment(raw: Raw) -> tuple[str, Deployment]:
    found = read_deployment(raw)
    return found.route, found


def _read_slice(raw: Raw) -> tuple[Key, Slice]:
    return (raw["metadata"]["namespace"], raw["metadata"]["name"]), read_slice(raw)


def _read_own_slice(raw: Raw) -> tuple[Key, Slice]:
    key, found = _read_slice(raw)
    return key, replace(found, cluster=LOCAL_CLUSTER)
