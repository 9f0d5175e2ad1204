"""The builders' JSON as Envoy's own typed messages: a wrong field fails here, before Envoy sees it."""

import hashlib
from collections.abc import Sequence

# Every message that stands in an Any must have been imported.
import envoy.extensions.access_loggers.grpc.v3.als_pb2
import envoy.extensions.access_loggers.stats.v3.stats_pb2
import envoy.extensions.filters.http.api_key_auth.v3.api_key_auth_pb2
import envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2
import envoy.extensions.filters.http.fault.v3.fault_pb2
import envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2
import envoy.extensions.filters.http.lua.v3.lua_pb2
import envoy.extensions.filters.http.router.v3.router_pb2
import envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2
import envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2
import envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2
import envoy.extensions.upstreams.http.v3.http_protocol_options_pb2
import envoy.type.matcher.v3.http_inputs_pb2  # noqa: F401
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.service.discovery.v3.discovery_pb2 import Resource
from google.protobuf.any_pb2 import Any
from google.protobuf.json_format import ParseDict

from forebay.plan.envoy import Json

_PREFIX = "type.googleapis.com/"
LDS = _PREFIX + Listener.DESCRIPTOR.full_name
RDS = _PREFIX + RouteConfiguration.DESCRIPTOR.full_name
CDS = _PREFIX + Cluster.DESCRIPTOR.full_name
EDS = _PREFIX + ClusterLoadAssignment.DESCRIPTOR.full_name
ECDS = _PREFIX + TypedExtensionConfig.DESCRIPTOR.full_name


def pack_listener(config: Json) -> Resource:
    """A listener."""
    return _pack(config["name"], ParseDict(config, Listener()))


def pack_cluster(config: Json) -> Resource:
    """A cluster."""
    return _pack(config["name"], ParseDict(config, Cluster()))


def pack_assignment(config: Json) -> Resource:
    """The members of a cluster."""
    return _pack(config["cluster_name"], ParseDict(config, ClusterLoadAssignment()))


def pack_extension(config: Json) -> Resource:
    """The config of one filter."""
    return _pack(config["name"], ParseDict(config, TypedExtensionConfig()))


def encode_host(host: Json) -> bytes:
    """A virtual host; of two in a row the second is merged into the first."""
    return bytes(ParseDict(host, VirtualHost()).SerializeToString(deterministic=True))


def encode_hosts(host: bytes) -> bytes:
    """A route configuration of one virtual host; of several in a row Envoy reads one of them all."""
    # Its field is number 2, as the value of Any is: so nobody has to read the host, which may be long.
    return bytes(Any(value=host).SerializeToString())


def pack_routes(head: Json, hosts: Sequence[bytes]) -> Resource:
    """A route configuration, and those of `encode_hosts` in a row."""
    value = ParseDict(head, RouteConfiguration()).SerializeToString(deterministic=True)
    return _name(head["name"], Any(type_url=RDS, value=b"".join([value, *hosts])))


def _pack(name: str, message: Listener | Cluster | ClusterLoadAssignment | TypedExtensionConfig) -> Resource:
    packed = Any()
    packed.Pack(message, deterministic=True)
    return _name(name, packed)


def _name(name: str, packed: Any) -> Resource:
    # The version is the content: an Envoy that says what it has is sent nothing that it has.
    return Resource(name=name, version=hashlib.blake2b(packed.value, digest_size=16).hexdigest(), resource=packed)
