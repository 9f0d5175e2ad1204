"""What the pilot watches at the apiserver."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from forebay.gateway.objects import SERVICE_LABEL, Deployment, Raw, Slice, read_deployment, read_slice
from forebay.gateway.settings import PilotSettings
from forebay.gateway.state import Key, State
from forebay.kube.client import Client
from forebay.kube.resources import ENDPOINT_SLICE, MODEL_DEPLOYMENT, OURS
from forebay.kube.watch import Follower, Scope, Watch
from forebay.plan.envoy_counts import LOCAL_CLUSTER

# An object by its key, or nothing where it is gone.
Change = Callable[[Any, Any], None]


class Sources:
    """The sources of a state. `changed` is told of each change, `failed` of each watch that breaks."""

    def __init__(
        self,
        state: State,
        *,
        put_deployment: Callable[[Deployment], None],
        changed: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        self._state = state
        self._put = put_deployment
        self._changed = changed
        self._failed = failed

    def build(self, client: Client, settings: PilotSettings) -> Iterator[Watch]:
        """What all routes need."""
        for namespace in settings.namespaces or ("",):
            deployments = self._build_follower(_read_deployment, self._take_deployment)
            yield Watch(client, MODEL_DEPLOYMENT, Scope(namespace), deployments)
            slices = self._build_follower(_read_slice, self._take_slice)
            yield Watch(client, ENDPOINT_SLICE, Scope(namespace, OURS), slices)

    def build_own(self, client: Client, settings: PilotSettings) -> Watch:
        """The gateway's own pods, among which rate limits are divided. There are routes without them, too."""
        scope = Scope(settings.namespace, f"{SERVICE_LABEL}={settings.gateway_service}")
        return Watch(client, ENDPOINT_SLICE, scope, self._build_follower(_read_own_slice, self._take_slice))

    def _build_follower(self, read: Callable[[Raw], tuple[Hashable, Any]], take: Change) -> Follower:
        known: set[Hashable] = set()

        def hear_all(found: Sequence[tuple[Hashable, Any]]) -> None:
            listed = dict(found)
            for key in known - listed.keys():
                take(key, None)
            for key, each in listed.items():
                take(key, each)
            known.clear()
            known.update(listed)

        def hear(there: bool, found: tuple[Hashable, Any]) -> None:
            key, each = found
            (known.add if there else known.discard)(key)
            take(key, each if there else None)

        return Follower(hear_all, hear, self._failed, read)

    def _take_deployment(self, route: str, found: Deployment | None) -> None:
        if found is None:
            self._state.drop_deployment(route)
        else:
            self._put(found)
        self._changed()

    def _take_slice(self, key: Key, found: Slice | None) -> None:
        if found is None:
            self._state.drop_slice(key)
        else:
            self._state.put_slice(key, found)
        self._changed()


def _read_deployment(raw: Raw) -> tuple[str, Deployment]:
    found = read_deployment(raw)
    return found.route, found


def _read_slice(raw: Raw) -> tuple[Key, Slice]:
    return (raw["metadata"]["namespace"], raw["metadata"]["name"]), read_slice(raw)


def _read_own_slice(raw: Raw) -> tuple[Key, Slice]:
    key, found = _read_slice(raw)
    return key, replace(found, cluster=LOCAL_CLUSTER)
