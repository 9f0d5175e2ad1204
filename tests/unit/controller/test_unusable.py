"""What is told of a spec that can't be used is known as that."""

import pytest
from pydantic import ValidationError

from forebay.controller.unusable import explain_unusable
from forebay.observation import UNUSABLE_REASONS
from forebay.plan.cluster import UnreachableError
from forebay.plan.history import RollbackError
from forebay.plan.versions import (
    AmbiguousAliasError,
    RegistryUnavailableError,
    UnknownVersionError,
    UnusableVersionError,
)

ERRORS = [
    ValidationError.from_exception_data("ModelDeployment", []),
    RollbackError("no"),
    UnreachableError("no"),
    AmbiguousAliasError("no"),
    RegistryUnavailableError("no"),
    UnknownVersionError("no"),
    UnusableVersionError("no"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
def test_all_are_known_by_their_reason(error: Exception) -> None:
    assert explain_unusable(error, {"spec": {}}).trouble.reason in UNUSABLE_REASONS
