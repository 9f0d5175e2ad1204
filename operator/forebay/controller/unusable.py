"""Why there is no plan of an object: the trouble that its status tells."""

from pydantic import ValidationError

from forebay.observation import Reason, Trouble
from forebay.plan.versions import AmbiguousAliasError, RegistryUnavailableError, UnusableVersionError, VersionError


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
