"""A command's connection to a cluster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from forebay.cluster.errors import ClusterError, explain_refusal
from forebay.kube.client import ApiError, Client
from forebay.kube.connection import NoClusterError
from forebay.kube.kubeconfig import load_login

_RETRIES = 10


@dataclass(frozen=True, kw_only=True)
class Target:
    """Which cluster and namespace a command is for, as its options say."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @property
    def flags(self) -> str:
        """The options again, for a command that is to be run next."""
        given = {"--kubeconfig": self.kubeconfig, "--context": self.context, "-n": self.namespace}
        return "".join(f" {name} {value}" for name, value in given.items() if value)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster, and the namespace in it that a command is for."""

    client: Client
    namespace: str
    context: str


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Cluster]:
    """Connect; what the apiserver refuses and what breaks on the way comes as ClusterError."""
    context = target.context or ""
    try:
        login = await load_login(context=target.context, kubeconfig=target.kubeconfig)
        context = login.context
        async with Client(login.connection, retries=_RETRIES) as client:
            yield Cluster(client=client, namespace=target.namespace or login.namespace, context=context)
    except NoClusterError as error:
        raise ClusterError(str(error)) from None
    except ApiError as error:
        raise ClusterError(explain_refusal(error.status, str(error), context=context)) from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ClusterError(f"the connection to the cluster broke: {error or type(error).__name__}") from None
