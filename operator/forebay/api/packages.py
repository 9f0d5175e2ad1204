"""Libraries that a script needs beside what Forebay brings, and where they come from."""

from typing import Annotated

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from forebay.api.base import Form, Model, Name

# PEP 508 without addresses; no option (-r) and no path (./) begins as a name does.
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_EXTRAS = r"( *\[[A-Za-z0-9._, -]*\])?"
_VERSION = r" *(===|==|~=|!=|<=|>=|<|>) *v?[0-9][A-Za-z0-9._*+!-]*"
_MARKER = r"( *;[^\n\r@/]+)?"
_PATTERN = rf"^{_NAME}{_EXTRAS}({_VERSION}( *,{_VERSION})*)? *{_MARKER}$"


def check_requirement(text: str) -> str:
    """Refuse what the pattern lets through and pip doesn't."""
    try:
        Parsed(text)
    except InvalidRequirement as error:
        message = (
            'is no requirement as pip has them ({why}): write pillow, "torch>=2.1,<3" or "uvicorn[standard]==0.50"'
        )
        raise PydanticCustomError("requirement", message, {"why": str(error).splitlines()[0]}) from None
    return text


Requirement = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512, pattern=_PATTERN),
    AfterValidator(check_requirement),
    Form(
        'a requirement of pip by its name: pillow, "torch>=2.1,<3", "uvicorn[standard]==0.50"; options (-r), paths and '
        "addresses (NAME @ URL) have no place here: what no index has belongs into custom.image"
    ),
]


class IndexCredentials(Model):
    """Where the credentials for a package index come from."""

    secret_name: Name = Field(
        description="Secret in the same namespace with the keys UV_INDEX_CUSTOM_USERNAME and UV_INDEX_CUSTOM_PASSWORD; "
        "a token is a password (the user name is then what the index says, as `__token__`)."
    )


class PackageIndex(Model):
    """A package index, in place of pypi.org."""

    url: Annotated[str, Form("https://HOST/PATH/simple, with no user name, password or space")] = Field(
        min_length=9,
        max_length=2048,
        pattern=r"^https?://[^/@ \t\n\r]+(/[^@ \t\n\r]*)?$",
        description="Address of the index (PEP 503): https://HOST/PATH/simple, or http: for a server of the cluster.",
        examples=["https://pypi.example.com/simple"],
    )
    credentials: IndexCredentials | None = Field(
        default=None,
        description="Credentials for the index. `forebay serve` takes the same variables from its environment.",
    )
