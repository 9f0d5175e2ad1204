"""Why there is no plan of an object: the trouble that its status tells."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from forebay.controller.mlflow import name_mlflow
from forebay.observation import Reason, Trouble, Unusable
from forebay.plan.cluster import UnreachableError
from forebay.plan.history import RollbackError
from forebay.plan.versions import AmbiguousAliasError, RegistryUnavailableError, UnusableVersionError, VersionError

# What `explain_unusable` knows.
UNUSABLE = (ValidationError, RollbackError, VersionError, UnreachableError)


def explain_unusable(error: Exception, body: Mapping[str, Any]) -> Unusable:
    """What an object asks for that can't be, and why."""
    if isinstance(error, VersionError):
        what = f"what spec.model.{'uri' if name_mlflow(body) else 'version'} names"
        # Versions that nobody names don't wake it, but the message tells of those there are.
        return Unusable(trouble=explain_unresolved(error), what=what, is_elsewhere=True)
    if isinstance(error, RollbackError):
        trouble = Trouble(reason=Reason.ROLLBACK_FAILED, message=str(error), stalled=True)
        return Unusable(trouble=trouble, what="what spec.rollout.rollback names")
    if isinstance(error, ValidationError):
        return Unusable(trouble=Trouble(reason=Reason.INVALID_SPEC, message=describe_invalid(error), stalled=True))
    return Unusable(trouble=Trouble(reason=Reason.UNREACHABLE_MODEL, message=str(error), stalled=True))


def explain_unresolved(error: VersionError) -> Trouble:
    """What it means that no version is named, or none that can be used."""
    is_unavailable = isinstance(error, RegistryUnavailableError)
    reason = {
        AmbiguousAliasError: Reason.AMBIGUOUS_ALIAS,
        UnusableVersionError: Reason.UNREACHABLE_MODEL,
        RegistryUnavailableError: Reason.MODEL_REGISTRY_UNAVAILABLE,
    }.get(type(error), Reason.UNKNOWN_MODEL_VERSION)
    return Trouble(reason=reason, message=str(error), stalled=not is_unavailable)


def describe_invalid(error: ValidationError) -> str:
    """What an object that the CRD let through lacks: the CRD is older or newer than this operator."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:3])
    return f"this operator can't read the object, so the CRD is of another version: upgrade the chart. {said}"
