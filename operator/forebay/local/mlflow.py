"""Versions of MLflow's registry without a cluster: asked for once, at the start."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forebay.api import ModelDeployment
from forebay.local.errors import LocalError
from forebay.plan.mlflow import is_mlflow
from forebay.plan.versions import VersionError, pin
from forebay.serving.mlflow_login import read_login

if TYPE_CHECKING:
    from forebay.mlflow.lookup import Lookup


def pin_registered(deployments: Sequence[ModelDeployment]) -> list[ModelDeployment]:
    """The ModelDeployments, with addresses of files for versions of MLflow's. Raises LocalError."""
    if not any(_address_of(each) for each in deployments):
        return list(deployments)
    return asyncio.run(_pin_all(deployments))


async def _pin_all(deployments: Sequence[ModelDeployment]) -> list[ModelDeployment]:
    from forebay.mlflow.lookup import Lookup  # noqa: PLC0415  (aiohttp takes a moment)
    from forebay.mlflow.server import Server, check_address  # noqa: PLC0415

    url = os.environ.get("MLFLOW_TRACKING_URI", "")
    if wrong := check_address(url):
        naming = next(each for each in deployments if _address_of(each))
        is_ = f"is `{url}`" if url else "isn't set"
        raise LocalError(f"{_place(naming)}: MLFLOW_TRACKING_URI {is_}, and says which MLflow server is asked: {wrong}")
    async with Server(url, read_login(os.environ)) as server:
        lookup = Lookup(server, has_files=True)
        return [await _pin(lookup, each) if _address_of(each) else each for each in deployments]


async def _pin(lookup: "Lookup", md: ModelDeployment) -> ModelDeployment:
    try:
        return pin(md, await lookup.find(_address_of(md)))
    except VersionError as error:
        raise LocalError(f"{_place(md)}: {error}") from None


def _address_of(md: ModelDeployment) -> str:
    uri = (md.spec.model and md.spec.model.uri) or ""
    return uri if is_mlflow(uri) else ""


def _place(md: ModelDeployment) -> str:
    return f"{md.metadata.namespace}/{md.metadata.name}: spec.model.uri"
