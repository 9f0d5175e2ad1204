"""What the pilot knows of the cluster, and the snapshot that follows from it."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf

from google.protobuf.json_format import ParseError

from forebay.gateway.fallbacks import StandIn, check_stand_in
from forebay.gateway.keys import ApiKeys
from forebay.gateway.objects import Deployment, Slice
from forebay.gateway.shadows import Copies, choose_shadow
from forebay.gateway.snapshot import (
    EntranceConfig,
    Members,
    Piece,
    Snapshot,
    build_entrance_config,
    build_limit_table,
    build_members,
    build_route_table,
    pack_cluster,
    pack_inner_clusters,
    pack_listener,
)
from forebay.plan.envoy_access import Access
from forebay.plan.envoy_counts import LOCAL_CLUSTER
from forebay.plan.envoy_revisions import Target
from forebay.plan.envoy_routes import Entrance, pair_entrances

Key = tuple[str, str]
UNREAD = ApiKeys(problem="the Secret of access.apiKeys was not read yet", pending=True)
_log = logging.getLogger(__name__)


class State:
    """Objects as the apiserver last showed them. Only what a change touches is built again."""

    def __init__(self, *, data_port: int, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.deployments: dict[str, Deployment] = {}
        # Those that the snapshot was made of.
        self.built: dict[str, Deployment] = {}
        self.keys: dict[Key, ApiKeys] = {}
        # Deployments whose config can't be built at all.
        self.broken: dict[str, str] = {}
        self._slices: defaultdict[str, dict[Key, Slice]] = defaultdict(dict)
        self._places: dict[Key, str] = {}
        self._users: defaultdict[str, set[str]] = defaultdict(set)
        # Deployments that sleep without it.
        self._sleepers: defaultdict[str, set[str]] = defaultdict(set)
        # Deployments of which requests are held still, and for how long each at most.
        self._held: dict[str, float] = {}
        self._entrances: dict[str, EntranceConfig] = {}
        self._clusters: dict[str, Piece] = {}
        self._members: dict[str, Members] = {}
        # Clusters that are no workload's own, of deployments that have a fallback or a shadow; and by deployment.
        self._inner: dict[str, Piece] = {}
        self._inner_of: dict[str, dict[str, Piece]] = {}
        # Whose targets have no instance that is known yet, while those before them have.
        self._waiting: set[str] = set()
        # Deployments by those that answer for them, or get copies.
        self._led_to: defaultdict[str, set[str]] = defaultdict(set)
        # Deployments that had a drill when the snapshot was made, and when that was: what comes meanwhile is due.
        self._drilled: set[str] = set()
        self._built_s = 0.0
        self._changed_routes: set[str] = set()
        self._changed_members: set[str] = set()
        # Clusters that another deployment may use now, or none.
        self._changed_users: set[str] = set()
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
            self._changed_users.add(target.cluster)
        for cluster in deployment.needs if deployment.cold_start else ():
            self._sleepers[cluster].add(deployment.route)
        for other in deployment.others:
            self._led_to[other].add(deployment.route)
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
            self._changed_users.add(target.cluster)
            if not users:
                del self._users[target.cluster]
        for cluster in known.needs if known and known.cold_start else ():
            self._sleepers[cluster].discard(route)
            if not self._sleepers[cluster]:
                del self._sleepers[cluster]
        for other in known.others if known else ():
            self._led_to[other].discard(route)
            if not self._led_to[other]:
                del self._led_to[other]

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
        self._built_s = self._clock()
        self._changed_routes |= self._find_due()
        if not self._changed_routes and not self._changed_members:
            return False
        for cluster in self._changed_members:
            self._build_members(cluster)
        changed = self._changed_routes | self._waiting
        changed |= {route for each in changed for route in self._led_to.get(each, ())}
        rebuilt = [self._build_entrance(route) for route in sorted(changed)]
        for cluster in self._changed_users:
            self._build_cluster(cluster)
        old = self.snapshot
        limits = {each.route: each.limit for each in self.deployments.values() if each.limit}
        gateways = self.gateways
        is_same = (old.limits.limits, old.limits.gateways) == (limits, gateways)
        self.snapshot = Snapshot(
            listener=old.listener,
            limits=old.limits if is_same else build_limit_table(limits, gateways=gateways),
            clusters=dict(self._clusters) if self._changed_users else old.clusters,
            members=dict(self._members) if self._changed_members else old.members,
            routes=build_route_table(self._entrances) if any(rebuilt) else old.routes,
            asleep=self._find_asleep(),
        )
        self.built = dict(self.deployments)
        self._changed_routes, self._changed_members, self._changed_users = set(), set(), set()
        return True

    def _find_due(self) -> set[str]:
        """Deployments whose drill has begun or ended since."""
        drills = ((route, each.drill) for route, each in self.deployments.items() if each.drill)
        is_on = {route: drill.is_on(self._built_s) for route, drill in drills}
        due = {route for route, on in is_on.items() if on != (route in self._drilled)}
        self._drilled = {route for route, on in is_on.items() if on}
        return due

    def measure_due_s(self) -> float | None:
        """Seconds until a drill begins or ends; None where there is none to come."""
        drills = (each.drill for each in self.deployments.values() if each.drill)
        due_s = min((each.measure_due_s(self._built_s) for each in drills), default=inf)
        return None if due_s == inf else max(0.0, self._built_s + due_s - self._clock())

    def _build_cluster(self, cluster: str) -> None:
        """A cluster stays while a deployment has it, or still routes to it until those to come are known."""
        if cluster in self._inner:
            self._clusters[cluster] = self._inner[cluster]
            return
        users = self._users.get(cluster, ())
        targets = [self.deployments[route].targets for route in users]
        targets += [self._entrances[route].entrance.targets for route in self._waiting]
        revision = next((each.revision for some in targets for each in some if each.cluster == cluster), None)
        if revision is None:
            self._clusters.pop(cluster, None)
        else:
            self._clusters[cluster] = pack_cluster(cluster, revision)

    def _build_members(self, cluster: str) -> None:
        slices = self._slices.get(cluster, {}).values()
        # An instance of two address families has two slices.
        family = "IPv4" if any(each.family == "IPv4" for each in slices) else "IPv6"
        addresses = {address for each in slices if each.family == family for address in each.members}
        if addresses:
            found = sorted(addresses, key=lambda each: (each.host, each.port))
            self._members[cluster] = build_members(cluster, found)
        else:
            self._members.pop(cluster, None)
        self._changed_routes |= self._users.get(cluster, set()) | self._sleepers.get(cluster, set())

    def _build_entrance(self, route: str) -> bool:
        """Whether the deployment's routes are others than before."""
        deployment = self.deployments.get(route)
        self.broken.pop(route, None)
        self._waiting.discard(route)
        if route in self._entrances:
            self._changed_users |= {each.cluster for each in self._entrances[route].entrance.targets}
        if deployment is None:
            self._put_inner(route, {})
            return self._entrances.pop(route, None) is not None
        entrance = self._make_entrance(deployment)
        self._put_inner(route, pack_inner_clusters(entrance))
        known = self._entrances.get(route)
        if known and known.entrance == entrance:
            return False
        try:
            self._entrances[route] = build_entrance_config(
                entrance, generation=deployment.generation, held_since=deployment.held_since
            )
        except ParseError as error:
            self.broken[route] = f"the gateway's config can't be built: {error}"
            _log.error("%s: %s; its routes stay as they were", route, self.broken[route])
            return False
        return True

    def _put_inner(self, route: str, made: dict[str, Piece]) -> None:
        """The clusters that a deployment has beside its workloads' own. No other one has the same."""
        known = self._inner_of.pop(route, {})
        if made:
            self._inner_of[route] = made
        for name in known.keys() - made.keys():
            del self._inner[name]
        self._inner |= made
        self._changed_users |= {name for name in known.keys() | made.keys() if known.get(name) is not made.get(name)}

    def find_stand_in(self, deployment: Deployment) -> StandIn:
        """Who answers for a deployment when it can't, or why nobody does."""
        other = self.deployments.get(deployment.stand_in)
        if other is None:
            return check_stand_in(None, name=deployment.stand_in.partition("/")[2], served=False)
        entrance = self._make_own_entrance(other)
        served = entrance.hold_s > 0 or any(
            each.weight_pct and each.cluster in self._members for each in entrance.targets
        )
        return check_stand_in(entrance, name=other.name, served=served)

    def find_copies(self, deployment: Deployment) -> Copies | None:
        """Who gets copies of a deployment's requests, or why nobody does; None where nobody is to."""
        wish = deployment.shadow
        if wish is None:
            return None
        if not wish.name:
            return choose_shadow(wish, self._choose_targets(deployment), is_there=self._members.__contains__)
        other = self.deployments.get(deployment.shadowed_by)
        if other is None:
            return Copies(problem=f"there is no ModelDeployment {wish.name} in this namespace")
        model = "" if other.model == deployment.model else other.model
        targets = () if other.suspended else self._choose_targets(other)
        return choose_shadow(wish, targets, is_there=self._members.__contains__, model=model)

    def _make_entrance(self, deployment: Deployment) -> Entrance:
        entrance, fallback = self._make_own_entrance(deployment), deployment.fallback
        copies = self.find_copies(deployment)
        entrance = replace(entrance, shadow=copies.shadow if copies else None)
        if fallback is None or fallback.answer:
            return replace(entrance, fallback=fallback)
        other, stand_in = self.deployments.get(deployment.stand_in), self.find_stand_in(deployment).entrance
        if other is None or stand_in is None:
            return entrance
        return pair_entrances(entrance, fallback, stand_in, models=(deployment.model, other.model))

    def _make_own_entrance(self, deployment: Deployment) -> Entrance:
        """As it is without a fallback."""
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
            suspended=deployment.suspended,
            hold_s=self._find_hold_s(deployment),
            picks=deployment.picks,
            fault=deployment.drill.choose_fault(targets, self._built_s) if deployment.drill else None,
        )

    def _find_hold_s(self, deployment: Deployment) -> float:
        if not deployment.needs:
            return 0.0
        # Whoever comes last must not overtake who is held.
        held_s = self._held.get(deployment.route, 0.0)
        if deployment.cold_start is None:
            return held_s
        is_held = held_s or deployment.held_since or not self.is_awake(deployment)
        return deployment.cold_start.timeout_s if is_held else 0.0

    def is_awake(self, deployment: Deployment) -> bool:
        """Whether all that its targets need have instances."""
        return bool(deployment.needs) and all(each in self._members for each in deployment.needs)

    def begin_hold(self, route: str, timeout_s: float) -> None:
        """Requests of a deployment are held: its routes stay on hold."""
        self._held[route] = timeout_s

    def end_hold(self, route: str) -> None:
        """None are any more."""
        self._held.pop(route, None)
        self._changed_routes.add(route)

    @property
    def gateways(self) -> int:
        """How many pods the gateway has."""
        return self._members[LOCAL_CLUSTER].count if LOCAL_CLUSTER in self._members else 1

    def _choose_targets(self, deployment: Deployment) -> tuple[Target, ...]:
        """Who gets the requests. Kubernetes tells of instances later than of the Deployment that has them: who was to
        take over before they are known would answer nothing. Those of one that may sleep wait until they are. Who
        has no share, and no instance, isn't there to be asked.
        """
        targets = tuple(each for each in deployment.targets if each.weight_pct or each.cluster in self._members)
        if deployment.cold_start:
            return targets
        known = self._entrances.get(deployment.route)
        before = self._list_served(known.entrance.targets) if known else ()
        served = self._list_served(targets)
        if served or not before or not targets:
            return served or targets
        self._waiting.add(deployment.route)
        return before

    def _list_served(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """The targets, less those that have a share and no instance, which would answer nothing; none where all are."""
        served = tuple(each for each in targets if not each.weight_pct or each.cluster in self._members)
        return served if any(each.weight_pct for each in served) else ()

    def _find_asleep(self) -> dict[str, str]:
        names = {
            route for cluster, routes in self._sleepers.items() if cluster not in self._members for route in routes
        }
        entrances = (self._entrances[name].entrance for name in names if name in self._entrances)
        return {
            target.cluster: each.name
            for each in entrances
            if each.hold_s
            for target in each.targets
            if target.cluster not in self._members
        }

    def _make_access(self, deployment: Deployment) -> Access:
        if not deployment.secret:
            return Access(limit=deployment.limit)
        found, known = self.find_keys(deployment), self._entrances.get(deployment.route)
        if found.pending and known and known.entrance.access.keys:
            # Another Secret is named now: whoever had a key keeps it until that one is read.
            return replace(known.entrance.access, limit=deployment.limit)
        return Access(keys=found.keys or None, limit=deployment.limit, shut=not found.keys)
