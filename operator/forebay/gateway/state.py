"""What the pilot knows of the cluster, and the snapshot that follows from it."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator

from google.protobuf.json_format import ParseError

from forebay.gateway.keys import ApiKeys
from forebay.gateway.objects import Deployment, Slice
from forebay.gateway.snapshot import (
    EntranceConfig,
    Members,
    Snapshot,
    build_entrance_config,
    build_limit_table,
    build_members,
    build_route_table,
    pack_cluster,
    pack_listener,
)
from forebay.plan.envoy_access import Access
from forebay.plan.envoy_counts import LOCAL_CLUSTER
from forebay.plan.envoy_routes import Entrance, Target

Key = tuple[str, str]
UNREAD = ApiKeys(problem="the Secret of access.apiKeys was not read yet")
_log = logging.getLogger(__name__)


class State:
    """Objects as the apiserver last showed them. Only what a change touches is built again."""

    def __init__(self, *, data_port: int) -> None:
        self.deployments: dict[str, Deployment] = {}
        # Those that the snapshot was made of.
        self.built: dict[str, Deployment] = {}
        self.keys: dict[Key, ApiKeys] = {}
        # Deployments whose config can't be built at all.
        self.broken: dict[str, str] = {}
        self._slices: defaultdict[str, dict[Key, Slice]] = defaultdict(dict)
        self._places: dict[Key, str] = {}
        self._users: defaultdict[str, set[str]] = defaultdict(set)
        self._entrances: dict[str, EntranceConfig] = {}
        self._members: dict[str, Members] = {}
        # Whose targets have no instance that is known yet, while those before them have.
        self._waiting: set[str] = set()
        self._changed_routes: set[str] = set()
        self._changed_members: set[str] = set()
        self.snapshot = Snapshot(
            listener=pack_listener(data_port),
            limits=build_limit_table({}),
            clusters={},
            members={},
            routes=build_route_table({}),
        )

    def put_deployment(self, deployment: Deployment) -> None:
        """There is a deployment, or it was changed."""
        self._unlink(deployment.route)
        self.deployments[deployment.route] = deployment
        for target in deployment.targets:
            self._users[target.cluster].add(deployment.route)
        self._changed_routes.add(deployment.route)

    def drop_deployment(self, route: str) -> None:
        """A deployment is gone."""
        self._unlink(route)
        self.deployments.pop(route, None)
        self._changed_routes.add(route)

    def _unlink(self, route: str) -> None:
        known = self.deployments.get(route)
        for target in known.targets if known else ():
            users = self._users[target.cluster]
            users.discard(route)
            if not users:
                del self._users[target.cluster]

    def put_slice(self, key: Key, found: Slice) -> None:
        """There is an EndpointSlice, or it was changed."""
        self.drop_slice(key)
        self._slices[found.cluster][key] = found
        self._places[key] = found.cluster
        self._changed_members.add(found.cluster)

    def drop_slice(self, key: Key) -> None:
        """An EndpointSlice is gone."""
        cluster = self._places.pop(key, None)
        if cluster is None:
            return
        self._slices[cluster].pop(key, None)
        if not self._slices[cluster]:
            del self._slices[cluster]
        self._changed_members.add(cluster)

    def put_keys(self, secret: Key, keys: ApiKeys) -> None:
        """A Secret was read."""
        if self.keys.get(secret) == keys:
            return
        self.keys[secret] = keys
        users = (each for each in self.deployments.values() if (each.namespace, each.secret) == secret)
        self._changed_routes.update(each.route for each in users)

    def drop_keys(self, wanted: Iterable[Key]) -> None:
        """Keep the keys of these Secrets only."""
        for secret in self.keys.keys() - set(wanted):
            del self.keys[secret]

    def find_keys(self, deployment: Deployment) -> ApiKeys:
        """The API keys of a deployment that asks for some."""
        return self.keys.get((deployment.namespace, deployment.secret), UNREAD)

    def find_entrance(self, route: str) -> EntranceConfig | None:
        """The routes that a deployment is to have."""
        return self.snapshot.routes.entrances.get(route)

    def build(self) -> bool:
        """Bring the snapshot up to date. Says whether there was anything to do."""
        if not self._changed_routes and not self._changed_members:
            return False
        for cluster in self._changed_members:
            self._build_members(cluster)
        rebuilt = [self._build_entrance(route) for route in sorted(self._changed_routes | self._waiting)]
        self._changed_routes, self._changed_members = set(), set()
        self.built = dict(self.deployments)
        old = self.snapshot
        clusters = old.clusters
        if any(rebuilt) or clusters.keys() != self._users.keys():
            targets = {target.cluster: target for each in self._list_targets() for target in each}
            clusters = {name: pack_cluster(name, target.revision) for name, target in sorted(targets.items())}
        limits = {each.route: each.limit for each in self.deployments.values() if each.limit}
        gateways = self._members[LOCAL_CLUSTER].count if LOCAL_CLUSTER in self._members else 1
        is_same = (old.limits.limits, old.limits.gateways) == (limits, gateways)
        self.snapshot = Snapshot(
            listener=old.listener,
            limits=old.limits if is_same else build_limit_table(limits, gateways=gateways),
            clusters=clusters,
            members=dict(self._members),
            routes=build_route_table(self._entrances) if any(rebuilt) else old.routes,
        )
        return True

    def _list_targets(self) -> Iterator[tuple[Target, ...]]:
        yield from (self._entrances[route].entrance.targets for route in self._waiting)
        yield from (each.targets for each in self.deployments.values())

    def _build_members(self, cluster: str) -> None:
        slices = self._slices.get(cluster, {}).values()
        # An instance of two address families has two slices.
        family = "IPv4" if any(each.family == "IPv4" for each in slices) else "IPv6"
        addresses = {address for each in slices if each.family == family for address in each.members}
        if addresses:
            self._members[cluster] = build_members(cluster, sorted(addresses, key=lambda each: (each.host, each.port)))
        else:
            self._members.pop(cluster, None)
        self._changed_routes |= self._users.get(cluster, set())

    def _build_entrance(self, route: str) -> bool:
        """Whether the deployment's routes are others than before."""
        deployment = self.deployments.get(route)
        self.broken.pop(route, None)
        self._waiting.discard(route)
        if deployment is None:
            return self._entrances.pop(route, None) is not None
        entrance = self._make_entrance(deployment)
        known = self._entrances.get(route)
        if known and known.entrance == entrance:
            return False
        try:
            self._entrances[route] = build_entrance_config(entrance, generation=deployment.generation)
        except ParseError as error:
            self.broken[route] = f"the gateway's config can't be built: {error}"
            _log.error("%s: %s; its routes stay as they were", route, self.broken[route])
            return False
        return True

    def _make_entrance(self, deployment: Deployment) -> Entrance:
        targets = self._choose_targets(deployment)
        counts = [self._members[each.cluster].count for each in targets if each.cluster in self._members]
        return Entrance(
            namespace=deployment.namespace,
            deployment=deployment.name,
            timeout_s=deployment.timeout_s,
            targets=targets,
            # How many more tries make sense; beyond three it makes no difference.
            instances=min(3, max(counts, default=1)),
            access=self._make_access(deployment),
        )

    def _choose_targets(self, deployment: Deployment) -> tuple[Target, ...]:
        """Who gets the requests. Kubernetes tells of instances later than of the Deployment that has them: who was to
        take over before they are known would answer nothing.
        """
        known = self._entrances.get(deployment.route)
        before = known.entrance.targets if known else ()
        if not deployment.targets or self._is_served(deployment.targets) or not self._is_served(before):
            return deployment.targets
        self._waiting.add(deployment.route)
        return before

    def _is_served(self, targets: tuple[Target, ...]) -> bool:
        used = [each.cluster for each in targets if each.weight_pct]
        return bool(used) and all(each in self._members for each in used)

    def _make_access(self, deployment: Deployment) -> Access:
        if not deployment.secret:
            return Access(limit=deployment.limit)
        found = self.find_keys(deployment).keys
        return Access(keys=found or None, limit=deployment.limit, shut=not found)
